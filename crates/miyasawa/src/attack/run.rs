//! An attack on a data set, for several sizes.

use super::{
    Journal, JournalError, Method, Norm, Pgd,
    examples::{Examples, misclassified},
    journal::Line,
    loss::Loss,
    stage::{Settings, Stage},
};
use crate::classifier::Classifier;
use crate::data::{Dataset, gather};
use crate::digest::hex;
use crate::metrics::wilson;
use crate::progress::{Monitor, Progress};
use crate::random::evaluation_noise;
use crate::range::to_unit;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, time::Instant};

/// Counts the changes of what the attacks find: 2 since Square's schedule is that of the standard version.
pub const VERSION: u32 = 2;

/// The stage of the clean images in the journal.
const CLEAN: &str = "clean";

/// In which order the sizes of an attack are gone through, and so what one says about the next.
///
/// The balls are nested: an adversarial image within a smaller change is within a larger one too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SizeOrder {
    /// What a smaller change breaks counts as broken by a larger one. Every size is attacked with all stages: the images
    /// that stand, which cost most, pay for each.
    #[default]
    SmallestFirst,
    /// What withstands a larger change counts as withstanding a smaller one once the first stage has found nothing there
    /// either: each image pays for all stages about once. Should the first stage break one, it counts as broken by the
    /// larger change too, and a warning says so.
    LargestFirst,
}

/// An attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// How changes are measured.
    pub norm: Norm,
    /// What is run.
    pub method: Method,
    /// Largest changes, in units of the [0, 1] range; 0 is no attack.
    pub eps: Vec<f64>,
    /// Which of them comes first.
    pub order: SizeOrder,
    /// Gradient steps of PGD, APGD and FAB; the standard version of AutoAttack has 100.
    pub steps: usize,
    /// Random starts of PGD and APGD.
    pub restarts: u64,
    /// Queries of Square for each image; the standard version has 5,000.
    pub queries: usize,
    /// Images that go through the network at once.
    pub batch: usize,
    /// Seed of everything random.
    pub seed: u64,
}

impl Plan {
    /// The settings of the standard version: 100 steps, one start, 5,000 queries.
    ///
    /// ```
    /// use miyasawa::attack::{Method, Norm, Plan};
    /// let plan = Plan::new(Norm::Linf, Method::AutoAttack, vec![8.0 / 255.0]);
    /// assert_eq!((plan.steps, plan.queries), (100, 5000));
    /// ```
    pub fn new(norm: Norm, method: Method, eps: Vec<f64>) -> Self {
        let order = SizeOrder::default();
        Self { norm, method, eps, order, steps: 100, restarts: 1, queries: 5000, batch: 64, seed: 0 }
    }

    /// What the journal of this attack on `subject` (a model, images, a defence) says of it: all that an image's result
    /// depends on, so neither the sizes and their order nor the batch, but the attacks' [`VERSION`].
    pub fn header(&self, subject: &serde_json::Value) -> serde_json::Value {
        let Self { norm, method, steps, restarts, queries, seed, .. } = self;
        serde_json::json!({
            "subject": subject, "norm": norm, "method": method, "steps": steps, "restarts": restarts,
            "queries": queries, "seed": seed, "version": VERSION,
        })
    }
}

/// The result for one size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackRow {
    /// Largest change, in units of the [0, 1] range.
    pub eps: f64,
    /// Share of all images that are right and stay right.
    pub robust_accuracy: f64,
    /// Its 95% interval ([`wilson`]); none in documents of earlier versions.
    #[serde(default)]
    pub robust_interval: Option<[f64; 2]>,
    /// How many images each attack broke that those before it had not, of those that this size was tried on (see
    /// [`SizeOrder`]).
    pub broken_by: BTreeMap<String, usize>,
}

/// The result of an attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackReport {
    /// Number of images.
    pub count: usize,
    /// Share of the images that are right without an attack.
    pub clean_accuracy: f64,
    /// Its 95% interval ([`wilson`]); none in documents of earlier versions.
    #[serde(default)]
    pub clean_interval: Option<[f64; 2]>,
    /// A row for every size, in rising order.
    pub rows: Vec<AttackRow>,
    /// Signs that gradients are masked and the true robustness is lower.
    pub warnings: Vec<String>,
}

