//! The Jacobian of the denoiser, `J = dD/dy = 1 + sigma^2 * Hessian of log p(y)`.
//!
//! It is symmetric, and where the denoiser is the posterior mean it is also `Cov(x | y)/sigma^2`:
//! its leading eigenvectors are the directions that the denoiser preserves, its trace the number of
//! them (after Mohan et al. 2020, "Robust and interpretable blind image denoising via bias-free
//! convolutional neural networks", section 5), and `sigma^2 * trace` its own estimate of the
//! squared error.

use super::krylov::leading;
use crate::image::Image;
use crate::infer::to_image;
use crate::model::{EnergyNetwork, JointModel, host, params::untracked};
use crate::random::{evaluation_noise, example_rng, stream};
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use serde::Serialize;

/// The largest number of values of an image for which the trace is exact; beyond, it is estimated.
const EXACT: usize = 512;

/// The denoiser's Jacobian at one image and noise level.
pub struct Jacobian<N: EnergyNetwork> {
    model: JointModel<N>,
    y: Vec<f32>,
    shape: [usize; 3],
    sigma: f64,
    batch: usize,
    device: Device,
}

impl<N: EnergyNetwork> Jacobian<N> {
    /// The Jacobian at `y`; `batch` products go through the network at once.
    pub fn new(
        model: &JointModel<N>,
        y: &Image,
        sigma: f64,
        batch: usize,
        device: &Device,
    ) -> Self {
        let (channels, height, width) = y.shape();
        let device = device.clone().inner();
        Self {
            model: untracked(model.clone()),
            y: y.values().to_vec(),
            shape: [channels, height, width],
            sigma,
            batch: batch.max(1),
            device,
        }
    }

    /// Number of values of the image.
    pub fn len(&self) -> usize {
        self.y.len()
    }

    /// Whether the image has no values; always `false`.
    pub fn is_empty(&self) -> bool {
        self.y.is_empty()
    }

    /// `D(y)`.
    pub fn denoised(&self) -> Image {
        let tracked = self.device.clone().autodiff();
        let [channels, height, width] = self.shape;
        let y = TensorData::new(self.y.clone(), [1, channels, height, width]);
        let y = Tensor::<4>::from_data(y, &tracked);
        let sigma = Tensor::<1>::full([1], self.sigma as f32, &tracked);
        to_image(self.model.at(&y, &sigma).denoised())
    }

    /// `J v` of every vector: exact, by reverse-mode autodiff through the network's forward and
    /// adjoint passes. That computes `J^T v`, which equals `J v`.
    pub fn apply(&self, vectors: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let [channels, height, width] = self.shape;
        let tracked = self.device.clone().autodiff();
        let mut out = Vec::with_capacity(vectors.len());
        for block in vectors.chunks(self.batch) {
            let n = block.len();
            let shape = [n, channels, height, width];
            let y = Tensor::<4>::from_data(TensorData::new(self.y.repeat(n), shape), &tracked)
                .require_grad();
            let sigma = Tensor::<1>::full([n], self.sigma as f32, &tracked);
            let denoised = self.model.at(&y, &sigma).denoised();
            let v: Vec<f32> = block.iter().flatten().map(|v| *v as f32).collect();
            let v = Tensor::<4>::from_data(TensorData::new(v, shape), &self.device).autodiff();
            let mut gradients = (denoised * v).sum().backward();
            let product =
                y.grad_remove(&mut gradients).map_or_else(|| vec![0.0; n * self.len()], host);
            out.extend(
                product.chunks(self.len()).map(|p| p.iter().map(|p| f64::from(*p)).collect()),
            );
        }
        out
    }

