use super::{
    Conv2d, constant_param,
    moments::{Moments, RunningMoments, moved},
};
use crate::ops;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

/// Added to the variance; the kernels' and PyTorch's default.
pub(super) const EPSILON: f64 = 1e-5;

/// Batch normalisation (Ioffe & Szegedy 2015) of a convolution's output, for the reference models.
///
/// In training the statistics are those of the images that go through together: of a part of the
/// batch where the batch is taken in parts, which is ghost batch normalisation (Hoffer et al.
/// 2017). They are reported to a [`NormLog`]; the running ones move once a step, by the statistics
/// of the entire batch ([`update_running`](super::update_running)). Out of training the running
/// statistics are folded into the convolution.
///
/// It is group normalisation of the batch taken as one image, with a group for every channel: the
/// same kernels. Without a bias (Mohan et al. 2020) nothing is subtracted, so that the layer is
/// homogeneous.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// Scale, `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[channels]`; absent in a bias-free network.
    pub bias: Option<Param<Tensor<1>>>,
    /// Running mean, `[channels]`; absent in a bias-free network.
    pub running_mean: Option<Param<Tensor<1>>>,
    /// Running variance, `[channels]`.
    pub running_var: Param<Tensor<1>>,
}

/// The statistics of a network's batch normalisations, in the order of its forward pass.
#[derive(Debug, Default)]
pub struct NormLog {
    /// Mean and variance, `[1, channels]`, and how many values each is of.
    seen: Vec<(Tensor<2>, Tensor<2>, usize)>,
}

impl NormLog {
    /// Copies the statistics to the host.
    pub fn moments(self) -> Vec<Moments> {
        let host = |t: Tensor<2>| {
            let values = t.into_data().try_to_vec::<f32>().expect("the models compute in float32");
            values.into_iter().map(f64::from).collect::<Vec<_>>()
        };
        self.seen
            .into_iter()
            .map(|(mean, var, count)| Moments { mean: host(mean), var: host(var), count })
            .collect()
    }
}

impl BatchNorm {
    /// Scale 1 and shift 0; `bias` false makes it homogeneous.
    pub fn new(channels: usize, bias: bool, device: &Device) -> Self {
        let fixed = |value| constant_param([channels], value, device).set_require_grad(false);
        Self {
            weight: constant_param([channels], 1.0, device),
            bias: bias.then(|| constant_param([channels], 0.0, device)),
            running_mean: bias.then(|| fixed(0.0)),
            running_var: fixed(1.0),
        }
    }

    /// `norm(conv(x))`: with the batch's statistics, which are added to the log, if there is one,
    /// else with the running statistics.
    pub fn normalise_conv(
        &self,
        conv: &Conv2d,
        x: &Tensor<4>,
        log: Option<&mut NormLog>,
    ) -> Tensor<4> {
        match log {
            Some(log) => self.by_batch(&conv.forward_add(x, None).0, log),
            None => self.by_running(conv, x),
        }
    }

    fn by_batch(&self, x: &Tensor<4>, log: &mut NormLog) -> Tensor<4> {
        let [n, h, w, c] = x.dims();
        let one = x.clone().reshape([1, n * h, w, c]);
        let gamma = self.weight.val().unsqueeze::<2>();
        let (mean, var, y) = match &self.bias {
            Some(bias) => {
                let (y, stats) = ops::group_norm(
                    &one,
                    &gamma,
                    &bias.val().unsqueeze::<2>(),
                    c,
                    ops::Statistics::default(),
                    false,
                );
                let var = (stats.rstd().clone().powi_scalar(-2) - EPSILON).clamp_min(0.0);
                (stats.mean().clone(), var, y)
            }
            None => {
                let mean = ops::mean_pool(&one);
                let var = ops::mean_pool(&one.clone().powi_scalar(2)) - mean.clone().powi_scalar(2);
                let var = var.clamp_min(0.0);
                let scale = gamma / (var.clone() + EPSILON).sqrt();
                let plain = |t: Tensor<2>| if t.is_autodiff() { t.inner() } else { t };
                (plain(mean), plain(var), one * scale.reshape([1, 1, 1, c]))
            }
        };
        log.seen.push((mean, var, n * h * w));
        y.reshape([n, h, w, c])
    }

