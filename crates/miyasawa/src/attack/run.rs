//! Runs an attack on a data set, for several sizes.

use super::{
    Journal, JournalError, Method, Norm, Pgd,
    examples::{Examples, misclassified},
    journal::Line,
    loss::Loss,
    stage::{AttackStage, Settings},
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

/// Version of the attacks' results: 2 since Square's schedule is that of the standard version.
pub const VERSION: u32 = 2;

/// The stage of the clean images in the journal.
const CLEAN: &str = "clean";

/// The order in which the sizes of an attack are run, and which results carry over to the next
/// size.
///
/// The balls are nested: an adversarial image within a smaller change is within a larger one too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SizeOrder {
    /// An image misclassified after a smaller change counts as misclassified for a larger one.
    /// Every size is attacked with all stages: the robust images, which cost most, go through all
    /// stages each time.
    #[default]
    SmallestFirst,
    /// An image that is robust to a larger change counts as robust to a smaller one once the first
    /// stage has found nothing there either: each image goes through all stages about once. If the
    /// first stage succeeds on one, it counts as misclassified for the larger change too, with a
    /// warning.
    LargestFirst,
}

/// The settings of an attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// How changes are measured.
    pub norm: Norm,
    /// The attack or sequence of attacks.
    pub method: Method,
    /// Largest changes, in units of the [0, 1] range; 0 is no attack.
    pub eps: Vec<f64>,
    /// The order of the sizes.
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
        Self {
            norm,
            method,
            eps,
            order,
            steps: 100,
            restarts: 1,
            queries: 5000,
            batch: 64,
            seed: 0,
        }
    }

    /// The header of this attack's journal: `subject` (a model, images, a defence) and every
    /// setting that an image's result depends on, with the attacks' [`VERSION`], but without the
    /// sizes, their order and the batch size.
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
    /// Share of all images that are classified correctly and stay so under attack.
    pub robust_accuracy: f64,
    /// Its 95% interval ([`wilson`]); none in documents of earlier versions.
    #[serde(default)]
    pub robust_interval: Option<[f64; 2]>,
    /// For each attack the number of images that it newly made misclassified, of those that this
    /// size was tried on (see [`SizeOrder`]).
    #[serde(rename = "broken_by")]
    pub misclassified_by: BTreeMap<String, usize>,
}

/// The result of an attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackReport {
    /// Number of images.
    pub count: usize,
    /// Share of the images that are classified correctly without an attack.
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

/// As [`unit_values`], with noise of level `sigma` (in units of the [-1, 1] range) added, not
/// clipped: the same noise as [`eval::noisy_batch`](crate::eval::noisy_batch) adds for this seed,
/// level and index.
pub fn noisy_unit_values(
    data: &Dataset,
    indices: &[usize],
    sigma: f64,
    [seed, level]: [u64; 2],
) -> Vec<f32> {
    let (mut values, len) = (unit_values(data, indices), data.image_len());
    values.par_chunks_mut(len).zip(indices).for_each(|(values, index)| {
        let noise = evaluation_noise(seed, level, *index, 1, len);
        // The range [0, 1] is half as wide.
        values
            .iter_mut()
            .zip(noise)
            .for_each(|(value, noise)| *value += 0.5 * sigma as f32 * noise);
    });
    values
}

/// The digest of an image and its class: the first 8 bytes of their SHA-256 hash.
fn digest(data: &Dataset, i: usize) -> String {
    let mut hash = Sha256::new();
    hash.update(data.labels()[i].to_le_bytes());
    hash.update(data.image(i));
    hex(hash, 8)
}

/// Which images are classified correctly before any attack, and warnings of masked gradients.
struct Clean {
    correct: Vec<bool>,
    warnings: Vec<String>,
}

fn clean(
    classifier: &dyn Classifier,
    data: &Dataset,
    plan: &Plan,
    journal: &mut Journal,
) -> Result<Clean, JournalError> {
    let (mut correct, mut random, mut zero, mut infinite) = (Vec::new(), false, 0usize, 0usize);
    let all: Vec<usize> = (0..data.len()).collect();
    for (number, indices) in all.chunks(plan.batch.max(1)).enumerate() {
        let started = Instant::now();
        let x = unit_values(data, indices);
        let label = |i: usize| data.labels()[indices[i]] as usize;
        let logits = classifier.logits(&x);
        // Two forward passes of the first batch detect a random defence, which must be attacked
        // through its mean.
        if number == 0 {
            random =
                classifier.logits(&x).iter().zip(&logits).any(|(a, b)| a.to_bits() != b.to_bits());
        }
        let (_, gradient) =
            classifier.gradient(&x, &|i, z| Loss::CrossEntropy.grad_logits(z, label(i)));
        let seconds = started.elapsed().as_secs_f64() / indices.len() as f64;
        let mut lines = Vec::new();
        let found = logits.chunks(classifier.classes()).zip(gradient.chunks(classifier.len()));
        for (i, (z, g)) in found.enumerate() {
            zero += usize::from(g.iter().all(|g| *g == 0.0));
            infinite += usize::from(z.iter().chain(g).any(|v| !v.is_finite()));
            let ok = !misclassified(z, label(i));
            correct.push(ok);
            lines.push(Line {
                eps: 0.0,
                stage: CLEAN.to_owned(),
                image: data.source_index(indices[i]),
                misclassified: !ok,
                seconds,
                digest: Some(digest(data, indices[i])),
            });
        }
        journal.add(lines)?;
    }
    let mut warnings = Vec::new();
    if random {
        warnings.push(
            "the defence is random: two forward passes of an image differ; attack its average \
             over the randomness"
                .to_owned(),
        );
    }
    if infinite > 0 {
        warnings.push(format!(
            "logits or gradient are not finite at {infinite} of {} clean images: attacks with \
             gradients find nothing there",
            data.len()
        ));
    }
    // With one class there is nothing to attack, and the gradient is zero by definition.
    if zero > 0 && classifier.classes() > 1 {
        warnings.push(format!(
            "the gradient is zero at {zero} of {} clean images: attacks with gradients find \
             nothing there",
            data.len()
        ));
    }
    Ok(Clean { correct, warnings })
}

