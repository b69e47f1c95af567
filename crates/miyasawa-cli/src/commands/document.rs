//! What documents and reports say besides what was measured.

use crate::session::Session;
use miyasawa::predictor::Predictor;
use miyasawa::report::Provenance;
use serde_json::{Value, json};

/// What a report says of where it comes from: this program, now, called as it was.
pub fn provenance() -> Provenance {
    Provenance::now(std::env::args_os())
}

/// What a document of measurements says besides them: the model's hash, the seed, and the units that numbers are in.
pub fn described(mut document: Value, predictor: &Predictor, session: &Session) -> Value {
    document["model_sha256"] = predictor.sha256().into();
    document["seed"] = session.seed.unwrap_or(0).into();
    document["units"] = units();
    document
}

/// The units of the numbers in documents.
pub fn units() -> Value {
    json!({
        "sigma": "noise levels: of the [-1, 1] range", "eps": "sizes of attacks and radii: of the [0, 1] range",
        "psnr": "dB, with the peak-to-peak range 2", "accuracy": "shares from 0 to 1", "nll": "nats",
        "interval": "95%", "error": "standard errors",
    })
}
