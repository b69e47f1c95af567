//! Certificates by randomised smoothing (Cohen, Rosenfeld & Kolter 2019, "Certified adversarial
//! robustness via randomized smoothing").
//!
//! The smoothed classifier `g(x)` is the most probable class of a base classifier for `x + noise`.
//! If class A has probability `p_A > 1/2` under noise of the standard deviation `s`, then no change
//! of a Euclidean length below `R = s * quantile(p_A)` alters `g(x)` (theorem 1 with `p_B = 1 -
//! p_A`).
//!
//! **Units.** Noise levels are in units of the [-1, 1] range everywhere in this crate; radii are in
//! units of the [0, 1] pixel range, as in the literature. Noise of the level `sigma` has the
//! standard deviation `sigma/2` there, so `R = sigma/2 * quantile(p_A)`, and the paper's `sigma =
//! 0.25` is 0.5 here.
//!
//! The base classifier is conditioned on the noise level: a joint model needs no retraining to be
//! smoothed.
//!
//! ```
//! use miyasawa::certify::{CertifyOptions, certified_accuracy, certify, lower_bound};
//! use miyasawa::certify::normal_quantile;
//! use miyasawa::data::{DataSource, OpenOptions, Part};
//! use miyasawa::model::{GradResNetConfig, JointModel};
//! use miyasawa::{Device, prelude::*};
//!
//! // 990 of 1000 draws at the level 0.5, wrong with a probability of at most 0.001.
//! let radius = 0.5 / 2.0 * normal_quantile(lower_bound(990, 1000, 0.001));
//! assert!((0.45..0.55).contains(&radius));
//!
//! // An untrained network and a few digits, to be quick.
//! let device = Device::flex();
//! let net = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
//! let model = JointModel::new(net.init(&device, 0), 0.5);
//! let digits = DataSource::Digits.open(Part::Test, &OpenOptions::default())?.into_dataset()?;
//! let classifier = Defence::Softmax { sigma: 0.5 }.classifier(&model, [1, 8, 8], &device);
//! let options = CertifyOptions {
//!     sigma: 0.5,
//!     n0: 10,
//!     n: 100,
//!     alpha: 0.01,
//!     radii: vec![0.1],
//!     fixed: false,
//!     batch: 50,
//!     seed: 0,
//! };
//! let found = certify(classifier.as_ref(), &digits.subset(2)?, &options, &mut ());
//! assert!(found.len() == 2 && found[0].draws <= 100);
//! let rows = certified_accuracy(&found, &[0.0, 0.1]);
//! assert!(rows[1].certified_accuracy <= rows[0].certified_accuracy);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bounds;
mod reach;

pub use crate::normal::quantile as normal_quantile;
pub use bounds::{lower_bound, split_p_value, upper_bound};

use crate::attack::unit_values;
use crate::classifier::Classifier;
use crate::data::Dataset;
use crate::metrics::{argmax, wilson};
use crate::progress::{Monitor, Progress};
use crate::random::{example_rng, stream};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Shares of `n` after which the bound is computed, if drawing may end early.
const CHECKPOINTS: [f64; 3] = [1.0 / 16.0, 0.25, 1.0];

/// The settings of certification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertifyOptions {
    /// Noise level, in units of the [-1, 1] range.
    pub sigma: f64,
    /// Draws that choose the class.
    pub n0: u64,
    /// Most draws that bound its probability.
    pub n: u64,
    /// Largest probability that a certificate is wrong.
    pub alpha: f64,
    /// Radii of interest, in units of the [0, 1] range: drawing ends once all of them are decided,
    /// that is certified, or out of reach even if all remaining draws were of the predicted class.
    pub radii: Vec<f64>,
    /// Draw all `n` for every image, as the paper does.
    pub fixed: bool,
    /// Draws that go through the network at once.
    pub batch: usize,
    /// Seed of the noise.
    pub seed: u64,
}

/// The certificate of one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Its index in the data.
    #[serde(rename = "picture")]
    pub image: usize,
    /// Its class.
    pub label: usize,
    /// The smoothed classifier's class; `None` where it abstains.
    pub class: Option<usize>,
    /// No change shorter than this alters the class, in units of the [0, 1] range.
    pub radius: f64,
    /// Draws that were classified as `class`.
    pub hits: u64,
    /// Draws that bounded its probability.
    pub draws: u64,
}

