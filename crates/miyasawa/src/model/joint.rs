use super::{EnergyNetwork, Outputs, loss};
use burn::module::Module;
use burn::tensor::{
    Int, Tensor,
    activation::{log_softmax, softmax},
};

/// The joint density of a noisy image `y` and its class `c` at noise level `sigma`:
///
/// ```text
/// log p(y, c | sigma)
///     = -|y|^2 / (2 (s^2 + sigma^2)) + (s / sigma) e(u, sigma) + f_c(u, sigma) + const
/// u = y / sqrt(s^2 + sigma^2)
/// ```
///
/// with `s` the standard deviation of the data, and for a blind network
/// `log p(y, c) = -|y|^2 / 2 + e(y) + f_c(y) + const`. Images are
/// `[batch, channels, height, width]` in `[-1, 1]` before the noise.
///
/// The part that all classes share is in the thousands and `f` of order one: they are never added,
/// or float32 would round the class posterior away.
#[derive(Module, Debug)]
pub struct JointModel<N: EnergyNetwork> {
    /// The energy network.
    pub net: N,
    #[module(skip)]
    sigma_data: f64,
}

/// The model evaluated at a batch of noisy images: one forward pass, from which all quantities
/// follow.
pub struct Evaluated<'m, N: EnergyNetwork> {
    net: &'m N,
    tape: N::Tape,
    outputs: Outputs,
    /// `[batch, channels, height, width]`.
    y: Tensor<4>,
    scales: Scales,
}

/// The scalings of the preconditioned model, one value for every image.
struct Scales {
    /// `du/dy`.
    c_in: Tensor<1>,
    /// Weight of `|y|^2/2` in `-log p`.
    precision: Tensor<1>,
    /// Weight of `e` in `log p`.
    energy: Tensor<1>,
    sigma: Tensor<1>,
}

/// A value of every image, as `[batch, 1, 1, 1]`.
pub(super) fn per_image(values: &Tensor<1>) -> Tensor<4> {
    let n = values.dims()[0];
    values.clone().reshape([n, 1, 1, 1])
}

impl<N: EnergyNetwork> JointModel<N> {
    /// A joint model on a network, for data with the standard deviation `sigma_data`.
    pub fn new(net: N, sigma_data: f64) -> Self {
        Self { net, sigma_data }
    }

    /// The standard deviation of the data, in units of the [-1, 1] range.
    pub fn sigma_data(&self) -> f64 {
        self.sigma_data
    }

    fn scales(&self, sigma: &Tensor<1>) -> Scales {
        let one = sigma.ones_like();
        if self.net.is_blind() {
            return Scales {
                c_in: one.clone(),
                precision: one.clone(),
                energy: one,
                sigma: sigma.clone(),
            };
        }
        let variance = sigma.clone().powi_scalar(2) + self.sigma_data.powi(2);
        Scales {
            c_in: variance.clone().sqrt().recip(),
            precision: variance.recip(),
            energy: sigma.clone().recip() * self.sigma_data,
            sigma: sigma.clone(),
        }
    }

    /// Evaluates the model at noisy images `y`, `[batch, channels, height, width]`, with a noise
    /// level each, `[batch]`. One forward pass. A level outside
    /// [`NOISE_LEVELS`](super::NOISE_LEVELS) (0 too) leads to results that are not finite, unless
    /// the network is blind and ignores it.
    ///
    /// # Panics
    /// If the images have other channels than the network.
    pub fn at(&self, y: &Tensor<4>, sigma: &Tensor<1>) -> Evaluated<'_, N> {
        let scales = self.scales(sigma);
        let u = (y.clone() * per_image(&scales.c_in)).permute([0, 2, 3, 1]);
        let (outputs, tape) = self.net.forward(&u, sigma);
        Evaluated { net: &self.net, tape, outputs, y: y.clone(), scales }
    }
}

