//! How a model classifies: in one forward pass, after denoising, or averaged over noise.

use super::{measured::at_least_one, model};
use crate::session::WrongCall;
use anyhow::Result;
use clap::{Args, ValueEnum};
use miyasawa::predictor::Predictor;
use miyasawa::{classifier::Defence, predictor::MAX_DRAWS};

/// Above this number of draws the time is worth a message.
const MANY_DRAWS: usize = 64;

/// How the model classifies.
#[derive(Args, Debug)]
pub struct DefenceArgs {
    /// Classify by the class posterior: of the image (softmax), of the denoised image (denoise), or
    /// averaged over noise (average)
    #[arg(long, value_enum, default_value = "softmax")]
    defence: DefenceArg,
    /// Number of noise draws of --defence average, 1 to 100000; each is a forward pass
    #[arg(long, default_value_t = 8)]
    draws: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DefenceArg {
    Softmax,
    Denoise,
    Average,
}

impl DefenceArgs {
    /// Whether it is the posterior of the image as it is.
    pub fn is_softmax(&self) -> bool {
        self.defence == DefenceArg::Softmax
    }

    /// The defence at the noise level `sigma`. The default is the smallest level of the model's
    /// training for the posterior of the image as it is, else 0.2.
    pub fn at(&self, sigma: Option<f64>, predictor: &Predictor, seed: u64) -> Result<Defence> {
        at_least_one("draws", self.draws)?;
        if self.draws > MAX_DRAWS {
            let text = format!("--draws is {}, expected 1 to {MAX_DRAWS}", self.draws);
            return Err(WrongCall(text).into());
        }
        if self.defence == DefenceArg::Average && self.draws > MANY_DRAWS {
            let draws = self.draws;
            tracing::info!(
                "--draws {draws}: {draws} forward passes through the model to classify an image \
                 once"
            );
        }
        let default = if self.is_softmax() { predictor.noise_levels()[0] } else { 0.2 };
        let sigma = sigma.map_or(Ok(default), |sigma| model::sigma(predictor, sigma))?;
        Ok(match self.defence {
            DefenceArg::Softmax => Defence::Softmax { sigma },
            DefenceArg::Denoise => Defence::Denoise { sigma, then: predictor.noise_levels()[0] },
            DefenceArg::Average => Defence::Average { sigma, draws: self.draws, seed },
        })
    }
}