/// Share of the images that are correctly classified and certified at a radius.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertifiedRow {
    /// The radius, in units of the [0, 1] range.
    pub radius: f64,
    /// Share of all images.
    pub certified_accuracy: f64,
    /// Its 95% interval ([`wilson`]); none in documents of earlier versions.
    #[serde(default)]
    pub certified_interval: Option<[f64; 2]>,
}

/// The largest cost of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// Most draws: those of a run where no image ends early.
    pub draws: u64,
    /// Draws a second, measured.
    pub draws_per_second: f64,
    /// Time for all of them at that rate, in seconds: an estimate from one batch.
    pub seconds: f64,
}

/// Estimates the largest cost of certifying `data`, from the time of one batch of draws.
pub fn forecast(classifier: &dyn Classifier, data: &Dataset, options: &CertifyOptions) -> Forecast {
    let x = unit_values(data, &[0]);
    let noisy = |from| draw(&x, options, 0, 2, from..from + options.batch as u64);
    // The first call warms up; the second is timed.
    classifier.logits(&noisy(0));
    let start = Instant::now();
    classifier.logits(&noisy(1));
    let draws_per_second = options.batch as f64 / start.elapsed().as_secs_f64().max(1e-9);
    let draws = data.len() as u64 * (options.n0 + options.n);
    Forecast { draws, draws_per_second, seconds: draws as f64 / draws_per_second }
}

/// The noisy images for the draws `numbers`, concatenated. Each draw's noise is a function of the
/// seed, the image, the phase (choosing or bounding) and its number alone.
fn draw(
    clean: &[f32],
    options: &CertifyOptions,
    image: u64,
    phase: u64,
    numbers: std::ops::Range<u64>,
) -> Vec<f32> {
    // In the image's units.
    let sigma = (0.5 * options.sigma) as f32;
    let first = numbers.start;
    let mut out = vec![0.0f32; clean.len() * (numbers.end - first) as usize];
    out.par_chunks_mut(clean.len()).enumerate().for_each(|(k, out)| {
        // The phase goes into the upper bits of the draw's number: the key has only four numbers.
        let mut rng =
            example_rng(options.seed, (phase << 48) | (first + k as u64), image, stream::CERTIFY);
        for (out, clean) in out.iter_mut().zip(clean) {
            let noise: f32 = StandardNormal.sample(&mut rng);
            *out = clean + sigma * noise;
        }
    });
    out
}

/// Counts the base classifier's classes over the draws `numbers`.
fn count(
    classifier: &dyn Classifier,
    clean: &[f32],
    options: &CertifyOptions,
    image: u64,
    phase: u64,
    numbers: std::ops::Range<u64>,
) -> Vec<u64> {
    let mut counts = vec![0u64; classifier.classes()];
    let batch = options.batch.max(1) as u64;
    let mut from = numbers.start;
    while from < numbers.end {
        let to = (from + batch).min(numbers.end);
        let logits = classifier.logits(&draw(clean, options, image, phase, from..to));
        logits.chunks(classifier.classes()).for_each(|z| counts[argmax(z)] += 1);
        from = to;
    }
    counts
}

/// The smoothed classifier's class from `n0` draws, or `None` if the two most frequent classes
/// cannot be distinguished at level `alpha` (the paper's PREDICT).
pub fn predict(
    classifier: &dyn Classifier,
    clean: &[f32],
    options: &CertifyOptions,
    image: u64,
) -> Option<usize> {
    let counts = count(classifier, clean, options, image, 0, 0..options.n0);
    let order = crate::metrics::top(&counts.iter().map(|c| *c as f32).collect::<Vec<_>>(), 2);
    let first = counts[order[0]];
    let second = order.get(1).map_or(0, |c| counts[*c]);
    (split_p_value(first, first + second) <= options.alpha).then_some(order[0])
}