/// The state of one attack on one data set.
struct AttackRun<'a> {
    classifier: &'a dyn Classifier,
    data: &'a Dataset,
    plan: &'a Plan,
    stages: Vec<AttackStage>,
    journal: &'a mut Journal,
    monitor: &'a mut dyn Monitor,
    /// Share of the sizes that are done.
    done: f64,
    /// Number of the sizes.
    sizes: usize,
}

impl AttackRun<'_> {
    /// Attacks the images `remaining` with stage `number`; returns those that stay correct, in
    /// order.
    fn stage(
        &mut self,
        eps: f64,
        number: usize,
        remaining: &[usize],
    ) -> Result<Vec<usize>, JournalError> {
        let Self { classifier, data, plan, .. } = *self;
        let (stage, batch) = (self.stages[number], plan.batch.max(1));
        let settings = Settings {
            norm: plan.norm,
            eps,
            steps: plan.steps,
            queries: plan.queries,
            seed: plan.seed,
        };
        let name = stage.name();
        let mut open: Vec<usize> = Vec::new();
        let mut survivors: Vec<usize> = Vec::new();
        for &i in remaining {
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
            let share = (number as f64 + within) / self.stages.len() as f64;
            let share_left = (survivors.len() + open.len() - b * batch) as f64 / data.len() as f64;
            self.monitor.progress(&Progress {
                task: stage.attack(),
                share: self.done + share / self.sizes as f64,
                values: &[("eps", eps), ("remaining", share_left)],
            });
            let started = Instant::now();
            let x = unit_values(data, indices);
            let labels: Vec<u32> = indices.iter().map(|i| data.labels()[*i]).collect();
            let source: Vec<u64> = indices.iter().map(|i| data.source_index(*i) as u64).collect();
            let examples = Examples { images: &x, labels: &labels, indices: &source };
            let succeeded: Vec<bool> =
                stage.run(classifier, &examples, &settings).iter().map(Option::is_some).collect();
            let seconds = started.elapsed().as_secs_f64() / indices.len() as f64;
            let line = |(i, succeeded): (&usize, &bool)| Line {
                eps,
                stage: name.clone(),
                image: data.source_index(*i),
                misclassified: *succeeded,
                seconds,
                digest: None,
            };
            self.journal.add(indices.iter().zip(&succeeded).map(line).collect())?;
            survivors.extend(
                indices.iter().zip(&succeeded).filter(|(_, found)| !**found).map(|(i, _)| *i),
            );
        }
        survivors.sort_unstable();
        Ok(survivors)
    }

    /// Attacks the images `remaining` with all stages; counts in `misclassified_by` the successes
    /// of each attack, and returns the images that stay correct.
    fn all_stages(
        &mut self,
        eps: f64,
        mut remaining: Vec<usize>,
        misclassified_by: &mut BTreeMap<String, usize>,
    ) -> Result<Vec<usize>, JournalError> {
        for number in 0..self.stages.len() {
            let survivors = self.stage(eps, number, &remaining)?;
            *misclassified_by.entry(self.stages[number].attack().to_owned()).or_insert(0) +=
                remaining.len() - survivors.len();
            remaining = survivors;
        }
        Ok(remaining)
    }
}