    /// The trace and the squared Frobenius norm, with the standard error of the trace: exact for
    /// images of at most 512 values, else estimated from `probes` random sign vectors (Hutchinson
    /// 1990).
    fn trace_and_squares(&self, probes: usize, seed: u64) -> (f64, f64, f64) {
        let d = self.len();
        let exact = d <= EXACT;
        let count = if exact { d } else { probes.max(2) };
        let probe = |k: usize| -> Vec<f64> {
            if exact {
                return (0..d).map(|i| f64::from(u8::from(i == k))).collect();
            }
            let mut rng = example_rng(seed, 1, k as u64, stream::JACOBIAN);
            (0..d).map(|_| if rng.random::<bool>() { 1.0 } else { -1.0 }).collect()
        };
        let (mut trace, mut squares) = (Vec::new(), 0.0);
        for from in (0..count).step_by(self.batch) {
            let block: Vec<Vec<f64>> = (from..count.min(from + self.batch)).map(probe).collect();
            for (v, jv) in block.iter().zip(self.apply(&block)) {
                trace.push(v.iter().zip(&jv).map(|(a, b)| a * b).sum::<f64>());
                squares += jv.iter().map(|v| v * v).sum::<f64>();
            }
        }
        let sum: f64 = trace.iter().sum();
        if exact {
            return (sum, squares, 0.0);
        }
        let n = count as f64;
        let mean = sum / n;
        let variance: f64 = trace.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, squares / n, (variance / n).sqrt())
    }

    /// Computes the leading eigenvalues and eigenvectors, the trace and the squared Frobenius norm.
    pub fn spectrum(&self, options: &JacobianOptions) -> Spectrum {
        let d = self.len();
        let block = options.vectors.clamp(1, d);
        let start = |k: usize| -> Vec<f64> {
            let mut rng = example_rng(options.seed, 0, k as u64, stream::JACOBIAN);
            (0..d).map(|_| StandardNormal.sample(&mut rng)).collect()
        };
        let size = (options.iterations.max(1) * block).min(d);
        let found = leading((0..block).map(start).collect(), block, size, &mut |v| self.apply(v));
        let (trace, squares, trace_error) = self.trace_and_squares(options.probes, options.seed);
        Spectrum {
            sigma: self.sigma,
            values: found.values,
            residuals: found.residuals,
            vectors: found.vectors,
            trace,
            trace_error,
            squares,
        }
    }
}

/// How a spectrum is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JacobianOptions {
    /// Leading eigenvectors.
    pub vectors: usize,
    /// Number of blocks of the Krylov space, each of `vectors` vectors.
    pub iterations: usize,
    /// Number of random sign vectors that estimate the trace of a large image.
    pub probes: usize,
    /// Products that go through the network at once.
    pub batch: usize,
    /// Seed of starts, probes and noise.
    pub seed: u64,
}

impl Default for JacobianOptions {
    fn default() -> Self {
        Self { vectors: 8, iterations: 12, probes: 32, batch: 16, seed: 0 }
    }
}

/// Eigenvalues and trace of a Jacobian. It is symmetric: the singular values are the absolute
/// eigenvalues.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spectrum {
    /// The noise level.
    pub sigma: f64,
    /// The leading eigenvalues, the largest absolute value first.
    pub values: Vec<f64>,
    /// `|J v - lambda v|` of each.
    pub residuals: Vec<f64>,
    /// The eigenvectors, as images of length 1.
    #[serde(skip)]
    pub vectors: Vec<Vec<f64>>,
    /// The trace: the sum of all eigenvalues, the effective dimension.
    pub trace: f64,
    /// The standard error of its estimate; 0 where it is exact.
    pub trace_error: f64,
    /// The sum of all squared eigenvalues, the effective dimension as Mohan et al. define it.
    pub squares: f64,
}

/// The effective dimension at one noise level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LevelSpectrum {
    /// The noise level.
    pub sigma: f64,
    /// The trace.
    pub trace: f64,
    /// Its standard error.
    pub trace_error: f64,
    /// The sum of squared eigenvalues.
    pub squares: f64,
}