/// The images `indices` of a set with values in [0, 1].
pub fn unit_values(data: &Dataset, indices: &[usize]) -> Vec<f32> {
    let indices: Vec<u32> = indices.iter().map(|i| *i as u32).collect();
    let mut values = vec![0.0; indices.len() * data.image_len()];
    gather(data, &indices, &mut values);
    values.iter_mut().for_each(|v| *v = to_unit(*v));
    values
}

/// As [`images`], with noise of the level `sigma` (in units of the [-1, 1] range) added, not clipped: the noise that
/// [`eval::noisy_batch`](crate::eval::noisy_batch) adds at the same seed, level and place.
pub fn noisy_unit_values(data: &Dataset, indices: &[usize], sigma: f64, [seed, level]: [u64; 2]) -> Vec<f32> {
    let (mut values, len) = (unit_values(data, indices), data.image_len());
    values.par_chunks_mut(len).zip(indices).for_each(|(values, place)| {
        let eps = evaluation_noise(seed, level, *place, 1, len);
        // The range [0, 1] is half as wide.
        values.iter_mut().zip(eps).for_each(|(value, eps)| *value += 0.5 * sigma as f32 * eps);
    });
    values
}

/// Tells an image and its class from others: the beginning of their hash.
fn digest(data: &Dataset, i: usize) -> String {
    let mut hash = Sha256::new();
    hash.update(data.labels()[i].to_le_bytes());
    hash.update(data.image(i));
    hex(hash, 8)
}

/// Which images are right before any attack, and the signs of masking that a clean image shows.
struct Clean {
    right: Vec<bool>,
    warnings: Vec<String>,
}

fn clean(
    classifier: &dyn Classifier,
    data: &Dataset,
    plan: &Plan,
    journal: &mut Journal,
) -> Result<Clean, JournalError> {
    let (mut right, mut random, mut zero, mut infinite) = (Vec::new(), false, 0usize, 0usize);
    let all: Vec<usize> = (0..data.len()).collect();
    for (number, indices) in all.chunks(plan.batch.max(1)).enumerate() {
        let started = Instant::now();
        let x = unit_values(data, indices);
        let label = |i: usize| data.labels()[indices[i]] as usize;
        let logits = classifier.logits(&x);
        // Two looks at the first images: a defence that answers at random must be attacked through its mean.
        if number == 0 {
            random = classifier.logits(&x).iter().zip(&logits).any(|(a, b)| a.to_bits() != b.to_bits());
        }
        let (_, gradient) = classifier.gradient(&x, &|i, z| Loss::CrossEntropy.weights(z, label(i)));
        let seconds = started.elapsed().as_secs_f64() / indices.len() as f64;
        let mut lines = Vec::new();
        let found = logits.chunks(classifier.classes()).zip(gradient.chunks(classifier.len()));
        for (i, (z, g)) in found.enumerate() {
            zero += usize::from(g.iter().all(|g| *g == 0.0));
            infinite += usize::from(z.iter().chain(g).any(|v| !v.is_finite()));
            let ok = !misclassified(z, label(i));
            right.push(ok);
            lines.push(Line {
                eps: 0.0,
                stage: CLEAN.to_owned(),
                image: data.source_index(indices[i]),
                broken: !ok,
                seconds,
                digest: Some(digest(data, indices[i])),
            });
        }
        journal.add(lines)?;
    }
    let mut warnings = Vec::new();
    if random {
        warnings.push(
            "the defence answers the same image differently each time: attack the average over its randomness"
                .to_owned(),
        );
    }
    if infinite > 0 {
        warnings.push(format!(
            "logits or gradient are not finite at {infinite} of {} clean images: attacks that follow it see nothing there",
            data.len()
        ));
    }
    // One class leaves nothing to attack; its gradient is zero for a good reason.
    if zero > 0 && classifier.classes() > 1 {
        warnings.push(format!(
            "the gradient is zero at {zero} of {} clean images: attacks that follow it see nothing",
            data.len()
        ));
    }
    Ok(Clean { right, warnings })
}

/// One attack on one data set while it runs.
struct Run<'a> {
    classifier: &'a dyn Classifier,
    data: &'a Dataset,
    plan: &'a Plan,
    stages: Vec<Stage>,
    journal: &'a mut Journal,
    monitor: &'a mut dyn Monitor,
    /// Share of the sizes that are done.
    done: f64,
    /// Number of the sizes.
    sizes: usize,
}

