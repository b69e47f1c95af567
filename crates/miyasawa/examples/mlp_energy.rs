//! A custom energy network made of the library's layers: a small perceptron on the embedded digits.
//!
//! The network implements its own adjoint with tracked operations. The library provides the
//! classifier, the denoiser, exact gradients of the denoising loss, the optimiser and the
//! evaluation.
//!
//! ```sh
//! cargo run --release -p miyasawa --example mlp_energy
//! ```

use burn::module::Module;
use burn::tensor::Tensor;
use miyasawa::{
    Device,
    data::{Augment, DataSource, LoadOptions, epoch_order, gather_augmented},
    eval::{EvalOptions, evaluate},
    model::{EnergyNetwork, JointModel, Outputs, params},
    nn::{Linear, NOISE_FEATURES, noise_features},
    ops,
    train::{
        config::{LossConfig, NoiseConfig, OptimizerConfig, ScheduleConfig},
        noise::training_noise,
        optimizer::{Optimizer, learning_rate},
        step::{Batch, gradients},
    },
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// `h = gelu(W2 gelu(W1 u + V t))`, with `t` the features of the noise level; two heads on `h`.
#[derive(Module, Debug)]
struct Mlp {
    first: Linear,
    noise: Linear,
    second: Linear,
    class_head: Linear,
    energy_head: Linear,
}

/// The values that the adjoint needs: the values before each GELU, and the image's shape.
struct Tape {
    h1: Tensor<2>,
    h2: Tensor<2>,
    shape: [usize; 4],
}

impl Mlp {
    fn new(pixels: usize, width: usize, classes: usize, device: &Device, seed: u64) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        Self {
            first: Linear::new([pixels, width], true, device, rng),
            noise: Linear::new([NOISE_FEATURES, width], false, device, rng),
            second: Linear::new([width, width], true, device, rng),
            class_head: Linear::new([width, classes], true, device, rng),
            energy_head: Linear::new([width, 1], false, device, rng),
        }
    }
}

impl EnergyNetwork for Mlp {
    type Tape = Tape;

    fn forward(&self, u: &Tensor<4>, sigma: &Tensor<1>) -> (Outputs, Tape) {
        let shape = u.dims();
        let x = u.clone().reshape([shape[0] as i32, -1]);
        let h1 = self.first.forward(&x) + self.noise.forward(&noise_features(sigma));
        let h2 = self.second.forward(&ops::gelu(&h1));
        let features = ops::gelu(&h2);
        let logits = self.class_head.forward(&features);
        let energy = self.energy_head.forward(&features).squeeze_dim::<1>(1);
        (Outputs { logits, energy }, Tape { h1, h2, shape })
    }

    fn adjoint(&self, tape: &Tape, g: &Outputs) -> Tensor<4> {
        let g_energy = g.energy.clone().unsqueeze_dim::<2>(1);
        let features = self.class_head.adjoint(&g.logits) + self.energy_head.adjoint(&g_energy);
        let g2 = self.second.adjoint(&ops::gelu_adjoint(&tape.h2, &features));
        self.first.adjoint(&ops::gelu_adjoint(&tape.h1, &g2)).reshape(tape.shape)
    }

    fn is_blind(&self) -> bool {
        false
    }

    fn classes(&self) -> usize {
        self.class_head.weight.dims()[0]
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (train, test) = DataSource::Digits.load_both(&LoadOptions::default())?;
    let (_, sigma_data) = train.mean_std();
    let device = Device::flex();
    let tracked = device.clone().autodiff();
    let net = Mlp::new(train.image_len(), 256, train.classes().len(), &tracked, 0);
    let mut model = JointModel::new(net, sigma_data);

    let schedule = ScheduleConfig { warmup: 50, ..ScheduleConfig::default() };
    let (noise, loss) = (NoiseConfig::default(), LossConfig::default());
    let mut optimizer = Optimizer::new(OptimizerConfig { ema: 0.99, ..OptimizerConfig::default() });
    let (size, total) = (128, 800);
    let per_epoch = train.len() / size;
    for step in 0..total {
        let (epoch, batch_index) = (step / per_epoch, step % per_epoch);
        let order = epoch_order(0, epoch as u64, train.len());
        let indices = &order[batch_index * size..][..size];
        let mut x = vec![0.0; size * train.image_len()];
        gather_augmented(&train, indices, &Augment::default(), 0, epoch as u64, &mut x);
        let labels = indices.iter().map(|i| train.labels()[*i as usize]).collect();
        let (sigma, eps) = training_noise(&noise, 0, step as u64, size, train.image_len());
        let image = [train.channels(), train.height(), train.width()];
        let batch = Batch { image, x, labels, label_weight: vec![1.0; size], sigma, eps };
        let (mut grads, stats) = gradients(&model, &batch, &loss, size, &tracked);
        let norm = Optimizer::norm(&grads);
        let lr = learning_rate(2e-3, &schedule, step as u64, total as u64);
        model.net = optimizer.step(model.net, &mut grads, norm, lr);
        if (step + 1) % 200 == 0 {
            println!("step {}: cross-entropy {:.3}, denoising {:.3}", step + 1, stats.ce, stats.dsm);
        }
    }

    let averaged = params::collect(&optimizer.averaged(model.net));
    let net = params::assign(Mlp::new(train.image_len(), 256, 10, &device, 0), averaged)?;
    let model = JointModel::new(net, sigma_data);
    for row in evaluate(&model, &test, &EvalOptions::default(), &device, &mut |_| {}) {
        let psnr = row.psnr.unwrap_or(f64::NAN);
        let accuracy = 100.0 * row.accuracy.unwrap_or_default();
        println!("sigma {:>4}: accuracy {accuracy:.1}%, PSNR {psnr:.2} dB", row.sigma);
    }
    Ok(())
}
