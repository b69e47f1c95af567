//! A batch of noisy images, and what this library computes of it.

use anyhow::{Context, Result};
use miyasawa::Device;
use miyasawa::burn::tensor::{Int, Tensor, TensorData};
use miyasawa::model::{Model, Predict, Query, host};
use miyasawa::onnx::{Range, Task};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

/// The noise levels of the images of a batch, in units of the [-1, 1] range.
const SIGMAS: [f32; 3] = [0.2, 0.05, 1.2];

/// Values by name, with their shape.
pub type Named = Vec<(&'static str, Vec<usize>, Vec<f32>)>;

/// Images in [-1, 1] with noise.
pub struct Batch {
    shape: [usize; 4],
    y: Vec<f32>,
    sigma: Vec<f32>,
    class: Vec<i32>,
}

impl Batch {
    /// Waves with noise.
    pub fn new(count: usize, channels: usize, [height, width]: [usize; 2], classes: usize) -> Self {
        let rng = &mut rand_chacha::ChaCha8Rng::seed_from_u64((height * width) as u64);
        let sigma: Vec<f32> = SIGMAS[..count].to_vec();
        let mut y = Vec::new();
        for (n, sigma) in sigma.iter().enumerate() {
            for i in 0..channels * height * width {
                let (row, column) = (i / width % height, i % width);
                let phase = (n + i / (height * width)) as f32;
                let clean = 0.8 * (0.3 * row as f32 + phase).sin() * (0.2 * column as f32).cos();
                let noise: f32 = StandardNormal.sample(rng);
                y.push(clean + sigma * noise);
            }
        }
        let class = (0..count).map(|n| ((3 * n + 1) % classes) as i32).collect();
        Self { shape: [count, channels, height, width], y, sigma, class }
    }

    /// The inputs of a graph, in the units of its range.
    pub fn inputs(&self, range: Range) -> Named {
        let (image, level): (Vec<f32>, Vec<f32>) = match range {
            Range::Signed => (self.y.clone(), self.sigma.clone()),
            Range::Unit => (
                self.y.iter().map(|v| 0.5 * v + 0.5).collect(),
                self.sigma.iter().map(|sigma| 0.5 * sigma).collect(),
            ),
        };
        let count = vec![self.shape[0]];
        let class = self.class.iter().map(|class| *class as f32).collect();
        vec![
            ("image", self.shape.to_vec(), image),
            ("sigma", count.clone(), level),
            ("class", count, class),
        ]
    }

    /// What this library computes, in the units of a range.
    pub fn expected(&self, model: &Model, task: Task, range: Range) -> Result<Named> {
        let device = &Device::flex();
        let y = Tensor::<4>::from_data(TensorData::new(self.y.clone(), self.shape), device);
        let sigma = Tensor::<1>::from_floats(&self.sigma[..], device);
        let class = Tensor::<1, Int>::from_ints(&self.class[..], device);
        let ranged = |values: Vec<f32>| match range {
            Range::Signed => values,
            Range::Unit => values.iter().map(|v| 0.5 * v + 0.5).collect(),
        };
        let image = |name, values: Tensor<4>| (name, self.shape.to_vec(), ranged(host(values)));
        let table = |name, values: Tensor<2>| (name, values.dims().to_vec(), host(values));
        let query = Query {
            classify: task == Task::Classify,
            denoise: task == Task::Denoise,
            class_conditional: None,
        };
        match task {
            Task::Classify => {
                let logits = model.predict(&y, &sigma, &query).logits.context("no logits")?;
                let posterior = miyasawa::burn::tensor::activation::softmax(logits.clone(), 1);
                Ok(vec![table("logits", logits), table("posterior", posterior)])
            }
            Task::Denoise => {
                let found = model.predict(&y, &sigma, &query).denoised.context("no denoiser")?;
                Ok(vec![image("denoised", found)])
            }
            Task::Joint => {
                let at = model.joint().context("no joint model")?.at(&y, &sigma);
                Ok(vec![
                    table("logits", at.logits().clone()),
                    table("posterior", at.class_probs()),
                    ("log_prob", vec![self.shape[0]], host(at.log_prob())),
                    image("denoised", at.denoised()),
                    image("class_denoised", at.class_conditional_denoised(&class)),
                ])
            }
        }
    }
}