/// Attacks a data set with every size, in the order of the plan. An image is named in the journal, and draws its random
/// numbers, by its [index](Dataset::source_index) in the set that `data` was taken from.
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
    let Clean { correct, mut warnings } = clean(classifier, data, plan, journal)?;
    let correct: Vec<usize> = (0..data.len()).filter(|i| correct[*i]).collect();
    let mut sizes = plan.eps.clone();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let largest_first = plan.order == SizeOrder::LargestFirst;
    if largest_first {
        sizes.reverse();
    }
    let stages = AttackStage::for_method(plan.method, classifier.classes(), plan.restarts.max(1));
    let mut run = AttackRun {
        classifier,
        data,
        plan,
        stages,
        journal,
        monitor,
        done: 0.0,
        sizes: sizes.len(),
    };
    // The smallest size that breaks an image, of those tried; what robust a larger one (largest first only).
    let mut smallest = vec![f64::INFINITY; data.len()];
    let mut robust: Vec<usize> = Vec::new();
    let mut counts = Vec::new();
    for (k, &eps) in sizes.iter().enumerate() {
        run.done = k as f64 / sizes.len() as f64;
        let mut by = BTreeMap::new();
        // With one class or without a change there is nothing to attack.
        if eps > 0.0 && classifier.classes() > 1 {
            let open = |i: &usize| {
                robust.binary_search(i).is_err() && (largest_first || smallest[*i] == f64::INFINITY)
            };
            let open: Vec<usize> = correct.iter().copied().filter(open).collect();
            let mut survivors = run.stage(eps, 0, &robust)?;
            let late = robust.len() - survivors.len();
            if late > 0 {
                by.insert(run.stages[0].attack().to_owned(), late);
                warnings.push(format!(
                    "eps {eps}: {late} images are robust to a larger change but not to this one: \
                     the attack with the larger change was too weak"
                ));
            }
            survivors.extend(run.all_stages(eps, open.clone(), &mut by)?);
            survivors.sort_unstable();
            for i in open.into_iter().chain(robust.drain(..)) {
                if survivors.binary_search(&i).is_err() {
                    smallest[i] = smallest[i].min(eps);
                }
            }
            if largest_first {
                robust = survivors;
            }
        }
        warnings.extend(masking(plan.method, eps, &by));
        counts.push(by);
    }
    let share = |eps: f64| {
        correct.iter().filter(|i| smallest[**i] > eps).count() as f64 / data.len() as f64
    };
    let interval = |share: f64| Some(wilson(share, data.len()));
    let row = |(&eps, misclassified_by)| {
        let robust_accuracy = share(eps);
        AttackRow {
            eps,
            robust_accuracy,
            robust_interval: interval(robust_accuracy),
            misclassified_by,
        }
    };
    let mut rows: Vec<AttackRow> = sizes.iter().zip(counts).map(row).collect();
    rows.sort_by(|a, b| a.eps.total_cmp(&b.eps));
    let clean_accuracy = correct.len() as f64 / data.len() as f64;
    let clean_interval = interval(clean_accuracy);
    Ok(AttackReport { count: data.len(), clean_accuracy, clean_interval, rows, warnings })
}

/// A warning if a weaker attack succeeds where a stronger one failed (Athalye et al. 2018,
/// "Obfuscated gradients give a false sense of security", section 3.1).
fn masking(method: Method, eps: f64, misclassified_by: &BTreeMap<String, usize>) -> Option<String> {
    let (weak, strong, why) = match method {
        Method::Fgsm => return None,
        Method::Pgd => ("fgsm", "PGD", "one gradient step did better than many"),
        Method::AutoAttack => {
            ("square", "the attacks with gradients", "random search did better than gradients")
        }
    };
    let count = *misclassified_by.get(weak)?;
    (count > 0).then(|| {
        format!("eps {eps}: {count} images are robust to {strong} but not to {weak}: {why}")
    })
}

/// Share of the images that are classified correctly and stay so under projected gradient descent;
/// with `eps` 0 the clean accuracy.
pub fn robust_accuracy(
    classifier: &dyn Classifier,
    data: &Dataset,
    attack: &Pgd,
    batch: usize,
) -> f64 {
    robust_accuracy_while(classifier, data, attack, batch, &mut ()).unwrap_or_default()
}

/// As [`robust_accuracy`], and nothing if the monitor, attacked before every batch, stops it.
pub fn robust_accuracy_while(
    classifier: &dyn Classifier,
    data: &Dataset,
    attack: &Pgd,
    batch: usize,
    monitor: &mut dyn Monitor,
) -> Option<f64> {
    let mut correct = 0;
    let all: Vec<usize> = (0..data.len()).collect();
    for indices in all.chunks(batch.max(1)) {
        if monitor.stop() {
            return None;
        }
        let classes = classifier.predict(&unit_values(data, indices));
        let remaining: Vec<usize> = indices
            .iter()
            .zip(classes)
            .filter(|(i, class)| data.labels()[**i] as usize == *class)
            .map(|(i, _)| *i)
            .collect();
        if attack.eps <= 0.0 || remaining.is_empty() || classifier.classes() < 2 {
            correct += remaining.len();
            continue;
        }
        let x = unit_values(data, &remaining);
        let labels: Vec<u32> = remaining.iter().map(|i| data.labels()[*i]).collect();
        let source: Vec<u64> = remaining.iter().map(|i| data.source_index(*i) as u64).collect();
        let examples = Examples { images: &x, labels: &labels, indices: &source };
        correct +=
            attack.attack(classifier, &examples).iter().filter(|found| found.is_none()).count();
    }
    Some(correct as f64 / data.len() as f64)
}
