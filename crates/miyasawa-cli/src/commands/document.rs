//! What every document says besides its measurements.

use crate::session::Session;
use miyasawa::predictor::Predictor;
use miyasawa::report::Provenance;
use serde::Serialize;

/// Where a report comes from: this program, the current time, and the command line.
pub fn provenance(session: &Session) -> Provenance {
    Provenance::now(session.args.iter().cloned())
}

/// A document of measurements, with the model's hash, the seed, and the units of its numbers.
#[derive(Serialize)]
pub struct Described<T> {
    #[serde(flatten)]
    report: T,
    model_sha256: String,
    seed: u64,
    units: Units,
}

impl<T: Serialize> Described<T> {
    /// Adds to `report` what every document of measurements says.
    pub fn new(report: T, predictor: &Predictor, session: &Session) -> Self {
        let model_sha256 = predictor.sha256().to_owned();
        Self { report, model_sha256, seed: session.seed.unwrap_or(0), units: UNITS }
    }
}

/// The units of the numbers in documents.
#[derive(Clone, Copy, Serialize)]
pub struct Units {
    sigma: &'static str,
    eps: &'static str,
    psnr: &'static str,
    accuracy: &'static str,
    nll: &'static str,
    interval: &'static str,
    error: &'static str,
}

/// The units that all documents share.
pub const UNITS: Units = Units {
    sigma: "noise levels: of the [-1, 1] range",
    eps: "sizes of attacks and radii: of the [0, 1] range",
    psnr: "dB, with the peak-to-peak range 2",
    accuracy: "shares from 0 to 1",
    nll: "nats",
    interval: "95%",
    error: "standard errors",
};