impl Run<'_> {
    /// Attacks the images `standing` with one stage; returns those that still stand, in order.
    fn stage(&mut self, eps: f64, place: usize, standing: &[usize]) -> Result<Vec<usize>, JournalError> {
        let Self { classifier, data, plan, .. } = *self;
        let (stage, batch) = (self.stages[place], plan.batch.max(1));
        let settings =
            Settings { norm: plan.norm, eps, steps: plan.steps, queries: plan.queries, seed: plan.seed };
        let name = stage.name();
        let mut open: Vec<usize> = Vec::new();
        let mut survivors: Vec<usize> = Vec::new();
        for &i in standing {
            match self.journal.get(eps, &name, data.source_index(i)) {
                Some(false) => survivors.push(i),
                Some(true) => {}
                None => open.push(i),
            }
        }
        for (b, indices) in open.chunks(batch).enumerate() {
            if self.monitor.stop() {
                return Err(JournalError::Stopped);
            }
            let within = (b * batch) as f64 / open.len() as f64;
            let share = (place as f64 + within) / self.stages.len() as f64;
            let remaining = (survivors.len() + open.len() - b * batch) as f64 / data.len() as f64;
            self.monitor.progress(&Progress {
                task: stage.attack(),
                share: self.done + share / self.sizes as f64,
                values: &[("eps", eps), ("remaining", remaining)],
            });
            let started = Instant::now();
            let x = unit_values(data, indices);
            let labels: Vec<u32> = indices.iter().map(|i| data.labels()[*i]).collect();
            let places: Vec<u64> = indices.iter().map(|i| data.source_index(*i) as u64).collect();
            let examples = Examples { images: &x, labels: &labels, places: &places };
            let broken: Vec<bool> =
                stage.run(classifier, &examples, &settings).iter().map(Option::is_some).collect();
            let seconds = started.elapsed().as_secs_f64() / indices.len() as f64;
            let line = |(i, broken): (&usize, &bool)| Line {
                eps,
                stage: name.clone(),
                image: data.source_index(*i),
                broken: *broken,
                seconds,
                digest: None,
            };
            self.journal.add(indices.iter().zip(&broken).map(line).collect())?;
            survivors.extend(indices.iter().zip(&broken).filter(|(_, broken)| !**broken).map(|(i, _)| *i));
        }
        survivors.sort_unstable();
        Ok(survivors)
    }

    /// Attacks the images `standing` with all stages; adds to `broken_by` what each attack broke, and returns those that
    /// still stand.
    fn all_stages(
        &mut self,
        eps: f64,
        mut standing: Vec<usize>,
        broken_by: &mut BTreeMap<String, usize>,
    ) -> Result<Vec<usize>, JournalError> {
        for place in 0..self.stages.len() {
            let survivors = self.stage(eps, place, &standing)?;
            *broken_by.entry(self.stages[place].attack().to_owned()).or_insert(0) +=
                standing.len() - survivors.len();
            standing = survivors;
        }
        Ok(standing)
    }
}