/// The paper's CERTIFY. If drawing may end early, the bound is computed after a sixteenth, a
/// quarter and all of the draws, each time with a third of `alpha` (so that the total error
/// probability is at most `alpha`), and drawing ends
///
/// * once every radius of interest that can still be reached is certified: the largest possible
///   bound is the last one if all remaining draws are of the predicted class;
/// * once the probability is below 1/2 with confidence: abstaining is never wrong.
fn certificate(
    classifier: &dyn Classifier,
    clean: &[f32],
    options: &CertifyOptions,
    image: usize,
    label: usize,
) -> Certificate {
    let index = image as u64;
    let first = count(classifier, clean, options, index, 0, 0..options.n0);
    let class = argmax(&first.iter().map(|c| *c as f32).collect::<Vec<_>>());
    let (checkpoints, alpha) = options.checkpoints();
    let radius = |bound: f64| options.radius(bound);
    let (mut hits, mut draws) = (0, 0);
    let abstain = |hits, draws| Certificate { image, label, class: None, radius: 0.0, hits, draws };
    for share in checkpoints {
        let to = ((options.n as f64 * share).ceil() as u64).clamp(1, options.n);
        if to > draws {
            hits += count(classifier, clean, options, index, 1, draws..to)[class];
            draws = to;
        }
        let bound = lower_bound(hits, draws, alpha);
        let last = draws == options.n;
        let reach = radius(lower_bound(hits + options.n - draws, options.n, alpha));
        let decided = |r: &f64| *r <= radius(bound) || *r > reach;
        if bound > 0.5 && (last || options.radii.iter().all(decided) && !options.radii.is_empty()) {
            return Certificate {
                image,
                label,
                class: Some(class),
                radius: radius(bound),
                hits,
                draws,
            };
        }
        if last || upper_bound(hits, draws, options.alpha) < 0.5 {
            break;
        }
    }
    abstain(hits, draws)
}

/// Certifies every image of a set. The monitor gets the task `certification` with the values `images` and
/// `correct` so far; the certificates end where it stops the work: ask [`Monitor::stop`] whether they are all.
///
/// # Panics
/// If `n` is 0, `alpha` is not between 0 and 1, or the images have another shape than the
/// classifier's.
pub fn certify(
    classifier: &dyn Classifier,
    data: &Dataset,
    options: &CertifyOptions,
    monitor: &mut dyn Monitor,
) -> Vec<Certificate> {
    let (mut out, mut correct) = (Vec::new(), 0usize);
    for image in 0..data.len() {
        if monitor.stop() {
            break;
        }
        let clean = unit_values(data, &[image]);
        let label = data.labels()[image] as usize;
        let found = certificate(classifier, &clean, options, data.source_index(image), label);
        correct += usize::from(found.class == Some(label));
        out.push(found);
        let values = [("images", out.len() as f64), ("correct", correct as f64)];
        let share = (image + 1) as f64 / data.len() as f64;
        monitor.progress(&Progress { task: "certification", share, values: &values });
    }
    out
}

