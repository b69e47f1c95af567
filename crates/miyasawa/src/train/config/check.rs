//! What values a configuration may have, a section at a time.

use super::{
    AdversarialConfig, AugmentConfig, ClassificationConfig, ConfigError, DataConfig, EvalConfig,
    JemConfig, LossConfig, NetworkConfig, NoiseConfig, OptimizerConfig, ScheduleConfig,
    TrainConfig,
};
use crate::classifier::Norm as AttackNorm;
use crate::image::MAX_PIXELS;
use crate::model::{Kind, NOISE_LEVELS, Norm, ObjectiveName};
use std::fmt::Debug;

/// The most threads and batches that can be asked for.
const MAX_WORKERS: usize = 1024;
/// The most images that a replay buffer may hold: a hundred times as many as in the paper.
const MAX_BUFFER: usize = 1_000_000;

type Checked = Result<(), ConfigError>;

fn check<T: Debug>(ok: bool, key: &'static str, found: T, expected: &'static str) -> Checked {
    if ok {
        return Ok(());
    }
    let found = format!("{found:?}");
    let inner = found.strip_prefix("Some(").and_then(|found| found.strip_suffix(')'));
    Err(ConfigError::Value { key, found: inner.unwrap_or(&found).to_owned(), expected })
}

fn check_share(key: &'static str, value: f64) -> Checked {
    check((0.0..=1.0).contains(&value), key, value, "0 to 1")
}

fn check_not_negative(key: &'static str, value: f64) -> Checked {
    check(value >= 0.0 && value.is_finite(), key, value, "a finite number from 0")
}

fn check_positive(key: &'static str, value: f64) -> Checked {
    check(value > 0.0 && value.is_finite(), key, value, "a finite number above 0")
}

fn check_not_zero<T: Debug + From<u8> + PartialEq>(key: &'static str, value: Option<T>) -> Checked {
    check(value != Some(T::from(0)), key, value, "at least 1")
}

fn is_drawable([height, width]: [usize; 2]) -> bool {
    (1..=MAX_PIXELS).contains(&(height as u64).saturating_mul(width as u64))
}

impl TrainConfig {
    /// Checks every value, and those of several sections against each other.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let mut config = TrainConfig::default();
    /// config.noise.max = 0.001;
    /// let error = config.check().unwrap_err();
    /// assert!(error.to_string().contains("noise.max is 0.001, expected noise.min to 1e6"));
    /// ```
    ///
    /// # Errors
    /// The first value that is not allowed.
    pub fn check(&self) -> Result<(), ConfigError> {
        // A number of TOML has a sign: a larger seed could be written and not read back.
        check(i64::try_from(self.seed).is_ok(), "seed", self.seed, "0 to 9223372036854775807")?;
        self.network.check()?;
        self.check_noise_for_network()?;
        self.noise.check()?;
        self.loss.check()?;
        self.check_loss_for_network()?;
        self.jem.check()?;
        self.augment.check()?;
        self.check_patches()?;
        self.classification.check()?;
        self.check_classification()?;
        self.adversarial.check()?;
        self.optimizer.check()?;
        self.schedule.check()?;
        self.data.check()?;
        self.eval.check(self.network.is_blind())?;
        self.checkpoint.check()?;
        self.divergence.check()
    }

    fn check_noise_for_network(&self) -> Checked {
        let noise = &self.noise;
        let clean = self.network.is_blind() && self.loss_weights()[1] == 0.0;
        check(
            NOISE_LEVELS.contains(&noise.min) || (noise.min == 0.0 && clean),
            "noise.min",
            noise.min,
            "1e-6 to 1e6 (0 only for a blind network with loss.dsm_weight = 0)",
        )
    }

