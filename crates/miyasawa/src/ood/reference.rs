//! Scores that compare an image's features with those of training images.

use super::error::ReferenceError;
use super::{Knn, LevelScores, OodOptions, Vim};
use crate::data::Dataset;
use crate::eval::noisy_batch;
use crate::model::{Penultimate, host};
use crate::parallel::share_out;
use crate::progress::{Monitor, Progress};
use burn::tensor::Device;

/// Added to the number of a noise level for the noise of training images: with that of the others
/// an image would be near the training image of the same index, for its noise.
const TRAINING: u64 = 1 << 32;

/// The features of training images at every noise level, for the scores
/// [`Score::Knn`](super::Score::Knn) and [`Score::Vim`](super::Score::Vim).
///
/// ```
/// use miyasawa::data::{DataSource, OpenOptions, Part};
/// use miyasawa::model::{GradResNetConfig, JointModel};
/// use miyasawa::ood::{OodOptions, OutSource, Reference, Score, compare, scores};
/// use miyasawa::{Device, prelude::*};
///
/// // An untrained network and a few digits, to be quick.
/// let device = Device::flex();
/// let net = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
/// let model = JointModel::new(net.init(&device, 0), 0.5);
/// let digits = |part| DataSource::Digits.open(part, &OpenOptions::default())?.into_dataset();
/// let (training, inside) = (digits(Part::Train)?.subset(60)?, digits(Part::Test)?.subset(10)?);
/// let outside = OutSource::Textures.load(inside.geometry(), Some(10), 0)?;
/// let options = OodOptions { sigmas: vec![0.2], batch: 10, seed: 0 };
///
/// let reference = Reference::fit(&model, &training, 5, &options, &device, &mut ())?;
/// let [inside, outside] = [inside, outside].map(|set| {
///     let mut levels = scores(&model, &set, &options, &device, &mut ());
///     reference.add_scores(&mut levels, &model, &set, &options, &device, &mut ());
///     levels
/// });
/// let rows = compare(&inside, &outside);
/// let has = |score: Score| rows.iter().any(|row| row.score == score);
/// assert!(has(Score::Knn) && has(Score::Vim));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    levels: Vec<(Knn, Vim)>,
}

impl Reference {
    /// The k-th nearest neighbour for CIFAR-10 in Sun et al. 2022, with all its training images.
    pub const NEIGHBOUR: usize = 50;

    /// Fits [`Knn`], for the distance to the k-th nearest neighbour, and [`Vim`], with
    /// [`Vim::principal_dimensions`], to the features of training images at every noise level of
    /// the options, the model conditioned on it. The noise is another than that of
    /// [`scores`](super::scores). The monitor gets the set's name as the task; the levels end where
    /// it stops the work.
    ///
    /// # Errors
    /// If the model has no class head, or the features do not suffice.
    pub fn fit(
        model: &(impl Penultimate + Sync),
        training: &Dataset,
        k: usize,
        options: &OodOptions,
        device: &Device,
        monitor: &mut dyn Monitor,
    ) -> Result<Self, ReferenceError> {
        let head = model.class_head().ok_or(ReferenceError::NoClassHead)?;
        let bias = head.bias.as_ref().ok_or(ReferenceError::NoBias)?;
        let [_, width] = head.weight.dims();
        let (weight, bias) = (host(head.weight.val()), host(bias.val()));
        let dimensions = Vim::principal_dimensions(width);
        let mut levels = Vec::new();
        for level in 0..options.sigmas.len() {
            let noise = TRAINING + level as u64;
            let Some(features) =
                features(model, training, options, [level as u64, noise], device, monitor)
            else {
                break;
            };
            if features.len() != training.len() * width {
                return Err(ReferenceError::NoClassHead);
            }
            let knn = Knn::fit(&features, width, k)?;
            levels.push((knn, Vim::fit(&features, &weight, &bias, dimensions)?));
        }
        Ok(Self { levels })
    }

    /// Adds both scores to those of the same images, which [`scores`](super::scores) or
    /// [`model_scores`](super::model_scores) computed with the same options: of the same noisy
    /// images, in another forward pass. The levels end where the monitor stops the work.
    pub fn add_scores(
        &self,
        scores: &mut Vec<LevelScores>,
        model: &(impl Penultimate + Sync),
        data: &Dataset,
        options: &OodOptions,
        device: &Device,
        monitor: &mut dyn Monitor,
    ) {
        for (level, (knn, vim)) in self.levels.iter().enumerate().take(scores.len()) {
            let noise = [level as u64; 2];
            let Some(features) = features(model, data, options, noise, device, monitor) else {
                scores.truncate(level);
                return;
            };
            let [_, _, _, _, _, of_knn, of_vim] = &mut scores[level].values;
            (*of_knn, *of_vim) = (knn.scores(&features), vim.scores(&features));
        }
    }
}

/// The features of all images at a noise level, with the noise of the number `noise`; nothing if
/// the monitor stops the work.
fn features(
    model: &(impl Penultimate + Sync),
    data: &Dataset,
    options: &OodOptions,
    [level, noise]: [u64; 2],
    device: &Device,
    monitor: &mut dyn Monitor,
) -> Option<Vec<f32>> {
    let (sigma, total) = (options.sigmas[level as usize], options.sigmas.len() * data.len());
    let mut out = Vec::new();
    for from in (0..data.len()).step_by(options.batch.max(1)) {
        let size = options.batch.max(1).min(data.len() - from);
        let batch = noisy_batch(data, [from, size], sigma, [options.seed, noise], device);
        let parts = share_out(size, device, |[from, count]| {
            let y = batch.y.clone().narrow(0, from, count);
            let features = model.features(&y, &batch.sigma.clone().narrow(0, from, count));
            features.map(host).unwrap_or_default()
        });
        out.extend(parts.into_iter().flatten());
        let done = level as usize * data.len() + from + size;
        monitor.progress(&Progress::new(data.name(), done as f64 / total as f64));
        if monitor.stop() {
            return None;
        }
    }
    Some(out)
}
