//! Runs an attack on a data set, for several sizes.

use super::{
    Journal, JournalError, Method, Plan,
    examples::{Examples, misclassified},
    journal::Line,
    loss::Loss,
    plan::{AttackReport, AttackRow, SizeOrder},
    robust_accuracy::unit_values,
    stage::{AttackStage, Settings},
};
use crate::classifier::{Classifier, LogitGrad};
use crate::data::Dataset;
use crate::digest::hex;
use crate::metrics::wilson;
use crate::progress::{Monitor, Progress};
use sha2::{Digest, Sha256};
use std::{cell::Cell, collections::BTreeMap, time::Instant};

/// The stage of the clean images in the journal.
const CLEAN: &str = "clean";

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

/// A classifier that answers at once, and anything, when the work is to end: a batch of an attack
/// may ask it thousands of times before the next look at the monitor. What is found then counts for
/// nothing.
struct Stoppable<'a> {
    classifier: &'a dyn Classifier,
    monitor: &'a dyn Monitor,
    /// Whether it answered so.
    ended: Cell<bool>,
}

impl Stoppable<'_> {
    fn ends(&self) -> bool {
        self.ended.set(self.ended.get() || self.monitor.stop());
        self.ended.get()
    }

    fn anything(&self, images: &[f32]) -> Vec<f32> {
        let images = images.len() / self.len();
        (0..images).flat_map(|_| (0..self.classes()).map(|class| class as f32)).collect()
    }
}

impl Classifier for Stoppable<'_> {
    fn shape(&self) -> [usize; 3] {
        self.classifier.shape()
    }

    fn classes(&self) -> usize {
        self.classifier.classes()
    }

    fn logits(&self, images: &[f32]) -> Vec<f32> {
        if self.ends() { self.anything(images) } else { self.classifier.logits(images) }
    }

    fn gradient(&self, images: &[f32], logit_grad: &LogitGrad<'_>) -> (Vec<f32>, Vec<f32>) {
        if self.ends() {
            return (self.anything(images), vec![1.0; images.len()]);
        }
        self.classifier.gradient(images, logit_grad)
    }
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
            let watched = Stoppable { classifier, monitor: &*self.monitor, ended: false.into() };
            let succeeded: Vec<bool> =
                stage.run(&watched, &examples, &settings).iter().map(Option::is_some).collect();
            if watched.ended.get() {
                return Err(JournalError::Stopped);
            }
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

/// Attacks a data set with every size, in the order of the plan. An image is named in the journal,
/// and draws its random numbers, by its [index](Dataset::source_index) in the set that `data` was
/// taken from. The monitor gets an attack's name as the task, with the values `eps` (the size that
/// is worked on) and `remaining` (the share of all images that are still classified correctly).
///
/// # Errors
/// If the journal cannot be written, or is of other images; [`JournalError::Stopped`] if the
/// monitor stops it.
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
    // The smallest size at which each image is misclassified, of those tried; and the images that
    // were robust to a larger size (largest first only).
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::Norm;
    use crate::progress::monitor;

    /// Two classes by the sum of the values, and how often they were asked for.
    struct Counted(Cell<usize>);

    impl Classifier for Counted {
        fn shape(&self) -> [usize; 3] {
            [1, 4, 4]
        }

        fn classes(&self) -> usize {
            2
        }

        fn logits(&self, images: &[f32]) -> Vec<f32> {
            self.0.set(self.0.get() + 1);
            images.chunks(16).flat_map(|x| [x.iter().sum(), 8.0]).collect()
        }

        fn gradient(&self, images: &[f32], logit_grad: &LogitGrad<'_>) -> (Vec<f32>, Vec<f32>) {
            let logits = self.logits(images);
            let weights = logits.chunks(2).enumerate().map(|(i, z)| logit_grad(i, z)[0]);
            let gradient = weights.flat_map(|weight| [weight; 16]).collect();
            (logits, gradient)
        }
    }

    /// Every attack ends within the calls that it has begun, although its steps are many.
    #[test]
    fn a_batch_ends_when_the_monitor_stops_it() {
        let images = vec![0.9; 3 * 16];
        let examples = Examples { images: &images, labels: &[0; 3], indices: &[0, 1, 2] };
        let settings = Settings { norm: Norm::L2, eps: 0.1, steps: 500, queries: 500, seed: 0 };
        let methods = [Method::Fgsm, Method::Pgd, Method::AutoAttack];
        for stage in methods.into_iter().flat_map(|m| AttackStage::for_method(m, 2, 1)) {
            let classifier = Counted(Cell::new(0));
            let monitor = monitor(|_| {}, || classifier.0.get() >= 2);
            let watched =
                Stoppable { classifier: &classifier, monitor: &monitor, ended: false.into() };
            stage.run(&watched, &examples, &settings);
            assert!(classifier.0.get() <= 2, "{stage:?} asked {} times", classifier.0.get());
            assert!(watched.ended.get() || stage == AttackStage::Fgsm, "{stage:?}");
        }
    }
}