/// The certified accuracy at each radius: the share of images that are classified correctly with at
/// least this radius.
pub fn certified_accuracy(certificates: &[Certificate], radii: &[f64]) -> Vec<CertifiedRow> {
    let at = |radius: f64| {
        let holds = |c: &&Certificate| c.class == Some(c.label) && c.radius >= radius;
        let certified = certificates.iter().filter(holds).count();
        let certified_accuracy = certified as f64 / certificates.len().max(1) as f64;
        let known = !certificates.is_empty();
        let certified_interval = known.then(|| wilson(certified_accuracy, certificates.len()));
        CertifiedRow { radius, certified_accuracy, certified_interval }
    };
    radii.iter().map(|r| at(*r)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::LogitGrad;
    use crate::data::Geometry;

    /// Class 1 above a plane, class 0 below: smoothing does not move the boundary, and the radius
    /// is the distance to it.
    struct HalfSpace;

    const THRESHOLD: f32 = 0.5;

    impl Classifier for HalfSpace {
        fn shape(&self) -> [usize; 3] {
            [1, 1, 3]
        }

        fn classes(&self) -> usize {
            2
        }

        fn logits(&self, images: &[f32]) -> Vec<f32> {
            images.chunks(3).flat_map(|x| [THRESHOLD - x[0], x[0] - THRESHOLD]).collect()
        }

        fn gradient(&self, _: &[f32], _: &LogitGrad<'_>) -> (Vec<f32>, Vec<f32>) {
            unreachable!("certificates need no gradient")
        }
    }

    fn options() -> CertifyOptions {
        CertifyOptions {
            sigma: 0.5,
            n0: 100,
            n: 4000,
            alpha: 0.001,
            radii: vec![0.1, 0.25],
            fixed: true,
            batch: 64,
            seed: 0,
        }
    }

    fn data(values: &[u8]) -> Dataset {
        let pixels = values.iter().flat_map(|v| [*v, 9, 200]).collect();
        let labels = values.iter().map(|v| u32::from(f32::from(*v) / 255.0 > THRESHOLD)).collect();
        Dataset::new("x", Geometry::new(1, 1, 3), vec!["a".into(), "b".into()], pixels, labels)
            .unwrap()
    }

    #[test]
    fn the_radius_approaches_the_distance_to_the_plane_and_never_exceeds_it() {
        let data = data(&[0, 64, 120, 128, 160, 200, 240]);
        let found = certify(&HalfSpace, &data, &options(), &mut ());
        for c in &found {
            let distance = (f64::from(data.image(c.image)[0]) / 255.0 - f64::from(THRESHOLD)).abs();
            match c.class {
                Some(class) => {
                    assert_eq!(class, c.label);
                    // Noise of the level 0.5 has the standard deviation 0.25 on [0, 1].
                    assert!(
                        c.radius <= distance + 1e-9 && c.radius > 0.85 * distance - 0.02,
                        "{c:?} {distance}"
                    );
                }
                None => assert!(distance < 0.02, "{c:?} {distance}"),
            }
            assert_eq!(c.draws, 4000);
        }
        assert_eq!(found[3].class, None, "two thousandths from the plane");
        let rows = certified_accuracy(&found, &[0.0, 0.25, 0.6]);
        let shares: Vec<f64> = rows.iter().map(|r| r.certified_accuracy).collect();
        assert!(shares[0] > shares[1] && shares[1] >= 2.0 / 7.0 && shares[2] == 0.0, "{shares:?}");
    }

    #[test]
    fn draws_grow_only_where_they_are_needed() {
        let data = data(&[0, 64, 128, 200, 255]);
        let grown =
            certify(&HalfSpace, &data, &CertifyOptions { fixed: false, ..options() }, &mut ());
        let fixed = certify(&HalfSpace, &data, &options(), &mut ());
        for radius in [0.1, 0.25] {
            assert_eq!(
                certified_accuracy(&grown, &[radius]),
                certified_accuracy(&fixed, &[radius])
            );
        }
        assert!(
            grown[0].draws < 1001 && grown[4].draws < 1001 && grown[2].draws == 4000,
            "{grown:?}"
        );
        // The draws are the same whatever the batch.
        let again = CertifyOptions { fixed: false, batch: 7, ..options() };
        assert_eq!(certify(&HalfSpace, &data, &again, &mut ()), grown);
        // A radius that no image can reach at this noise does not delay the end of drawing.
        let beyond = CertifyOptions { fixed: false, radii: vec![0.1, 0.25, 9.0], ..options() };
        assert_eq!(certify(&HalfSpace, &data, &beyond, &mut ()), grown);
        let far = CertifyOptions { fixed: false, radii: vec![0.1, 0.5], ..options() };
        let far = certify(&HalfSpace, &data, &far, &mut ());
        assert!(far[1].draws < 4000 && far[1].radius >= 0.1 && fixed[1].radius < 0.5, "{far:?}");
        // The draws depend on the image, not on the subset that contains it.
        let few = data.subset(2).unwrap();
        let of_few = certify(&HalfSpace, &few, &options(), &mut ());
        assert_eq!(of_few, [fixed[0].clone(), fixed[2].clone()]);
        let other = CertifyOptions { seed: 1, ..options() };
        assert_ne!(certify(&HalfSpace, &data, &other, &mut ()), fixed);
    }

    #[test]
    fn predictions_abstain_where_classes_cannot_be_distinguished() {
        let at = |v: u8| unit_values(&data(&[v]), &[0]);
        assert_eq!(predict(&HalfSpace, &at(10), &options(), 0), Some(0));
        assert_eq!(predict(&HalfSpace, &at(250), &options(), 0), Some(1));
        assert_eq!(predict(&HalfSpace, &at(128), &options(), 0), None);
    }
}
