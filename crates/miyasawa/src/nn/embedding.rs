use burn::tensor::{Tensor, TensorData};

/// Cosines and sines of `log(sigma)/4` at this many frequencies each.
const FREQUENCIES: usize = 16;

/// Number of values that [`noise_features`] makes.
pub const NOISE_FEATURES: usize = 2 * FREQUENCIES;

/// The frequencies of [`noise_features`], spaced evenly in the logarithm from 1/4 to 16.
pub fn noise_frequencies() -> Vec<f32> {
    let (low, high) = (0.25f64.ln(), 16.0f64.ln());
    let step = (high - low) / (FREQUENCIES - 1) as f64;
    (0..FREQUENCIES).map(|k| (low + k as f64 * step).exp() as f32).collect()
}

/// The noise levels `[batch]` as `[cos, sin](log(sigma)/4 * frequency)`, `[batch, NOISE_FEATURES]`.
pub fn noise_features(sigma: &Tensor<1>) -> Tensor<2> {
    let freqs = TensorData::new(noise_frequencies(), [1, FREQUENCIES]);
    let freqs = Tensor::<2>::from_data(freqs, &sigma.device());
    let t = (sigma.clone().log() / 4.0).unsqueeze_dim::<2>(1).matmul(freqs);
    Tensor::cat(vec![t.clone().cos(), t.sin()], 1)
}
