//! Attacks on a classifier of your own: FGSM, PGD and AutoAttack, for any type with logits and a
//! gradient.
//!
//! ```sh
//! cargo run --release -p miyasawa --example attack_a_model -- 100   # images
//! ```

use miyasawa::attack::{Journal, Method, Norm, Pgd, Plan, robust_accuracy, run, unit_values};
use miyasawa::classifier::{Classifier, LogitGrad};
use miyasawa::data::{DataSource, OpenOptions};

/// The class whose mean image is nearest: `f_c(x) = 2 m_c.x - |m_c|^2`. A linear classifier, so its
/// gradient is exact.
struct NearestMean {
    means: Vec<Vec<f32>>,
    shape: [usize; 3],
}

impl Classifier for NearestMean {
    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn classes(&self) -> usize {
        self.means.len()
    }

    fn logits(&self, images: &[f32]) -> Vec<f32> {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let logit = |x: &[f32], m: &Vec<f32>| 2.0 * dot(m, x) - dot(m, m);
        images
            .chunks(self.len())
            .flat_map(|x| self.means.iter().map(move |m| logit(x, m)))
            .collect()
    }

    fn gradient(&self, images: &[f32], logit_grad: &LogitGrad<'_>) -> (Vec<f32>, Vec<f32>) {
        let logits = self.logits(images);
        let mut gradient = vec![0.0; images.len()];
        for (i, (z, g)) in
            logits.chunks(self.classes()).zip(gradient.chunks_mut(self.len())).enumerate()
        {
            for (derivative, mean) in logit_grad(i, z).iter().zip(&self.means) {
                g.iter_mut().zip(mean).for_each(|(g, m)| *g += 2.0 * derivative * m);
            }
        }
        (logits, gradient)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let images = std::env::args().nth(1).map_or(Ok(100), |count| count.parse())?;
    let both = DataSource::Digits.open_both(&OpenOptions::default())?;
    let (train, test) = (both.train.into_dataset()?, both.test.into_dataset()?.subset(images)?);
    let mean = |class: usize| {
        let members: Vec<usize> =
            (0..train.len()).filter(|i| train.labels()[*i] as usize == class).collect();
        let (values, len) = (unit_values(&train, &members), train.image_len());
        (0..len)
            .map(|k| values.iter().skip(k).step_by(len).sum::<f32>() / members.len() as f32)
            .collect()
    };
    let shape = [train.channels(), train.height(), train.width()];
    let model = NearestMean { means: (0..train.classes().len()).map(mean).collect(), shape };

    // Sizes of attacks are in units of the [0, 1] range.
    println!(
        "clean: {:.2}",
        robust_accuracy(&model, &test, &Pgd::fast_gradient(Norm::Linf, 0.0), 64)
    );
    for eps in [0.05, 0.1] {
        let fgsm = robust_accuracy(&model, &test, &Pgd::fast_gradient(Norm::Linf, eps), 64);
        let pgd = robust_accuracy(&model, &test, &Pgd::new(Norm::Linf, eps, 20, 0), 64);
        let plan = Plan::new(Norm::Linf, Method::AutoAttack, vec![eps]);
        let report = run(&model, &test, &plan, &mut Journal::in_memory(), &mut ())?;
        println!(
            "Linf {eps}: FGSM {fgsm:.2}, PGD {pgd:.2}, AutoAttack {:.2}",
            report.rows[0].robust_accuracy
        );
    }
    Ok(())
}
