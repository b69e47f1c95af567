//! The trust report: accuracy, calibration, denoising, out-of-distribution detection and robustness
//! of a model over noise levels, in one document.
//!
//! ```
//! use miyasawa::attack::{Journal, Method};
//! use miyasawa::data::{DataSource, OpenOptions, Part};
//! use miyasawa::model::{GradResNetConfig, JointModel, Model};
//! use miyasawa::{Device, prelude::*};
//! use miyasawa::trust::{Subject, TrustOptions};
//!
//! // An untrained network and a few digits, to be quick.
//! let device = Device::flex();
//! let net = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
//! let model = Model::Joint(JointModel::new(net.init(&device, 0), 0.5));
//! let digits = DataSource::Digits.open(Part::Test, &OpenOptions::default())?.into_dataset()?;
//! let data = digits.subset(12)?;
//! let subject = Subject {
//!     name: "untrained",
//!     sha256: "",
//!     model: &model,
//!     clean_sigma: 0.02,
//!     classifies: true,
//!     denoises: true,
//!     data: &data,
//!     out_of_distribution: &[],
//!     device: &device,
//! };
//! let options = TrustOptions {
//!     sigmas: vec![0.2],
//!     norm: Norm::L2,
//!     eps: vec![0.25],
//!     method: Method::Fgsm,
//!     steps: 1,
//!     queries: 1,
//!     batch: 12,
//!     seed: 0,
//! };
//! // `page` makes an HTML page of what was measured.
//! let found = subject.measure(&options, &mut |_| Ok(Journal::in_memory()), &mut ())?;
//! let clean = &found.robust[0].outcome;
//! assert!(clean.rows[0].robust_accuracy <= clean.clean_accuracy);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod page;
mod summary;

pub use page::page;

use crate::attack::{AttackReport, Journal, JournalError, Method, Norm, Pgd, Plan, SizeOrder, run};
use crate::calibrate::{CalibrateOptions, CalibrationRow, calibrate};
use crate::classifier::{BoxedClassifier, plain_classifier};
use crate::data::Dataset;
use crate::eval::{EvalOptions, EvalRow, Quantity, evaluate};
use crate::metrics::Estimate;
use crate::model::{EnergyNetwork as _, Model};
use crate::ood::{self, LevelScores, OodOptions, OodRow};
use crate::progress::{Monitor, Piece};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// The settings of the measurements.
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
    /// Images that go through the network at once.
    pub batch: usize,
    /// Seed of everything random.
    pub seed: u64,
}

impl TrustOptions {
    /// The attack on each level.
    pub fn attack(&self) -> Plan {
        let Self { norm, eps, method, steps, queries, batch, seed, .. } = self.clone();
        let order = SizeOrder::SmallestFirst;
        Plan { norm, method, eps, order, steps, restarts: 1, queries, batch, seed }
    }
}

/// A model's robustness, conditioned on one noise level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RobustLevel {
    /// The noise level that the model is conditioned on; the images are clean.
    pub sigma: f64,
    /// Accuracy under attack.
    #[serde(flatten)]
    pub outcome: AttackReport,
}

/// How well a model distinguishes in-distribution images from others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutOfDistribution {
    /// The name of the out-of-distribution data.
    pub data: String,
    /// Number of out-of-distribution images.
    pub count: usize,
    /// Every score at every noise level.
    pub rows: Vec<OodRow>,
}

/// All measurements of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trust {
    /// The model's name.
    pub model: String,
    /// Hash of its checkpoint.
    #[serde(default)]
    pub sha256: String,
    /// Number of classes of the in-distribution images.
    #[serde(default)]
    pub classes: usize,
    /// Number of in-distribution images.
    pub count: usize,
    /// The noise level that it is conditioned on for clean images.
    pub clean_sigma: f64,
    /// Accuracy, calibration error and denoising at every noise level.
    pub levels: Vec<EvalRow>,
    /// Calibration: clean, at every noise level, under attack.
    pub calibration: Vec<CalibrationRow>,
    /// Detection of out-of-distribution images, one entry for each data set.
    #[serde(rename = "foreign")]
    pub out_of_distribution: Vec<OutOfDistribution>,
    /// Robustness at the clean level and at every other.
    pub robust: Vec<RobustLevel>,
}

impl Trust {
    /// A quantity at a noise level.
    fn at(&self, sigma: f64, of: Quantity) -> Option<Estimate> {
        self.levels.iter().find(|row| row.sigma == sigma)?.estimate(of)
    }

    /// The accuracy on clean images.
    fn clean(&self) -> Option<Estimate> {
        let outcome = self.robust.first().map(|level| &level.outcome);
        outcome.map(|outcome| Estimate::within(outcome.clean_accuracy, outcome.clean_interval))
    }
}

