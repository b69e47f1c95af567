//! The settings of an optimiser step.

/// AdamW (Loshchilov & Hutter 2019) with decoupled decay, as `torch.optim.AdamW`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// The learning rate of this step.
    pub learning_rate: f32,
    /// Decay of the moving means of the gradient and of its square.
    pub betas: [f32; 2],
    /// Added to the root of the mean square.
    pub epsilon: f32,
    /// The decay of the parameters is `1 - learning_rate*weight_decay` a step.
    pub weight_decay: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { learning_rate: 1e-3, betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 1e-2 }
    }
}

/// Stochastic gradient descent with momentum, as `torch.optim.SGD`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// The learning rate of this step.
    pub learning_rate: f32,
    /// Share of the velocity that a step keeps; 0 is plain gradient descent.
    pub momentum: f32,
    /// Whether the step is Nesterov's, taken along the velocity after this update.
    pub nesterov: bool,
    /// Strength of the decay.
    pub weight_decay: f32,
    /// Whether the decay shrinks the parameters directly, as in [`AdamW`], or is part of the
    /// gradient (L2).
    pub decoupled: bool,
}

impl Default for Sgd {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            momentum: 0.0,
            nesterov: false,
            weight_decay: 0.0,
            decoupled: false,
        }
    }
}