impl<N: EnergyNetwork> Evaluated<'_, N> {
    /// `f_c`, `[batch, classes]`.
    pub fn logits(&self) -> &Tensor<2> {
        &self.outputs.logits
    }

    /// The features that the class head sees, `[batch, features]`; see
    /// [`EnergyNetwork::features`].
    pub fn features(&self) -> Option<Tensor<2>> {
        self.net.features(&self.tape)
    }

    /// `e`, `[batch]`.
    pub fn energy(&self) -> &Tensor<1> {
        &self.outputs.energy
    }

    /// `log p(c | y)`, `[batch, classes]`.
    pub fn class_log_probs(&self) -> Tensor<2> {
        log_softmax(self.outputs.logits.clone(), 1)
    }

    /// `p(c | y)`, `[batch, classes]`.
    pub fn class_probs(&self) -> Tensor<2> {
        softmax(self.outputs.logits.clone(), 1)
    }

    /// The part of `log p(y, c)` that all classes share, `[batch]`; add [`logits`](Self::logits)
    /// only where single precision does not matter.
    pub fn shared_log_prob(&self) -> Tensor<1> {
        let n = self.y.dims()[0];
        let square =
            self.y.clone().powi_scalar(2).reshape([n as i32, -1]).sum_dim(1).squeeze_dim::<1>(1);
        self.outputs.energy.clone() * self.scales.energy.clone()
            - square * self.scales.precision.clone() * 0.5
    }

    /// `log p(y)` up to a constant of the noise level, `[batch]`.
    pub fn log_prob(&self) -> Tensor<1> {
        self.shared_log_prob() + loss::log_sum_exp(&self.outputs.logits)
    }

    /// `log p(y, c)` up to a constant of the noise level, `[batch, classes]`.
    pub fn joint_log_prob(&self) -> Tensor<2> {
        self.shared_log_prob().unsqueeze_dim::<2>(1) + self.outputs.logits.clone()
    }

    /// The gradient for `y` of `sum weights*f (+ the shared energy)`, without the Gaussian base.
    fn pull_back(&self, weights: Tensor<2>, energy: Tensor<1>) -> Tensor<4> {
        let gradient = self.net.adjoint(&self.tape, &Outputs { logits: weights, energy });
        gradient.permute([0, 3, 1, 2]) * per_image(&self.scales.c_in)
    }

    fn score_with(&self, weights: Tensor<2>) -> Tensor<4> {
        self.pull_back(weights, self.scales.energy.clone())
            - self.y.clone() * per_image(&self.scales.precision)
    }

    /// `grad_y log p(y)`, the score of the marginal.
    pub fn score(&self) -> Tensor<4> {
        self.score_with(self.class_probs())
    }

    /// `grad_y log p(y, c)` for the classes `labels`, `[batch]`.
    pub fn class_conditional_score(&self, labels: &Tensor<1, Int>) -> Tensor<4> {
        self.score_with(self.one_hot(labels))
    }

    /// `D(y, c) - D(y)` for the classes `labels`.
    ///
    /// The part that both denoisers share, the gradient of the Gaussian base and of `e`, is
    /// hundreds of times larger than their difference and would round it away in float32: only the
    /// other parts are subtracted. And where the class is nearly certain, `D(y)` is nearly
    /// `D(y, c)`: as `D(y) = p(c|y) D(y, c) + p(not c|y) D(y, not c)`, the difference is
    /// `p(not c|y) (D(y, c) - D(y, not c))`, which loses no precision. That is
    /// `p(not c|y) sigma^2 (grad f_c - sum_{k != c} p(k | y, not c) grad f_k)`, two passes through
    /// the network.
    pub fn denoiser_difference(&self, labels: &Tensor<1, Int>) -> Tensor<4> {
        let (one, rest) = self.split(labels);
        let of_others = softmax(self.others(&one), 1);
        let difference = self.logit_gradient(one) - self.logit_gradient(of_others);
        let share = rest.sum_dim(1).squeeze_dim::<1>(1) * self.scales.sigma.clone().powi_scalar(2);
        difference * per_image(&share)
    }

    /// `grad_y log p(c | y)`, the adversarial gradient: the network is pulled back once with the
    /// weights `[c = label] - p(c | y)`, of which `1 - p(label | y)` is the sum of the others and
    /// not a difference.
    pub fn class_gradient(&self, labels: &Tensor<1, Int>) -> Tensor<4> {
        let (one, rest) = self.split(labels);
        self.logit_gradient(one * rest.clone().sum_dim(1) - rest)
    }

    /// `log p(c | y)` for the classes `labels`, `[batch]`, as
    /// `-log(1 + exp(log sum_{k != c} exp f_k - f_c))`: where the class is nearly certain, neither
    /// it nor its derivative is lost in a 1.
    pub fn class_log_prob(&self, labels: &Tensor<1, Int>) -> Tensor<1> {
        let one = self.one_hot(labels);
        let of_label = (self.outputs.logits.clone() * one.clone()).sum_dim(1).squeeze_dim::<1>(1);
        let behind = loss::log_sum_exp(&self.others(&one)) - of_label;
        -loss::softplus(behind)
    }

    /// The logits of all classes but the one marked in `one`, a [`one_hot`](Self::one_hot), whose
    /// entry is so small that it does not contribute to a sum of exponentials.
    fn others(&self, one: &Tensor<2>) -> Tensor<2> {
        self.outputs.logits.clone() - one.clone() * 1e30
    }

    /// `[c = label]`, and `p(c | y)` of all classes but the label.
    fn split(&self, labels: &Tensor<1, Int>) -> (Tensor<2>, Tensor<2>) {
        let one = self.one_hot(labels);
        let rest = self.class_probs() * (one.clone() - 1.0).neg();
        (one, rest)
    }

    /// The gradient for `y` of `sum weights*f_c` (`weights` is `[batch, classes]`): attacks on any
    /// loss of the logits need it.
    pub fn logit_gradient(&self, weights: Tensor<2>) -> Tensor<4> {
        self.pull_back(weights, self.scales.energy.zeros_like())
    }

    /// Computes the Tweedie-Miyasawa step `y + sigma^2*score`.
    pub fn tweedie(&self, score: &Tensor<4>) -> Tensor<4> {
        self.y.clone() + score.clone() * per_image(&self.scales.sigma.clone().powi_scalar(2))
    }

    /// Computes the denoised images `D(y) = E[x | y]`, `[batch, channels, height, width]`.
    pub fn denoised(&self) -> Tensor<4> {
        self.tweedie(&self.score())
    }

    /// Computes the class-conditional denoised images `D(y, c) = E[x | y, c]` for the classes
    /// `labels`, `[batch]`.
    pub fn class_conditional_denoised(&self, labels: &Tensor<1, Int>) -> Tensor<4> {
        self.tweedie(&self.class_conditional_score(labels))
    }

    /// `[batch, classes]` with a one at the label.
    pub fn one_hot(&self, labels: &Tensor<1, Int>) -> Tensor<2> {
        loss::one_hot(labels, self.outputs.logits.dims()[1])
    }
}
