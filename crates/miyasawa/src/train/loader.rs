//! The batches of a run.
//!
//! The batch of a step is a function of the seed and the step alone: its images are a piece of
//! the epoch's order, which follows from (seed, epoch), their augmentation follows from (seed,
//! epoch, index), their noise from (seed, step, index). So a run resumes at any step without saved
//! state, and the number of workers changes nothing.
//!
//! Images in memory are copied when the step asks for them. Streamed ones are read, decoded and
//! augmented ahead of the step by threads of their own; what they have ready is bounded by
//! `data.prefetch` batches.
//!
//! The images that the cross-entropy alone learns from (`[classification]`) come from a source of
//! their own, in an order of their own, and lie behind the others.

mod pool;
mod source;

use super::config::{NoiseConfig, TrainConfig};
use super::contrast::reduce_contrast;
use super::noise::{expose, make_grey, noise_of, store_in_8_bits};
use super::parts::Batch;
use crate::data::{DataError, Geometry, Images};
use crate::random::{example_rng, stream};
use rand::Rng;
use source::Source;
use std::ops::Range;

/// Where a run's batches come from.
pub(super) struct DataLoader {
    geometry: Geometry,
    source: Source,
    noise: NoiseConfig,
    unlabelled: bool,
    /// Share of the images whose contrast is reduced.
    low_contrast: f64,
    /// Share of the images that are made grey.
    grey: f64,
    /// The images that the cross-entropy alone learns from, and their noise levels.
    for_classes: Option<(Source, NoiseConfig)>,
}

impl DataLoader {
    /// The loader of a run with batches of `for_all` images, and `for_classes` behind them; workers
    /// are started where the set is streamed. Of every batch the images `own` are made, the others
    /// are zeros.
    pub fn new(
        set: &Images,
        config: &TrainConfig,
        [for_all, for_classes]: [usize; 2],
        own: Range<usize>,
    ) -> Self {
        let TrainConfig { seed, data, noise, augment, classification, .. } = config;
        let within = |start: usize, count: usize| {
            let place = |at: usize| at.clamp(start, start + count) - start;
            place(own.start)..place(own.end)
        };
        let source = |seed: u64, augment, start: usize, count: usize| {
            Source::new(set, data, seed, augment, count, within(start, count))
        };
        let own_classes = (for_classes > 0).then(|| {
            // Another order and another augmentation than those of the other images.
            let seed = example_rng(*seed, 0, 0, stream::CLASSIFICATION).next_u64();
            let augment = classification.augment(augment);
            (source(seed, augment, for_all, for_classes), classification.noise(noise))
        });
        Self {
            geometry: set.geometry(),
            source: source(*seed, augment.augment(), 0, for_all),
            noise: noise.clone(),
            unlabelled: data.unlabelled,
            low_contrast: augment.low_contrast,
            grey: augment.grey,
            for_classes: own_classes,
        }
    }

    /// The batch of step `step`. Steps are asked for one after the other; going elsewhere is
    /// allowed and costs what was prepared.
    ///
    /// # Errors
    /// If an image cannot be read, or too many are corrupt.
    pub fn batch(&mut self, step: u64) -> Result<Batch, DataError> {
        let Geometry { channels, height, width } = self.geometry;
        let len = channels * height * width;
        let (mut x, mut labels) = self.source.images(step, len)?;
        let image = [channels, height, width];
        if self.unlabelled {
            labels.fill(0);
        }
        let Source { seed, batch, .. } = self.source;
        let own = || self.source.own.clone();
        let reduced = reduce_contrast(&mut x, image, self.low_contrast, [seed, step]);
        // What is left of such an image does not say what it shows.
        let label_weight =
            reduced.into_iter().map(|reduced| if reduced { 0.0 } else { 1.0 }).collect();
        let (mut sigma, mut noise) = noise_of(&self.noise, [seed, step], batch, len, own());
        make_grey(&mut x, &mut noise, image, self.grey, [seed, step]);
        expose(&mut x, &mut sigma, &mut noise, image, &self.noise, [seed, step], own());
        store_in_8_bits(&x, &sigma, &mut noise, self.noise.stored, [seed, step]);
        let mut all = Batch { image, x, labels, label_weight, sigma, noise, for_classes: 0 };
        if let Some((source, noise)) = &mut self.for_classes {
            let (x, labels) = source.images(step, len)?;
            let Source { seed, batch, .. } = *source;
            let own = source.own.clone();
            let (sigma, noise) = noise_of(noise, [seed, step], batch, len, own);
            all.x.extend(x);
            all.labels.extend(labels);
            all.label_weight.extend(std::iter::repeat_n(1.0, batch));
            all.sigma.extend(sigma);
            all.noise.extend(noise);
            all.for_classes = batch;
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataSource, Part};
    use image::{ImageFormat, Rgb, RgbImage};

    /// A folder with 3 classes of images of 6x6, the ninth of which may be corrupt.
    fn images(corrupt: bool) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..40u32 {
            let class = dir.path().join((i % 3).to_string());
            std::fs::create_dir_all(&class).unwrap();
            let image =
                RgbImage::from_fn(6, 6, |x, y| Rgb([x * 40, y * 40, i * 6].map(|v| v as u8)));
            let path = class.join(format!("{i:02}.png"));
            image.save_with_format(&path, ImageFormat::Png).unwrap();
            if corrupt && i == 9 {
                std::fs::write(&path, b"no image").unwrap();
            }
        }
        dir
    }