/// The effective dimension around a clean image at several noise levels: noise of the level is
/// added, and the Jacobian is computed at the noisy image.
pub fn spectrum<N: EnergyNetwork>(
    model: &JointModel<N>,
    clean: &Image,
    sigmas: &[f64],
    options: &JacobianOptions,
    device: &Device,
) -> Vec<LevelSpectrum> {
    let at = |(level, &sigma): (usize, &f64)| {
        let noise = evaluation_noise(options.seed, level as u64, 0, 1, clean.values().len());
        let noisy =
            clean.values().iter().zip(noise).map(|(v, noise)| v + sigma as f32 * noise).collect();
        let y = Image::new(clean.shape(), noisy).unwrap_or_else(|_| clean.clone());
        let (trace, squares, trace_error) = Jacobian::new(model, &y, sigma, options.batch, device)
            .trace_and_squares(options.probes, options.seed);
        LevelSpectrum { sigma, trace, trace_error, squares }
    };
    sigmas.iter().enumerate().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::to_tensor;
    use crate::model::{GradResNet, GradResNetConfig};

    fn model(zero_energy_head: bool, device: &Device) -> JointModel<GradResNet> {
        let config = GradResNetConfig {
            width: 8,
            blocks: vec![1, 1],
            zero_energy_head,
            ..GradResNetConfig::new(1, 3)
        };
        JointModel::new(config.init(device, 2), 0.5)
    }

    fn image() -> Image {
        Image::new((1, 6, 5), (0..30).map(|i| ((i * 17) % 30) as f32 / 20.0 - 0.7).collect())
            .unwrap()
    }

    fn unit(k: u64) -> Vec<f64> {
        let mut rng = example_rng(9, 0, k, 95);
        let v: Vec<f64> = (0..30).map(|_| StandardNormal.sample(&mut rng)).collect();
        let length = v.iter().map(|v: &f64| v * v).sum::<f64>().sqrt();
        v.iter().map(|v| v / length).collect()
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn the_jacobian_is_symmetric_and_the_denoisers_derivative() {
        let device = Device::flex();
        let (model, y, sigma) = (model(false, &device), image(), 0.4);
        let jacobian = Jacobian::new(&model, &y, sigma, 3, &device);
        let (u, v) = (unit(0), unit(1));
        let products = jacobian.apply(&[u.clone(), v.clone(), u.clone(), v.clone()]);
        assert!((dot(&v, &products[0]) - dot(&u, &products[1])).abs() < 1e-5, "J is symmetric");
        assert!(
            products[0].iter().zip(&products[2]).all(|(a, b)| (a - b).abs() < 1e-6),
            "batches agree"
        );
        let denoised = |step: f64| -> Vec<f32> {
            let moved = y.values().iter().zip(&u).map(|(y, u)| y + (step * u) as f32).collect();
            let moved = Image::new((1, 6, 5), moved).unwrap();
            host(
                model
                    .at(&to_tensor(&moved, &device), &Tensor::full([1], sigma as f32, &device))
                    .denoised(),
            )
        };
        let h = 0.02;
        let scale = products[0].iter().fold(0.0f64, |m, p| m.max(p.abs()));
        for ((p, a), b) in products[0].iter().zip(denoised(h)).zip(denoised(-h)) {
            let slope = (f64::from(a) - f64::from(b)) / (2.0 * h);
            assert!((p - slope).abs() < 5e-3 * scale, "{p} {slope}");
        }
    }

    #[test]
    fn the_spectrum_agrees_with_the_full_matrix() {
        let device = Device::flex();
        let (model, y) = (model(false, &device), image());
        let jacobian = Jacobian::new(&model, &y, 0.5, 8, &device);
        let options = JacobianOptions { vectors: 4, iterations: 6, ..JacobianOptions::default() };
        let found = jacobian.spectrum(&options);
        for ((value, vector), residual) in
            found.values.iter().zip(&found.vectors).zip(&found.residuals)
        {
            let product = &jacobian.apply(std::slice::from_ref(vector))[0];
            assert!(
                (dot(vector, product) - value).abs() < 1e-4,
                "a Rayleigh quotient is the eigenvalue"
            );
            assert!(*residual < 5e-2, "{:?}", found.residuals);
        }
        // The full matrix, a column for each unit vector.
        let identity: Vec<Vec<f64>> =
            (0..30).map(|k| (0..30).map(|i| f64::from(u8::from(i == k))).collect()).collect();
        let columns = jacobian.apply(&identity);
        let trace: f64 = (0..30).map(|i| columns[i][i]).sum();
        let squares: f64 = columns.iter().flatten().map(|v| v * v).sum();
        assert!((found.trace - trace).abs() < 1e-4 && (found.squares - squares).abs() < 1e-3);
        assert_eq!(found.trace_error, 0.0);
        let all = jacobian.spectrum(&JacobianOptions { vectors: 30, iterations: 1, ..options });
        assert!((all.values.iter().sum::<f64>() - trace).abs() < 1e-3);
        assert!((all.values[0] - found.values[0]).abs() < 1e-3);
    }

    /// The model that training starts from, without classes: `D(y) = s^2/(s^2 + sigma^2)*y`.
    #[test]
    fn a_gaussian_model_shrinks_every_direction_alike() {
        let device = Device::flex();
        let config = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 1) };
        let mut values = crate::model::params::collect(&config.init(&device, 0));
        values.insert("class_head.weight".into(), TensorData::new(vec![0.0f32; 8], [1, 8]));
        let model = JointModel::new(config.with_params(values, &device).unwrap(), 0.5);
        let levels = spectrum(&model, &image(), &[0.1, 0.5], &JacobianOptions::default(), &device);
        for found in levels {
            let shrink = 0.25 / (0.25 + found.sigma * found.sigma);
            assert!(
                (found.trace - 30.0 * shrink).abs() < 1e-3
                    && (found.squares - 30.0 * shrink * shrink).abs() < 1e-3
            );
        }
        let found =
            Jacobian::new(&model, &image(), 0.5, 8, &device).spectrum(&JacobianOptions::default());
        assert!(found.values.iter().all(|v| (v - 0.5).abs() < 1e-4), "{:?}", found.values);
    }
}
