//! The speed of this machine, measured with the network of a run.

use super::{
    config::TrainConfig,
    cost::{Cost, Hours},
    error::TrainError,
    reduce::seconds_per_byte,
    run::Trainer,
};
use crate::data::{Dataset, Geometry, Images};
use burn::tensor::Device;

/// Floating-point operations of a step that is timed: a fraction of a second on two cores.
const TIMED: f64 = 2e10;
/// Steps that are taken.
const STEPS: u64 = 3;

impl Cost {
    /// The time of the run on this machine, by a few steps on synthetic images, which are thrown
    /// away.
    ///
    /// # Errors
    /// If the configuration makes no sense on the device.
    pub fn measure_here(&self, config: &TrainConfig, device: &Device) -> Result<Hours, TrainError> {
        let of_image = 2.0 * self.macs_per_step as f64 / self.batch as f64;
        let count = ((TIMED / of_image) as usize).clamp(1, self.batch);
        let mut config = config.clone();
        config.schedule.batch = count;
        let of_classes = config.classification.batch.min(self.data.images);
        let share = of_classes as f64 * count as f64 / self.batch as f64;
        let of_classes = (share.round() as usize).max(of_classes.min(1));
        config.classification.batch = of_classes;
        let timed = config.passes_of(count, of_classes) * self.macs_per_image;
        let images = self.synthetic(count.max(of_classes))?;
        config.data.unlabelled |= self.data.classes < 2;
        let trainer = Trainer::with_data(config, images.clone(), images, device)?;
        // The first step fills caches.
        let times = trainer.timed_steps(STEPS)?.split_off(1);
        let least = |part: usize| times.iter().map(|time| time[part]).fold(f64::INFINITY, f64::min);
        let seconds = least(0) * self.macs_per_step as f64 / timed as f64 + least(1);
        Ok(Hours {
            name: "this machine",
            basis: "measured now",
            gflops: 1e-9 * of_image * self.batch as f64 / seconds,
            hours: seconds * self.steps as f64 / 3600.0,
            optimizer: least(1) / seconds,
            copying: seconds_per_byte(),
        })
    }

    /// `count` images of the run's channels, size and classes.
    fn synthetic(&self, count: usize) -> Result<Images, TrainError> {
        let data = &self.data;
        let geometry = Geometry::new(data.channels, data.height, data.width);
        let values = count * geometry.values();
        let pixels =
            (0..values as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let classes = (0..data.classes).map(|class| class.to_string()).collect();
        let labels = (0..count).map(|i| (i % data.classes) as u32).collect();
        Ok(Dataset::new("synthetic", geometry, classes, pixels, labels)?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_run_is_timed() {
        let assume = "data.assume={pictures=5000,channels=3,height=16,width=16,classes=3}";
        for settings in [
            &["network.width=8", "schedule.steps=100"][..],
            #[cfg(feature = "robustness")]
            &["classification.batch=9", "adversarial.steps=1", "schedule.steps=100"],
            &["classification.batch=9000", "network.norm=batch", "schedule.steps=100"],
            &["network.kind=unet", "augment.patch=8", "loss.ce_weight=0", "schedule.steps=100"],
            &["network.kind=resnet18", "data.unlabelled=false", "schedule.steps=100"],
        ] {
            let all =
                settings.iter().chain([&assume, &"schedule.batch=2000", &"network.blocks=[1,1]"]);
            let config =
                TrainConfig::load(None, &all.map(|s| s.to_string()).collect::<Vec<_>>()).unwrap();
            let cost = Cost::estimate(&config, 1).unwrap();
            let here = cost.measure_here(&config, &Device::flex()).unwrap();
            assert!(here.gflops > 0.1 && here.gflops < 1e5, "{settings:?}: {here:?}");
            let expected = 2e-9 * cost.macs as f64 / here.gflops / 3600.0;
            assert!(here.optimizer > 0.0 && here.optimizer < 1.0);
            assert!((here.hours / expected - 1.0).abs() < 1e-6, "{settings:?}: {here:?}");
        }
    }
}