    fn check_loss_for_network(&self) -> Checked {
        let (noise, loss) = (&self.noise, &self.loss);
        let (kind, blind) = (self.network.kind, self.network.is_blind());
        let jem = loss.objective == ObjectiveName::Jem;
        check(
            !jem || (kind == Kind::GradResNet && blind),
            "loss.objective",
            loss.objective,
            "joint; jem needs network.kind = \"gradresnet\" and network.blind = true",
        )?;
        // JEM's samples go through the network between the images of a batch.
        check(
            !jem || self.network.norm != Norm::Batch,
            "network.norm",
            self.network.norm,
            "group or none with loss.objective = \"jem\"",
        )?;
        check(
            !jem || (noise.min > 0.0 && noise.min == noise.max),
            "noise.max",
            noise.max,
            "noise.min: jem knows one noise level (0.03 in the paper)",
        )?;
        let [ce_weight, dsm_weight] = self.loss_weights();
        check(
            jem || ce_weight + dsm_weight > 0.0,
            "loss",
            (ce_weight, dsm_weight),
            "a weight above 0",
        )?;
        check(
            loss.clean_ce_weight == 0.0 || (kind.is_joint() && !jem),
            "loss.clean_ce_weight",
            loss.clean_ce_weight,
            "0, except with network.kind = \"gradresnet\" and loss.objective = \"joint\"",
        )?;
        check(
            (noise.min..=noise.max).contains(&loss.clean_sigma) || loss.clean_ce_weight == 0.0,
            "loss.clean_sigma",
            loss.clean_sigma,
            "noise.min to noise.max",
        )
    }

    /// Who can learn from images of its own, and from attacked ones.
    fn check_classification(&self) -> Checked {
        let (own, joint) = (self.classification.batch, self.loss.objective == ObjectiveName::Joint);
        check(
            own == 0 || (self.network.kind.is_joint() && joint),
            "classification.batch",
            own,
            "0, except with network.kind = \"gradresnet\" and loss.objective = \"joint\"",
        )?;
        check(
            own == 0 || (self.augment.patch.is_none() && !self.data.unlabelled),
            "classification.batch",
            own,
            "0 with augment.patch or data.unlabelled: classes are learned from entire images",
        )?;
        let levels = self.noise.min..=self.noise.max;
        check(
            self.classification.max_noise.is_none_or(|max| levels.contains(&max)),
            "classification.max_noise",
            self.classification.max_noise,
            "noise.min to noise.max",
        )?;
        check(
            own == 0 || self.loss.class_ce_weight > 0.0,
            "loss.class_ce_weight",
            self.loss.class_ce_weight,
            "above 0 with classification.batch",
        )?;
        let density = self.loss_weights()[1] > 0.0 || !joint;
        check(
            self.augment.cutout == 0 || !density,
            "augment.cutout",
            self.augment.cutout,
            "0 where a density or a denoiser is learned (classification.cutout)",
        )?;
        let attacked = own > 0 || self.network.kind == Kind::ResNet18;
        check(
            self.adversarial.steps == 0 || attacked,
            "adversarial.steps",
            self.adversarial.steps,
            "0, except with classification.batch or network.kind = \"resnet18\"",
        )
    }

    /// A class is seen in the entire image.
    fn check_patches(&self) -> Checked {
        let patch = self.augment.patch;
        check(
            patch.is_none() || self.loss_weights()[0] == 0.0 || self.data.unlabelled,
            "augment.patch",
            patch,
            "left out where classes are learned (loss.ce_weight = 0 or data.unlabelled = true)",
        )?;
        let AugmentConfig { crop, resized_crop, rotate, cutout, .. } = self.augment;
        let other = crop.unwrap_or(0) > 0 || resized_crop.is_some() || cutout > 0;
        check(
            patch.is_none() || !other,
            "augment.patch",
            patch,
            "left out with augment.crop, augment.resized_crop or augment.cutout",
        )?;
        check(
            patch.is_none() || self.data.size.is_none() || !self.data.fit.pads(),
            "data.size",
            self.data.size,
            "left out with augment.patch, except with data.fit = \"resize\" or \"resize_crop\"",
        )?;
        check(patch.is_some() || !rotate, "augment.rotate", rotate, "false without augment.patch")
    }
}