/// Attacks a data set with every size, in the order of the plan. An image is named in the journal, and draws its random
/// numbers, by its [place](Dataset::place) in the set that `data` was taken from.
/// The monitor gets an attack's name as the task, with the values `eps` (the size that is worked on) and `remaining`
/// (the share of all images that are still classified correctly).
///
/// # Errors
/// If the journal cannot be written, or is of other images; [`JournalError::Stopped`] if the monitor stops it.
///
/// # Panics
/// If the images have another shape than the classifier's, or more classes.
pub fn run(
    classifier: &dyn Classifier,
    data: &Dataset,
    plan: &Plan,
    journal: &mut Journal,
    monitor: &mut dyn Monitor,
) -> Result<AttackReport, JournalError> {
    let Clean { right, mut warnings } = clean(classifier, data, plan, journal)?;
    let right: Vec<usize> = (0..data.len()).filter(|i| right[*i]).collect();
    let mut sizes = plan.eps.clone();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let largest_first = plan.order == SizeOrder::LargestFirst;
    if largest_first {
        sizes.reverse();
    }
    let stages = Stage::of(plan.method, classifier.classes(), plan.restarts.max(1));
    let mut run = Run { classifier, data, plan, stages, journal, monitor, done: 0.0, sizes: sizes.len() };
    // The smallest size that breaks an image, of those tried; what withstood a larger one (largest first only).
    let mut broken_at = vec![f64::INFINITY; data.len()];
    let mut withstood: Vec<usize> = Vec::new();
    let mut broken_by = Vec::new();
    for (k, &eps) in sizes.iter().enumerate() {
        run.done = k as f64 / sizes.len() as f64;
        let mut by = BTreeMap::new();
        // With one class there is no wrong answer, with no change no other image.
        if eps > 0.0 && classifier.classes() > 1 {
            let open = |i: &usize| {
                withstood.binary_search(i).is_err() && (largest_first || broken_at[*i] == f64::INFINITY)
            };
            let open: Vec<usize> = right.iter().copied().filter(open).collect();
            let mut stand = run.stage(eps, 0, &withstood)?;
            let late = withstood.len() - stand.len();
            if late > 0 {
                by.insert(run.stages[0].attack().to_owned(), late);
                warnings.push(format!(
                    "eps {eps}: {late} images withstood a larger change and not this one: the attack with the larger one was too weak"
                ));
            }
            stand.extend(run.all_stages(eps, open.clone(), &mut by)?);
            stand.sort_unstable();
            for i in open.into_iter().chain(withstood.drain(..)) {
                if stand.binary_search(&i).is_err() {
                    broken_at[i] = broken_at[i].min(eps);
                }
            }
            if largest_first {
                withstood = stand;
            }
        }
        warnings.extend(masking(plan.method, eps, &by));
        broken_by.push(by);
    }
    let share = |eps: f64| right.iter().filter(|i| broken_at[**i] > eps).count() as f64 / data.len() as f64;
    let interval = |share: f64| Some(wilson(share, data.len()));
    let row = |(&eps, broken_by)| {
        let robust_accuracy = share(eps);
        AttackRow { eps, robust_accuracy, robust_interval: interval(robust_accuracy), broken_by }
    };
    let mut rows: Vec<AttackRow> = sizes.iter().zip(broken_by).map(row).collect();
    rows.sort_by(|a, b| a.eps.total_cmp(&b.eps));
    let clean_accuracy = right.len() as f64 / data.len() as f64;
    let clean_interval = interval(clean_accuracy);
    Ok(AttackReport { count: data.len(), clean_accuracy, clean_interval, rows, warnings })
}

/// A weaker attack that breaks what a stronger one could not (Athalye et al. 2018, "Obfuscated gradients give a false sense
/// of security", section 3.1).
fn masking(method: Method, eps: f64, broken_by: &BTreeMap<String, usize>) -> Option<String> {
    let (weak, strong, why) = match method {
        Method::Fgsm => return None,
        Method::Pgd => ("fgsm", "PGD", "one gradient step did better than many"),
        Method::AutoAttack => {
            ("square", "the attacks with gradients", "random search did better than gradients")
        }
    };
    let broken = *broken_by.get(weak)?;
    (broken > 0).then(|| format!("eps {eps}: {broken} images withstood {strong} and not {weak}: {why}"))
}

/// Share of the images that are right and stay right under projected gradient descent; with `eps` 0 the clean accuracy.
pub fn robust_accuracy(classifier: &dyn Classifier, data: &Dataset, attack: &Pgd, batch: usize) -> f64 {
    robust_accuracy_while(classifier, data, attack, batch, &mut ()).unwrap_or_default()
}

/// As [`robust_accuracy`], and nothing if the monitor, asked before every batch, stops it.
pub fn robust_accuracy_while(
    classifier: &dyn Classifier,
    data: &Dataset,
    attack: &Pgd,
    batch: usize,
    monitor: &mut dyn Monitor,
) -> Option<f64> {
    let mut right = 0;
    let all: Vec<usize> = (0..data.len()).collect();
    for indices in all.chunks(batch.max(1)) {
        if monitor.stop() {
            return None;
        }
        let classes = classifier.predict(&unit_values(data, indices));
        let standing: Vec<usize> = indices
            .iter()
            .zip(classes)
            .filter(|(i, class)| data.labels()[**i] as usize == *class)
            .map(|(i, _)| *i)
            .collect();
        if attack.eps <= 0.0 || standing.is_empty() || classifier.classes() < 2 {
            right += standing.len();
            continue;
        }
        let x = unit_values(data, &standing);
        let labels: Vec<u32> = standing.iter().map(|i| data.labels()[*i]).collect();
        let places: Vec<u64> = standing.iter().map(|i| data.source_index(*i) as u64).collect();
        let examples = Examples { images: &x, labels: &labels, places: &places };
        right += attack.attack(classifier, &examples).iter().filter(|found| found.is_none()).count();
    }
    Some(right as f64 / data.len() as f64)
}
