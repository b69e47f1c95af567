//! A custom energy network made of the library's layers: a small perceptron on the embedded digits.
//!
//! The network implements its own adjoint with tracked operations. The library provides the
//! classifier, the denoiser, exact gradients of the loss, checkpoints, resuming and the evaluation.
//!
//! ```sh
//! cargo run --release -p miyasawa --example own_network -- 800
//! ```

use burn::{module::Module, tensor::Tensor};
use miyasawa::model::{EnergyNetwork, Outputs};
use miyasawa::nn::{Linear, NOISE_FEATURES, noise_features};
use miyasawa::{Device, ops, prelude::*};
use rand::SeedableRng;

/// `h = gelu(W2 gelu(W1 u + V t))`, with `t` the features of the noise level; two heads on `h`.
#[derive(Module, Debug)]
struct Mlp {
    first: Linear,
    noise: Linear,
    second: Linear,
    class_head: Linear,
    energy_head: Linear,
}

impl Mlp {
    fn new([pixels, width, classes]: [usize; 3], device: &Device, seed: u64) -> Self {
        let rng = &mut rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        Self {
            first: Linear::new([pixels, width], true, device, rng),
            noise: Linear::new([NOISE_FEATURES, width], false, device, rng),
            second: Linear::new([width, width], true, device, rng),
            class_head: Linear::new([width, classes], true, device, rng),
            energy_head: Linear::new([width, 1], false, device, rng),
        }
    }
}

/// What the adjoint needs: the values before each GELU, and the shape of the images.
type Tape = (Tensor<2>, Tensor<2>, [usize; 4]);

impl EnergyNetwork for Mlp {
    type Tape = Tape;

    fn forward(&self, u: &Tensor<4>, sigma: &Tensor<1>) -> (Outputs, Tape) {
        let x = u.clone().reshape([u.dims()[0] as i32, -1]);
        let h1 = self.first.forward(&x) + self.noise.forward(&noise_features(sigma));
        let h2 = self.second.forward(&ops::gelu(&h1));
        let features = ops::gelu(&h2);
        let energy = self.energy_head.forward(&features).squeeze_dim::<1>(1);
        (Outputs { logits: self.class_head.forward(&features), energy }, (h1, h2, u.dims()))
    }

    fn adjoint(&self, (h1, h2, shape): &Tape, g: &Outputs) -> Tensor<4> {
        let energy = g.energy.clone().unsqueeze_dim::<2>(1);
        let features = self.class_head.adjoint(&g.logits) + self.energy_head.adjoint(&energy);
        let g2 = self.second.adjoint(&ops::gelu_adjoint(h2, &features));
        self.first.adjoint(&ops::gelu_adjoint(h1, &g2)).reshape(*shape)
    }

    fn is_blind(&self) -> bool {
        false
    }

    fn classes(&self) -> usize {
        self.class_head.weight.dims()[0]
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let steps: u64 = std::env::args().nth(1).map_or(Ok(800), |steps| steps.parse())?;
    let trainer = Trainer::builder()
        .network(|device, seed| Mlp::new([64, 256, 10], device, seed))
        .configure(|config| {
            config.schedule.steps = Some(steps);
            config.optimizer.ema = 0.99;
        })
        .build()?;
    let every = steps.div_ceil(4) as f64;
    let trained = trainer.train_with(&mut |p: &Progress<'_>| {
        if let Some(step) = p.value("step").filter(|step| step % every == 0.0) {
            println!("step {step}: loss {:.3}", p.value("loss").unwrap_or_default());
        }
    })?;
    for row in &trained.finish.rows {
        let (accuracy, psnr) = (row.accuracy.unwrap_or_default(), row.psnr.unwrap_or_default());
        println!("sigma {:>4}: accuracy {:.1}%, PSNR {psnr:.2} dB", row.sigma, 100.0 * accuracy);
    }
    Ok(())
}