impl NetworkConfig {
    fn check(&self) -> Checked {
        let denoiser = matches!(self.kind, Kind::DnCnn | Kind::UNet);
        let of_denoisers =
            [("network.bias_free", self.bias_free), ("network.conditioned", self.conditioned)];
        for (key, value) in of_denoisers {
            let expected = "left out, except with network.kind = \"dncnn\" or \"unet\"";
            check(value.is_none() || denoiser, key, value, expected)?;
        }
        let joint = self.kind.is_joint() || self.norm != Norm::Batch;
        let expected = "group or none, except with network.kind = \"gradresnet\"";
        check(joint, "network.norm", self.norm, expected)?;
        let expected = "false, except with network.kind = \"gradresnet\"";
        check(!self.blind || self.kind.is_joint(), "network.blind", true, expected)
    }
}

impl NoiseConfig {
    fn check(&self) -> Checked {
        let most = *NOISE_LEVELS.end();
        check(self.max >= self.min && self.max <= most, "noise.max", self.max, "noise.min to 1e6")?;
        check_positive("noise.log_std", self.log_std)?;
        check(self.log_mean.is_finite(), "noise.log_mean", self.log_mean, "a finite number")?;
        check_share("noise.share_at_min", self.share_at_min)?;
        check_share("noise.stored", self.stored)?;
        check_share("noise.camera", self.camera)?;
        let expected = "0 where noise.min is 0";
        check(self.stored == 0.0 || self.min > 0.0, "noise.stored", self.stored, expected)?;
        check(self.camera == 0.0 || self.min > 0.0, "noise.camera", self.camera, expected)
    }
}

impl LossConfig {
    fn check(&self) -> Checked {
        check_not_negative("loss.ce_weight", self.ce_weight)?;
        check_not_negative("loss.clean_ce_weight", self.clean_ce_weight)?;
        check_not_negative("loss.class_ce_weight", self.class_ce_weight)?;
        check_not_negative("loss.dsm_weight", self.dsm_weight)?;
        check(
            (-4.0..=4.0).contains(&self.level_power),
            "loss.level_power",
            self.level_power,
            "-4 to 4",
        )?;
        check_share("loss.label_smoothing", self.label_smoothing)
    }
}

impl JemConfig {
    fn check(&self) -> Checked {
        check((1..=MAX_BUFFER).contains(&self.buffer), "jem.buffer", self.buffer, "1 to 1000000")?;
        check(self.steps > 0, "jem.steps", self.steps, "at least 1")?;
        check_share("jem.reinit", self.reinit)?;
        check_not_negative("jem.weight", self.weight)?;
        check_not_negative("jem.step_size", self.step_size)?;
        check_not_negative("jem.noise", self.noise)
    }
}

impl AugmentConfig {
    fn check(&self) -> Checked {
        check_share("augment.low_contrast", self.low_contrast)?;
        check_share("augment.grey", self.grey)?;
        check_not_zero("augment.patch", self.patch.map(|side| side as u64))?;
        let area = self.resized_crop.is_none_or(is_area);
        check(area, "augment.resized_crop", self.resized_crop, AREA)
    }
}

impl ClassificationConfig {
    fn check(&self) -> Checked {
        check_share("classification.share_at_min", self.share_at_min)?;
        check_share("classification.affine", self.affine)?;
        let area = self.resized_crop.is_none_or(is_area);
        check(area, "classification.resized_crop", self.resized_crop, AREA)
    }
}

impl AdversarialConfig {
    fn check(&self) -> Checked {
        check(self.steps <= 1000, "adversarial.steps", self.steps, "0 to 1000")?;
        let built = cfg!(feature = "robustness") || self.steps == 0;
        let expected = "0: this program was built without the feature `robustness`";
        check(built, "adversarial.steps", self.steps, expected)?;
        check_positive("adversarial.eps", self.eps())?;
        let whole = self.norm == AttackNorm::Linf && self.eps() > 1.0;
        let expected = "at most 1 in linf: sizes are in units of the [0, 1] range";
        check(!whole, "adversarial.eps", self.eps, expected)?;
        let share = self.step_share.unwrap_or(1.0);
        check_positive("adversarial.step_share", share)
    }
}