impl RobustLevel {
    /// The accuracy under an attack of size `eps`; the clean accuracy if it is 0.
    fn accuracy(&self, eps: f64) -> Option<Estimate> {
        let AttackReport { clean_accuracy, clean_interval, rows, .. } = &self.outcome;
        if eps == 0.0 {
            return Some(Estimate::within(*clean_accuracy, *clean_interval));
        }
        let row = rows.iter().find(|row| row.eps == eps)?;
        Some(Estimate::within(row.robust_accuracy, row.robust_interval))
    }
}

/// A model with the images that it is measured on.
pub struct Subject<'a> {
    /// The model's name.
    pub name: &'a str,
    /// Hash of its checkpoint.
    pub sha256: &'a str,
    /// The model.
    pub model: &'a Model,
    /// The noise level to condition it on for clean images.
    pub clean_sigma: f64,
    /// Whether it was trained to classify.
    pub classifies: bool,
    /// Whether it was trained to denoise.
    pub denoises: bool,
    /// In-distribution images, with its classes.
    pub data: &'a Dataset,
    /// Out-of-distribution images.
    pub out_of_distribution: &'a [Dataset],
    /// The device.
    pub device: &'a Device,
}

impl Subject<'_> {
    /// The classifier at a noise level; `None` if the model does not classify.
    fn classifier(&self, sigma: f64) -> Option<BoxedClassifier<'_>> {
        if !self.classifies {
            return None;
        }
        let shape = [self.data.channels(), self.data.height(), self.data.width()];
        plain_classifier(self.model, sigma, shape, self.data.classes().len(), self.device)
    }

    fn scores<'m>(
        &self,
        at: &dyn Fn(f64) -> BoxedClassifier<'m>,
        data: &Dataset,
        options: &TrustOptions,
        monitor: &mut dyn Monitor,
    ) -> Vec<LevelScores> {
        let TrustOptions { sigmas, batch, seed, .. } = options;
        let options = OodOptions { sigmas: sigmas.clone(), batch: *batch, seed: *seed };
        let learned = [self.classifies, self.denoises];
        ood::model_scores(self.model, learned, at, data, &options, self.device, monitor)
    }

    /// Measures everything with the functions that the other commands use; the monitor gets the
    /// current measurement as the task, and the share of it that is done. Of a model that does not
    /// classify only the denoising is measured. `journal` returns the journal of the attack at a
    /// noise level: attacks take most of the time, and an interrupted attack resumes.
    ///
    /// # Errors
    /// If a journal cannot be used; [`JournalError::Stopped`] if the monitor stops the work.
    pub fn measure(
        &self,
        options: &TrustOptions,
        journal: &mut dyn FnMut(f64) -> Result<Journal, JournalError>,
        monitor: &mut dyn Monitor,
    ) -> Result<Trust, JournalError> {
        let TrustOptions { sigmas, norm, eps, steps, batch, seed, .. } = options.clone();
        let eval = EvalOptions {
            sigmas: sigmas.clone(),
            limit: None,
            batch,
            seed,
            classify: self.classifies,
            denoise: self.denoises,
        };
        let mut watch = Piece::named(monitor, "accuracy and denoising");
        let levels = evaluate(self.model, self.data, &eval, self.device, &mut watch);
        go_on(monitor)?;

        let (model, count, clean_sigma) = (self.name.to_owned(), self.data.len(), self.clean_sigma);
        let (calibration, out_of_distribution, robust) = (Vec::new(), Vec::new(), Vec::new());
        let (sha256, classes) = (self.sha256.to_owned(), self.data.classes().len());
        let mut found = Trust {
            model,
            sha256,
            classes,
            count,
            clean_sigma,
            levels,
            calibration,
            out_of_distribution,
            robust,
        };
        if self.classifier(clean_sigma).is_none() {
            return Ok(found);
        }
        let at = |sigma: f64| {
            self.classifier(sigma)
                .expect("a model that classifies at one level classifies at every level")
        };

        let attacks =
            eps.iter().filter(|e| **e > 0.0).map(|e| Pgd::new(norm, *e, steps, seed)).collect();
        let plan = CalibrateOptions { clean_sigma, sigmas: sigmas.clone(), attacks, batch, seed };
        // The temperature is fitted to other images than those that are measured.
        if self.data.len() > 1 {
            found.calibration =
                calibrate(&at, self.data, &plan, &mut Piece::named(monitor, "calibration"));
        }
        go_on(monitor)?;

        let own =
            self.scores(&at, self.data, options, &mut Piece::named(monitor, "its own images"));
        go_on(monitor)?;
        for set in self.out_of_distribution {
            let other = self.scores(&at, set, options, &mut Piece::named(monitor, set.name()));
            go_on(monitor)?;
            let rows = ood::compare(&own, &other);
            found.out_of_distribution.push(OutOfDistribution {
                data: set.name().to_owned(),
                count: set.len(),
                rows,
            });
        }

        let plan = options.attack();
        let mut conditioning = vec![clean_sigma];
        // A blind network has the same robustness at every level.
        let conditioned = self.model.joint().is_some_and(|joint| !joint.net.is_blind());
        conditioning.extend(sigmas.iter().filter(|s| **s != clean_sigma && conditioned));
        for sigma in conditioning {
            let label = format!("attack, conditioned on noise {sigma}");
            let mut journal = journal(sigma)?;
            let outcome = run(
                at(sigma).as_ref(),
                self.data,
                &plan,
                &mut journal,
                &mut Piece::named(monitor, &label),
            )?;
            found.robust.push(RobustLevel { sigma, outcome });
        }
        Ok(found)
    }
}

