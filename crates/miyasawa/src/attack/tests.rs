//! The attacks on classifiers whose robustness is known in closed form.

use super::{
    stage::{AttackStage, Settings},
    *,
};
use crate::classifier::{Classifier, LogitGrad};
use crate::data::{Dataset, Geometry};
use crate::progress::{Progress, monitor};
use crate::random::example_rng;
use rand::RngExt;

/// `f_c(x) = <w_c, x> + b_c`: the distance to the boundary is `(f_y - f_c)/|w_y - w_c|_dual`, if
/// the nearest point of the boundary lies inside the range.
struct Linear {
    shape: [usize; 3],
    weights: Vec<Vec<f32>>,
    bias: Vec<f32>,
}

impl Linear {
    fn new(shape: [usize; 3], classes: usize, seed: u64) -> Self {
        let mut rng = example_rng(seed, 0, 0, 99);
        let len = shape.iter().product::<usize>();
        let mut row = || -> Vec<f32> { (0..len).map(|_| rng.random::<f32>() - 0.5).collect() };
        let weights: Vec<Vec<f32>> = (0..classes).map(|_| row()).collect();
        // Grey is undecided.
        let bias = weights.iter().map(|w| -0.5 * w.iter().sum::<f32>()).collect();
        Self { shape, weights, bias }
    }

    fn distance(&self, x: &[f32], label: usize, norm: Norm) -> f64 {
        let z = self.logits(x);
        let to = |c: usize| {
            let difference: Vec<f32> =
                self.weights[label].iter().zip(&self.weights[c]).map(|(a, b)| a - b).collect();
            let dual = match norm {
                Norm::L2 => Norm::L2.length(&difference),
                Norm::Linf => difference.iter().map(|d| f64::from(d.abs())).sum(),
            };
            f64::from(z[label] - z[c]) / dual
        };
        (0..z.len()).filter(|c| *c != label).map(to).fold(f64::INFINITY, f64::min)
    }
}

impl Classifier for Linear {
    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn classes(&self) -> usize {
        self.bias.len()
    }

    fn logits(&self, images: &[f32]) -> Vec<f32> {
        let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(x, w)| x * w).sum::<f32>();
        let row = |x: &[f32]| -> Vec<f32> {
            self.weights.iter().zip(&self.bias).map(|(w, b)| dot(x, w) + b).collect()
        };
        images.chunks(self.len()).flat_map(row).collect()
    }

    fn gradient(&self, images: &[f32], logit_grad: &LogitGrad<'_>) -> (Vec<f32>, Vec<f32>) {
        let logits = self.logits(images);
        let pulled = logits.chunks(self.classes()).enumerate().flat_map(|(i, z)| {
            let v = logit_grad(i, z);
            let at = |k: usize| self.weights.iter().zip(&v).map(|(w, v)| w[k] * v).sum::<f32>();
            (0..self.len()).map(at).collect::<Vec<_>>()
        });
        let gradient = pulled.collect();
        (logits, gradient)
    }
}

const SHAPE: [usize; 3] = [1, 6, 6];

/// Grey images with a little noise, each labelled as the classifier says.
fn easy(classifier: &dyn Classifier, count: usize) -> Dataset {
    let mut rng = example_rng(7, 0, 0, 98);
    let pixels: Vec<u8> =
        (0..count * classifier.len()).map(|_| rng.random_range(90..166)).collect();
    let geometry = Geometry::from(classifier.shape());
    let names: Vec<String> = (0..classifier.classes()).map(|c| c.to_string()).collect();
    let unlabelled =
        Dataset::new("easy", geometry, names.clone(), pixels.clone(), vec![0; count]).unwrap();
    let all: Vec<usize> = (0..count).collect();
    let labels =
        classifier.predict(&unit_values(&unlabelled, &all)).into_iter().map(|c| c as u32).collect();
    Dataset::new("easy", geometry, names, pixels, labels).unwrap()
}

fn plan(norm: Norm, method: Method, eps: Vec<f64>) -> Plan {
    Plan {
        norm,
        method,
        eps,
        order: SizeOrder::SmallestFirst,
        steps: 50,
        restarts: 1,
        queries: 600,
        batch: 7,
        seed: 0,
    }
}

fn attack(classifier: &dyn Classifier, data: &Dataset, plan: &Plan) -> AttackReport {
    run(classifier, data, plan, &mut Journal::in_memory(), &mut ()).unwrap()
}

