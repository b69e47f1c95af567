//! All that tells whether to trust a model, in one document: accuracy, calibration, denoising, detection of foreign
//! pictures and robustness, over noise levels.

mod page;

pub use page::page;

use crate::attack::{Defence, Journal, JournalError, Method, Norm, Outcome, Pgd, Plan, run};
use crate::calibrate::{CalibrateOptions, CalibrationRow, calibrate};
use crate::data::Dataset;
use crate::eval::{EvalOptions, Row, evaluate};
use crate::model::{EnergyNetwork, JointModel};
use crate::ood::{self, LevelScores, OodOptions, OodRow};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct TrustOptions {
    /// Noise levels, in units of the [-1, 1] range.
    pub sigmas: Vec<f64>,
    /// How attacks are measured.
    pub norm: Norm,
    /// Sizes of attacks, in units of the [0, 1] range.
    pub eps: Vec<f64>,
    /// The attack.
    pub method: Method,
    /// Its gradient steps.
    pub steps: usize,
    /// Queries of Square.
    pub queries: usize,
    /// Pictures that go through the network at once.
    pub batch: usize,
    /// Seed of everything random.
    pub seed: u64,
}

/// A model's robustness where it is told one noise level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RobustLevel {
    /// The noise level that the model is told; the pictures are clean.
    pub sigma: f64,
    /// Accuracy under attack.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// How well a model tells its own kind of pictures from others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Foreign {
    /// The other pictures.
    pub data: String,
    /// Number of them.
    pub count: usize,
    /// Every score at every noise level.
    pub rows: Vec<OodRow>,
}

/// All that was measured of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trust {
    /// What the model is called.
    pub model: String,
    /// Number of its own pictures.
    pub count: usize,
    /// The noise level that it is told for clean pictures.
    pub clean_sigma: f64,
    /// Accuracy, calibration error and denoising at every noise level.
    pub levels: Vec<Row>,
    /// Calibration: clean, at every noise level, under attack.
    pub calibration: Vec<CalibrationRow>,
    /// Foreign pictures.
    pub foreign: Vec<Foreign>,
    /// Robustness at the clean level and at every other.
    pub robust: Vec<RobustLevel>,
}

/// A model and what it is measured on.
pub struct Subject<'a, N: EnergyNetwork> {
    /// What it is called.
    pub name: &'a str,
    /// The model.
    pub model: &'a JointModel<N>,
    /// The noise level to tell it for clean pictures.
    pub clean_sigma: f64,
    /// Whether it was trained to denoise.
    pub denoises: bool,
    /// Pictures of its kind, with its classes.
    pub data: &'a Dataset,
    /// Pictures of other kinds.
    pub foreign: &'a [Dataset],
    /// Where it computes.
    pub device: &'a Device,
}