/// The error of work that the monitor stopped: what was measured is incomplete.
fn go_on(monitor: &dyn Monitor) -> Result<(), JournalError> {
    if monitor.stop() { Err(JournalError::Stopped) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataSource, Geometry, OpenOptions, Part};
    use crate::model::{GradResNetConfig, JointModel};
    use crate::ood::OutSource;
    use crate::report::Provenance;

    #[test]
    fn everything_is_measured_and_shown() {
        let device = Device::flex();
        let config = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
        let model = Model::Joint(JointModel::new(config.init(&device, 0), 0.5));
        let limit = OpenOptions { limit: Some(12), ..OpenOptions::default() };
        let data = DataSource::Digits.open(Part::Test, &limit).unwrap().into_dataset().unwrap();
        let geometry = Geometry { channels: 1, height: 8, width: 8 };
        let noise = OutSource::UniformNoise.load(geometry, Some(6), 0).unwrap();
        let subject = Subject {
            name: "<random>",
            sha256: "c0ffee",
            model: &model,
            clean_sigma: 0.02,
            classifies: true,
            denoises: true,
            data: &data,
            out_of_distribution: &[noise],
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
        let found = subject.measure(&options, &mut |_| Ok(Journal::in_memory()), &mut ()).unwrap();
        assert_eq!((found.levels.len(), found.calibration.len(), found.robust.len()), (2, 4, 3));
        assert_eq!(found.out_of_distribution[0].rows.len(), 11);
        for level in &found.robust {
            assert_eq!(level.outcome.rows[0].robust_accuracy, level.outcome.clean_accuracy);
        }
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Trust>(&json).unwrap().model, "<random>");
        let from = Provenance { call: "miyasawa trust m".to_owned(), ..Provenance::default() };
        let html = page(&[found.clone(), found.clone()], &options, "digits", &from).unwrap();
        for part in [
            "&lt;random&gt;",
            "&lt;random&gt; (2)",
            "Calibration",
            "Robust",
            "noise:uniform",
            "PSNR",
            "Conditioned on noise 0.4",
            "What 12 images can show",
            "c0ffee",
            "miyasawa trust m",
        ] {
            assert!(html.contains(part), "{part}");
        }
        let (title, summary) = (html.find("Can it be trusted?"), html.find("<h2>Summary"));
        assert!(
            title < summary && summary < html.find("<h2>Under noise"),
            "the answer comes first"
        );
        // Two copies of one model must not differ.
        assert!(!html.contains("<mark>"));
        // A model trained without classes is measured as a denoiser only.
        let unlabelled = Subject { classifies: false, ..subject };
        let alone =
            unlabelled.measure(&options, &mut |_| Ok(Journal::in_memory()), &mut ()).unwrap();
        assert!(alone.robust.is_empty() && alone.levels.iter().all(|row| row.accuracy.is_none()));
        assert!(alone.levels.iter().all(|row| row.psnr.is_some()));
        // One model's smallest level is another's second level: both robustness values stay in
        // their tables.
        let conditioned = |sigmas: [f64; 2]| {
            let at = |(sigma, share): (f64, f64)| {
                let mut level = found.robust[0].clone();
                level.sigma = sigma;
                level.outcome.rows.iter_mut().for_each(|row| row.robust_accuracy = share);
                level
            };
            let robust = sigmas.into_iter().map(|sigma| at((sigma, sigma))).collect();
            Trust { clean_sigma: sigmas[0], robust, ..found.clone() }
        };
        let html =
            page(&[conditioned([0.02, 0.4]), conditioned([0.1, 0.4])], &options, "digits", &from)
                .unwrap();
        let rows: Vec<&str> = html.split("<h3>Conditioned on ").skip(1).collect();
        assert!(rows.len() == 2 && rows[1].starts_with("noise 0.4"), "{}", rows.len());
        for (row, shares) in rows.iter().zip([["2.0%", "10.0%"], ["40.0%", "40.0%"]]) {
            let cells: Vec<&str> =
                row.split("<td").filter(|cell| shares.iter().any(|s| cell.contains(s))).collect();
            assert_eq!(cells.len(), 2, "{row}");
        }
    }
}