    fn by_running(&self, conv: &Conv2d, x: &Tensor<4>) -> Tensor<4> {
        let scale = self.weight.val() / (self.running_var.val() + EPSILON).sqrt();
        let shift = match (&self.bias, &self.running_mean) {
            (Some(bias), Some(mean)) => Some(bias.val() - mean.val() * scale.clone()),
            _ => None,
        };
        conv.scaled(x, &scale, shift.as_ref())
    }
}

impl RunningMoments for BatchNorm {
    fn track(&mut self, seen: &Moments) {
        self.running_mean = self.running_mean.as_ref().map(|mean| moved(mean, &seen.mean));
        self.running_var = moved(&self.running_var, &seen.unbiased());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::update_running;
    use burn::tensor::TensorData;
    use rand::SeedableRng;

    fn setting(bias: bool) -> (Conv2d, BatchNorm, Tensor<4>) {
        let device = Device::flex();
        let rng = &mut rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let x: Vec<f32> =
            (0..2 * 5 * 6 * 3).map(|i| ((i * 37) % 101) as f32 / 50.0 - 0.7).collect();
        let x = Tensor::from_data(TensorData::new(x, [2, 5, 6, 3]), &device);
        (Conv2d::new([3, 8], 3, 1, &device, rng), BatchNorm::new(8, bias, &device), x)
    }

    fn channel(y: &Tensor<4>, c: usize) -> Vec<f64> {
        let values = y.to_data().try_to_vec::<f32>().unwrap();
        values.iter().skip(c).step_by(8).map(|v| f64::from(*v)).collect()
    }

    #[test]
    fn a_batch_is_normalised_and_running_statistics_move_towards_it() {
        let (conv, mut norm, x) = setting(true);
        let mut log = NormLog::default();
        let y = norm.normalise_conv(&conv, &x, Some(&mut log));
        for c in 0..8 {
            let values = channel(&y, c);
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let var = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
            assert!(mean.abs() < 1e-5 && (var - 1.0).abs() < 1e-2, "{mean} {var}");
        }
        let moments = vec![log.moments()];
        for _ in 0..200 {
            update_running(vec![&mut norm], &moments);
        }
        // With the batch's statistics as the running ones the two ways agree, up to n/(n - 1).
        let again = norm.normalise_conv(&conv, &x, None);
        for (a, b) in channel(&y, 3).iter().zip(channel(&again, 3)) {
            assert!((a - b).abs() < 0.02 * (1.0 + a.abs()), "{a} {b}");
        }
    }

    #[test]
    fn the_parts_of_a_batch_pool_to_the_batch() {
        let (conv, norm, x) = setting(true);
        let see = |x: Tensor<4>| {
            let mut log = NormLog::default();
            norm.normalise_conv(&conv, &x, Some(&mut log));
            log.moments().remove(0)
        };
        let entire = see(x.clone());
        let parts = [see(x.clone().narrow(0, 0, 1)), see(x.narrow(0, 1, 1))];
        let pooled = Moments::pool(&[&parts[0], &parts[1]]);
        assert_eq!(pooled.count, entire.count);
        for c in 0..8 {
            assert!((pooled.mean[c] - entire.mean[c]).abs() < 1e-5);
            assert!((pooled.var[c] - entire.var[c]).abs() < 1e-4 * entire.var[c]);
        }
    }

    #[test]
    fn without_a_bias_the_layer_is_homogeneous_out_of_training() {
        let (conv, mut norm, x) = setting(false);
        let mut log = NormLog::default();
        norm.normalise_conv(&conv, &x, Some(&mut log));
        update_running(vec![&mut norm], &[log.moments()]);
        let (one, three) =
            (norm.normalise_conv(&conv, &x, None), norm.normalise_conv(&conv, &(x * 3.0), None));
        for (a, b) in channel(&one, 5).iter().zip(channel(&three, 5)) {
            assert!((3.0 * a - b).abs() < 1e-4, "{a} {b}");
        }
    }
}