impl<N: EnergyNetwork> Subject<'_, N> {
    fn target(&self, sigma: f64) -> Box<dyn crate::attack::Target + '_> {
        let shape = [self.data.channels(), self.data.height(), self.data.width()];
        Defence::Softmax { sigma }.target(self.model, shape, self.device)
    }

    fn scores(
        &self,
        data: &Dataset,
        options: &TrustOptions,
        progress: &mut dyn FnMut(f64),
    ) -> Vec<LevelScores> {
        let TrustOptions { sigmas, batch, seed, .. } = options;
        let options = OodOptions { sigmas: sigmas.clone(), batch: *batch, seed: *seed };
        ood::scores(self.model, data, &options, self.device, progress)
    }

    /// Measures everything with the functions that the other commands use; `progress` is told what is measured, and the
    /// share of it that is done.
    ///
    /// # Errors
    /// Never for a journal in memory; the attack's own error is passed on.
    pub fn measure(
        &self,
        options: &TrustOptions,
        progress: &mut dyn FnMut(&str, f64),
    ) -> Result<Trust, JournalError> {
        let TrustOptions { sigmas, norm, eps, method, steps, queries, batch, seed } = options.clone();
        let eval = EvalOptions {
            sigmas: sigmas.clone(),
            limit: None,
            batch,
            seed,
            classify: true,
            denoise: self.denoises,
        };
        let levels = evaluate(self.model, self.data, &eval, self.device, &mut |s| {
            progress("accuracy and denoising", s)
        });

        let attacks = eps.iter().filter(|e| **e > 0.0).map(|e| Pgd::new(norm, *e, steps, seed)).collect();
        let clean_sigma = self.clean_sigma;
        let plan = CalibrateOptions { clean_sigma, sigmas: sigmas.clone(), attacks, batch, seed };
        // A temperature needs pictures besides those that it is measured on.
        let calibration = if self.data.len() > 1 {
            calibrate(&|sigma| self.target(sigma), self.data, &plan, &mut |s| progress("calibration", s))
        } else {
            Vec::new()
        };

        let own = self.scores(self.data, options, &mut |s| progress("its own pictures", s));
        let mut foreign = Vec::new();
        for set in self.foreign {
            let other = self.scores(set, options, &mut |s| progress(set.name(), s));
            let rows = ood::compare(&own, &other);
            foreign.push(Foreign { data: set.name().to_owned(), count: set.len(), rows });
        }

        let plan = Plan { norm, method, eps, steps, restarts: 1, queries, batch, seed };
        let mut told = vec![clean_sigma];
        told.extend(sigmas.iter().filter(|s| **s != clean_sigma));
        let mut robust = Vec::new();
        for sigma in told {
            let label = format!("attack, told noise {sigma}");
            let target = self.target(sigma);
            let mut journal = Journal::in_memory();
            let outcome =
                run(target.as_ref(), self.data, &plan, &mut journal, &mut |p| progress(&label, p.share))?;
            robust.push(RobustLevel { sigma, outcome });
        }
        let (model, count) = (self.name.to_owned(), self.data.len());
        Ok(Trust { model, count, clean_sigma, levels, calibration, foreign, robust })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataSource, Geometry, LoadOptions, Part};
    use crate::model::GradResNetConfig;
    use crate::ood::OutSource;

    #[test]
    fn everything_is_measured_and_shown() {
        let device = Device::flex();
        let config = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
        let model = JointModel::new(config.init(&device, 0), 0.5);
        let limit = LoadOptions { limit: Some(12), ..LoadOptions::default() };
        let data = "digits".parse::<DataSource>().unwrap().load(Part::Test, &limit).unwrap();
        let geometry = Geometry { channels: 1, height: 8, width: 8 };
        let noise = OutSource::UniformNoise.load(geometry, Some(6), 0).unwrap();
        let subject = Subject {
            name: "<random>",
            model: &model,
            clean_sigma: 0.02,
            denoises: true,
            data: &data,
            foreign: &[noise],
            device: &device,
        };
        let options = TrustOptions {
            sigmas: vec![0.1, 0.4],
            norm: Norm::L2,
            eps: vec![0.0, 0.5],
            method: Method::Pgd,
            steps: 3,
            queries: 10,
            batch: 8,
            seed: 0,
        };
        let found = subject.measure(&options, &mut |_, _| {}).unwrap();
        assert_eq!((found.levels.len(), found.calibration.len(), found.robust.len()), (2, 4, 3));
        assert_eq!(found.foreign[0].rows.len(), 11);
        for level in &found.robust {
            assert_eq!(level.outcome.rows[0].robust_accuracy, level.outcome.clean_accuracy);
        }
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Trust>(&json).unwrap().model, "<random>");
        let html = page(&[found.clone(), found], &options, "digits").unwrap();
        for part in ["&lt;random&gt;", "Calibration", "Robust", "noise:uniform", "PSNR", "told noise 0.4"] {
            assert!(html.contains(part), "{part}");
        }
    }
}