/// Each stage finds no adversarial image just inside the exact radius, and one just outside it.
#[test]
fn every_attack_finds_the_boundary_of_a_linear_classifier() {
    for classes in [2usize, 3, 5] {
        let classifier = Linear::new(SHAPE, classes, classes as u64);
        let data = easy(&classifier, 6);
        let stages = AttackStage::for_method(Method::AutoAttack, classes, 1);
        for norm in [Norm::L2, Norm::Linf] {
            for i in 0..data.len() {
                let x = unit_values(&data, &[i]);
                let label = data.labels()[i] as usize;
                let radius = classifier.distance(&x, label, norm);
                let examples =
                    Examples { images: &x, labels: &data.labels()[i..=i], indices: &[i as u64] };
                let succeeds = |stage: AttackStage, share: f64, queries: usize| {
                    let s = Settings { norm, eps: share * radius, steps: 60, queries, seed: 0 };
                    let found = stage.run(&classifier, &examples, &s).remove(0);
                    if let Some(x_adv) = &found {
                        assert!(
                            norm.distance(x_adv, &x) <= s.eps + 1e-6,
                            "{stage:?} leaves the ball"
                        );
                        assert!(
                            x_adv.iter().all(|v| (0.0..=1.0).contains(v)),
                            "{stage:?} leaves the range"
                        );
                        assert_ne!(classifier.predict(x_adv)[0], label, "{stage:?} found nothing");
                    }
                    found.is_some()
                };
                let all = |share: f64| {
                    stages
                        .iter()
                        .filter(|s| **s != AttackStage::Square)
                        .any(|s| succeeds(*s, share, 0))
                };
                assert!(!all(0.98), "{classes} classes, {norm}: misclassified inside the radius");
                // The cross-entropy of several classes leads between them, not to the nearest.
                let share = if classes == 2 { 1.03 } else { 2.0 };
                for stage in [AttackStage::Pgd { restart: 0 }, AttackStage::ApgdCe { restart: 0 }] {
                    assert!(
                        succeeds(stage, share, 0),
                        "{classes} classes, {norm}: {stage:?} misses at {share}"
                    );
                }
                for of in ["apgd-t", "fab-t"] {
                    let some =
                        stages.iter().filter(|s| s.attack() == of).any(|s| succeeds(*s, 1.03, 0));
                    assert!(some, "{classes} classes, {norm}: {of} misses at 1.03");
                }
                assert!(
                    !succeeds(AttackStage::Square, 0.98, 600)
                        && succeeds(AttackStage::Square, 2.5, 3000),
                    "{norm}: square"
                );
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_the_batch_and_fall_with_eps() {
    let classifier = Linear::new(SHAPE, 4, 2);
    let data = easy(&classifier, 20);
    let plan = plan(Norm::L2, Method::AutoAttack, vec![0.3, 0.0, 0.05, 0.1, 0.05]);
    let found = attack(&classifier, &data, &plan);
    assert_eq!(found.clean_accuracy, 1.0);
    let eps: Vec<f64> = found.rows.iter().map(|r| r.eps).collect();
    assert_eq!(eps, [0.0, 0.05, 0.1, 0.3]);
    assert_eq!(found.rows[0].robust_accuracy, 1.0);
    assert!(found.rows.windows(2).all(|w| w[0].robust_accuracy >= w[1].robust_accuracy));
    // The exact robust accuracy.
    for row in &found.rows[1..] {
        let robust = |i: usize| {
            classifier.distance(&unit_values(&data, &[i]), data.labels()[i] as usize, Norm::L2)
                > row.eps
        };
        let exact = (0..20).filter(|i| robust(*i)).count() as f64 / 20.0;
        assert_eq!(row.robust_accuracy, exact, "eps {}", row.eps);
    }
    assert!(found.rows[2].robust_accuracy < 1.0 && found.warnings.is_empty(), "{found:?}");
    for batch in [1, 20] {
        assert_eq!(attack(&classifier, &data, &Plan { batch, ..plan.clone() }), found);
    }
    // From the largest size down: the same answer, and the stages that cost most run once for an
    // image.
    let mut attacked = 0.0;
    let plan = Plan { order: SizeOrder::LargestFirst, batch: 20, ..plan };
    let remaining = |p: &Progress<'_>| p.value("remaining").unwrap();
    let seen = |p: &Progress<'_>| attacked += if p.task == "square" { remaining(p) } else { 0.0 };
    let down = run(&classifier, &data, &plan, &mut Journal::in_memory(), &mut { seen }).unwrap();
    let accuracy =
        |o: &AttackReport| o.rows.iter().map(|r| (r.eps, r.robust_accuracy)).collect::<Vec<_>>();
    assert_eq!(accuracy(&down), accuracy(&found));
    assert!(down.warnings.is_empty(), "{down:?}");
    assert!((attacked - found.rows[1].robust_accuracy).abs() < 1e-9, "{attacked}");
}

/// A journal of some images and sizes can be resumed with more, and every result stays the same.
#[test]
fn a_journal_grows_with_the_images_and_the_sizes() {
    let classifier = Linear::new(SHAPE, 4, 2);
    let data = easy(&classifier, 20);
    let few = data.subset(10).unwrap();
    let small = plan(Norm::L2, Method::AutoAttack, vec![0.05]);
    let large = Plan { eps: vec![0.02, 0.05, 0.1], ..small.clone() };
    let expected = attack(&classifier, &data, &large);
    let mut journal = Journal::in_memory();
    run(&classifier, &few, &small, &mut journal, &mut ()).unwrap();
    let mut attacked = 0.0;
    let seen = |p: &Progress<'_>| {
        if p.value("eps") == Some(0.05) && p.task == "apgd-ce" {
            attacked = p.value("remaining").unwrap()
        }
    };
    assert_eq!(run(&classifier, &data, &large, &mut journal, &mut { seen }).unwrap(), expected);
    let stopped =
        run(&classifier, &few, &small, &mut Journal::in_memory(), &mut monitor(|_| {}, || true));
    assert!(matches!(stopped, Err(JournalError::Stopped)));
    assert!(
        attacked > 0.0
            && small.header(&serde_json::json!(0)) == large.header(&serde_json::json!(0))
    );
}

/// Classifies changes larger than `size` like the clean image: robust to large changes only, which
/// in a real measurement is a sign of a weak attack.
struct RobustToLarge {
    inner: Linear,
    clean: Vec<f32>,
    size: f64,
}

impl Classifier for RobustToLarge {
    fn shape(&self) -> [usize; 3] {
        self.inner.shape()
    }

    fn classes(&self) -> usize {
        self.inner.classes()
    }

    fn logits(&self, images: &[f32]) -> Vec<f32> {
        let near = |x: &[f32]| Norm::L2.distance(x, &self.clean) <= self.size;
        let answer = |x: &[f32]| self.inner.logits(if near(x) { x } else { &self.clean });
        images.chunks(self.len()).flat_map(answer).collect()
    }

    fn gradient(&self, images: &[f32], logit_grad: &LogitGrad<'_>) -> (Vec<f32>, Vec<f32>) {
        (self.logits(images), self.inner.gradient(images, logit_grad).1)
    }
}

#[test]
fn a_larger_attack_that_misses_what_a_smaller_one_finds_gives_a_warning() {
    let inner = Linear::new(SHAPE, 2, 3);
    let data = easy(&inner, 1);
    let clean = unit_values(&data, &[0]);
    let radius = inner.distance(&clean, data.labels()[0] as usize, Norm::L2);
    let classifier = RobustToLarge { inner, clean, size: 1.5 * radius };
    // One step from a random start: the larger one jumps over the region where the class changes.
    let eps = vec![1.2 * radius, 40.0 * radius];
    let plan = Plan { order: SizeOrder::LargestFirst, ..plan(Norm::L2, Method::Pgd, eps) };
    let found = attack(&classifier, &data, &plan);
    assert_eq!(
        found.rows.iter().map(|r| r.robust_accuracy).collect::<Vec<_>>(),
        [0.0, 0.0],
        "{found:?}"
    );
    assert!(found.warnings.iter().any(|w| w.contains("robust to a larger change")), "{found:?}");
    assert_eq!(found.rows[0].misclassified_by["pgd"], 1, "{found:?}");
}

#[test]
fn a_journal_can_be_resumed_and_belongs_to_one_attack() {
    let classifier = Linear::new(SHAPE, 3, 1);
    let data = easy(&classifier, 9);
    // 12/255 has seventeen digits, which not every JSON parser keeps.
    let plan = plan(Norm::Linf, Method::Pgd, vec![0.02, 12.0 / 255.0, 0.1]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("attack.jsonl");
    let header = serde_json::json!({ "norm": "linf" });
    let mut journal = Journal::create(&path, &header).unwrap();
    let expected = run(&classifier, &data, &plan, &mut journal, &mut ()).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    // Cut in the middle of a line.
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    let mut half = Journal::resume(&path, &header).unwrap();
    assert!(!half.is_empty() && half.len() < journal.len());
    assert_eq!(run(&classifier, &data, &plan, &mut half, &mut ()).unwrap(), expected);
    // Nothing is left to do.
    let mut done = Journal::resume(&path, &header).unwrap();
    let mut attacked = 0;
    run(&classifier, &data, &plan, &mut done, &mut |_: &Progress<'_>| attacked += 1).unwrap();
    assert_eq!(attacked, 0);
    assert!(done.seconds() > 0.0 && (done.seconds() - half.seconds()).abs() < 1e-9);
    let error =
        Journal::resume(&path, &serde_json::json!({ "norm": "l2" })).unwrap_err().to_string();
    assert!(error.contains("attack.jsonl") && error.contains("expected"), "{error}");
    // Other images under the same name.
    let others = easy(&Linear::new(SHAPE, 3, 4), 9);
    let error = run(&classifier, &others, &plan, &mut done, &mut ()).unwrap_err().to_string();
    assert!(
        error.contains("attack.jsonl") && error.contains("is the journal of other data: image"),
        "{error}"
    );
    // Cut in the middle of the first line.
    std::fs::write(&path, &text[..5]).unwrap();
    assert!(Journal::resume(&path, &header).unwrap().is_empty());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{header}\n"));
    std::fs::write(&path, "{\"nobody").unwrap();
    assert!(Journal::resume(&path, &header).is_err());
}

/// A classifier whose gradient is a constant.
struct Masked(Linear, f32);

impl Classifier for Masked {
    fn shape(&self) -> [usize; 3] {
        self.0.shape()
    }

    fn classes(&self) -> usize {
        self.0.classes()
    }

    fn logits(&self, images: &[f32]) -> Vec<f32> {
        self.0.logits(images)
    }

    fn gradient(&self, images: &[f32], _: &LogitGrad<'_>) -> (Vec<f32>, Vec<f32>) {
        (self.0.logits(images), vec![self.1; images.len()])
    }
}

#[test]
fn masked_gradients_give_a_warning() {
    let classifier = Masked(Linear::new(SHAPE, 3, 1), 0.0);
    let data = easy(&classifier, 6);
    let radius = |i: usize| {
        classifier.0.distance(&unit_values(&data, &[i]), data.labels()[i] as usize, Norm::Linf)
    };
    let eps = 1.5 * (0..data.len()).map(radius).fold(0.0, f64::max);
    let plan = Plan { queries: 3000, ..plan(Norm::Linf, Method::AutoAttack, vec![eps]) };
    let found = attack(&classifier, &data, &plan);
    assert!(found.warnings.iter().any(|w| w.contains("zero at 6 of 6")), "{found:?}");
    assert!(found.warnings.iter().any(|w| w.contains("square")), "{found:?}");
    // A NaN gradient finds nothing either, and no image with NaN counts as adversarial.
    let classifier = Masked(classifier.0, f32::NAN);
    let found = attack(&classifier, &data, &Plan { method: Method::Fgsm, ..plan });
    assert_eq!((found.clean_accuracy, found.rows[0].robust_accuracy), (1.0, 1.0), "{found:?}");
    assert!(found.warnings.iter().any(|w| w.contains("not finite at 6 of 6")), "{found:?}");
}

#[test]
fn extreme_sizes_and_classifiers_give_correct_results() {
    let classifier = Linear::new(SHAPE, 3, 1);
    let data = easy(&classifier, 5);
    // A ball larger than the range: every image can become every other.
    let found = attack(&classifier, &data, &plan(Norm::Linf, Method::AutoAttack, vec![7.0]));
    assert_eq!(found.rows[0].robust_accuracy, 0.0);
    // Misclassified images stay misclassified.
    let labels = data.labels().iter().map(|l| (l + 1) % 3).collect();
    let wrong = Dataset::new(
        "wrong",
        Geometry::new(1, 6, 6),
        data.classes().to_vec(),
        data.pixels().to_vec(),
        labels,
    )
    .unwrap();
    let found = attack(&classifier, &wrong, &plan(Norm::L2, Method::Pgd, vec![0.1]));
    assert_eq!((found.clean_accuracy, found.rows[0].robust_accuracy), (0.0, 0.0));
    // With one class every image is correct.
    let one = Linear::new(SHAPE, 1, 1);
    let data = easy(&one, 3);
    let found = attack(&one, &data, &plan(Norm::L2, Method::AutoAttack, vec![9.0]));
    assert_eq!((found.rows[0].robust_accuracy, found.warnings.len()), (1.0, 0));
    let pgd = Pgd::new(Norm::L2, 9.0, 5, 0);
    assert_eq!(robust_accuracy(&one, &data, &pgd, 2), 1.0);
}