    fn config(settings: &[&str]) -> TrainConfig {
        let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
        TrainConfig::load(None, &settings).unwrap()
    }

    fn loader(dir: &tempfile::TempDir, settings: &[&str]) -> Result<DataLoader, DataError> {
        let augment =
            ["seed=3", "augment.flip=true", "augment.crop=1", "augment.resized_crop=[0.3, 1.0]"];
        let config = config(&[&augment, settings].concat());
        let set =
            DataSource::Path(dir.path().to_owned()).open(Part::Train, &config.open_options())?;
        Ok(DataLoader::new(&set, &config, [12, 0], 0..12))
    }

    fn values(batch: Batch) -> (Vec<f32>, Vec<u32>, Vec<f32>) {
        (batch.x, batch.labels, batch.noise)
    }

    #[test]
    fn batches_are_the_same_in_memory_and_with_any_number_of_workers() {
        let dir = images(false);
        for order in ["data.prefetch=2", "data.shuffle_buffer=5"] {
            let mut memory = loader(&dir, &["data.stream=never", order]).unwrap();
            let expected: Vec<_> = (0..8).map(|step| values(memory.batch(step).unwrap())).collect();
            assert_ne!(expected[0], expected[3], "another epoch");
            for workers in ["data.workers=1", "data.workers=4"] {
                let mut stream = loader(&dir, &["data.stream=always", order, workers]).unwrap();
                for (step, expected) in expected.iter().enumerate() {
                    assert_eq!(
                        &values(stream.batch(step as u64).unwrap()),
                        expected,
                        "{workers}, step {step}"
                    );
                }
                // A run that starts elsewhere or goes back sees the same.
                for step in [6, 2, 3, 7, 7, 1] {
                    assert_eq!(
                        values(stream.batch(step).unwrap()),
                        expected[step as usize],
                        "step {step}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_broken_image_ends_the_run_only_beyond_the_limit() {
        let dir = images(true);
        let mut stream = loader(&dir, &["data.stream=always", "data.sample=1"]).unwrap();
        assert!((0..6).all(|step| stream.batch(step).is_ok()));
        let strict = ["data.stream=always", "data.max_broken=0", "data.sample=1"];
        let mut stream = loader(&dir, &strict).unwrap();
        let errors: Vec<String> =
            (0..3).filter_map(|step| stream.batch(step).err()).map(|e| e.to_string()).collect();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("09.png"), "{errors:?}");
    }

    #[test]
    fn images_for_the_cross_entropy_alone_lie_behind_the_others() {
        let dir = images(false);
        let settings = [
            "classification.batch=10",
            "classification.cutout=3",
            "augment.flip=true",
            "classification.share_at_min=1",
            "classification.affine=0.5",
            "seed=3",
        ];
        let config = config(&settings);
        let set = DataSource::Path(dir.path().to_owned());
        let set = set.open(Part::Train, &config.open_options()).unwrap();
        let batch = |sizes, own| DataLoader::new(&set, &config, sizes, own).batch(3).unwrap();
        let (alone, both) = (batch([12, 0], 0..12), batch([12, 10], 0..22));
        let len = 3 * 6 * 6;
        assert_eq!((both.len(), both.for_all(), both.for_classes), (22, 12, 10));
        assert_eq!((&both.x[..12 * len], &both.labels[..12]), (&alone.x[..], &alone.labels[..]));
        assert_eq!(both.noise[..12 * len], alone.noise);
        assert!(both.sigma[12..].iter().all(|sigma| *sigma == 0.02));
        assert_ne!(both.labels[12..], alone.labels[..10], "an order of their own");
        let grey = |image: &[f32]| (0..36).any(|i| (0..3).all(|c| image[36 * c + i] == 0.0));
        assert!(both.x[12 * len..].chunks(len).all(grey));
        // What other processes make is zero here.
        for own in [0..7, 7..15, 15..22] {
            let some = batch([12, 10], own.clone());
            for (i, image) in some.x.chunks(len).enumerate() {
                let expected =
                    if own.contains(&i) { &both.x[i * len..][..len] } else { &[0.0; 108] };
                assert_eq!(image, expected, "{i} of {own:?}");
            }
            assert_eq!((some.labels.len(), some.for_classes), (22, 10));
        }
    }
}