/// What the shares of a random resized crop are to be.
const AREA: &str = "two shares above 0 and at most 1 in ascending order";

fn is_area([low, high]: [f64; 2]) -> bool {
    low > 0.0 && low <= high && high <= 1.0
}

impl OptimizerConfig {
    fn check(&self) -> Checked {
        check_positive("optimizer.lr", self.lr)?;
        check_not_negative("optimizer.weight_decay", self.weight_decay)?;
        for (key, value) in [
            ("optimizer.beta1", self.beta1),
            ("optimizer.beta2", self.beta2),
            ("optimizer.momentum", self.momentum),
            ("optimizer.ema", self.ema),
        ] {
            check((0.0..1.0).contains(&value), key, value, "0 or more and below 1")?;
        }
        check_positive("optimizer.epsilon", self.epsilon)?;
        check(self.clip_norm >= 0.0, "optimizer.clip_norm", self.clip_norm, "0 or more")?;
        check_not_negative("optimizer.max_norm", self.max_norm)?;
        let names = "names of parameters or their beginnings";
        let named = self.freeze.iter().all(|prefix| !prefix.is_empty());
        check(named, "optimizer.freeze", &self.freeze, names)?;
        let fits = |(prefix, factor): (&String, &f64)| {
            !prefix.is_empty() && *factor > 0.0 && factor.is_finite()
        };
        check(
            self.lr_factors.iter().all(fits),
            "optimizer.lr_factors",
            &self.lr_factors,
            "names of parameters or their beginnings with finite numbers above 0",
        )
    }
}

impl ScheduleConfig {
    fn check(&self) -> Checked {
        check(self.batch > 0, "schedule.batch", self.batch, "at least 1")?;
        check_not_zero("schedule.micro_batch", self.micro_batch.map(|n| n as u64))?;
        check_not_zero("schedule.steps", self.steps)?;
        check_positive("schedule.epochs", self.epochs)?;
        check_share("schedule.final_lr", self.final_lr)?;
        check_share("schedule.freeze_norms", self.freeze_norms)
    }
}

impl DataConfig {
    fn check(&self) -> Checked {
        let workers = self.workers.is_none_or(|n| (1..=MAX_WORKERS).contains(&n));
        check(workers, "data.workers", self.workers, "1 to 1024")?;
        let prefetch = (1..=MAX_WORKERS).contains(&self.prefetch);
        check(prefetch, "data.prefetch", self.prefetch, "1 to 1024")?;
        check(self.sample > 0, "data.sample", self.sample, "at least 1")?;
        let size = self.size.is_none_or(is_drawable);
        check(size, "data.size", self.size, "1 to 100 million pixels")?;
        let share = self.crop_share > 0.0 && self.crop_share <= 1.0;
        check(share, "data.crop_share", self.crop_share, "above 0 and at most 1")?;
        check_not_zero("data.limit", self.limit.map(|n| n as u64))?;
        if let Some(data) = &self.assume {
            let sizes = [data.images, data.channels, data.height, data.width, data.classes];
            check(sizes.iter().all(|size| *size > 0), "data.assume", data, "numbers above 0")?;
            let size = is_drawable([data.height, data.width]);
            check(size, "data.assume", data, "1 to 100 million pixels")?;
        }
        check(
            self.channels.is_none_or(|c| c == 1 || c == 3),
            "data.channels",
            self.channels,
            "1 or 3",
        )
    }
}

impl EvalConfig {
    /// A network that is conditioned on the noise level takes its logarithm.
    fn check(&self, blind: bool) -> Checked {
        check(self.limit > 0, "eval.limit", self.limit, "at least 1")?;
        let level = |s: &f64| NOISE_LEVELS.contains(s) || (*s == 0.0 && blind);
        check(
            !self.sigmas.is_empty() && self.sigmas.iter().all(level),
            "eval.sigmas",
            &self.sigmas,
            "one or more numbers from 1e-6 to 1e6 (or 0 for a blind network)",
        )
    }
}
