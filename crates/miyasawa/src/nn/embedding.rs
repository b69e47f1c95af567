use crate::device::is_cpu;
use burn::tensor::{Device, Tensor, TensorData};
use std::sync::{Mutex, PoisonError};

/// Cosines and sines of `log(sigma)/4` at this many frequencies each.
const FREQUENCIES: usize = 16;

/// Number of values that [`noise_features`] returns for each noise level.
pub const NOISE_FEATURES: usize = 2 * FREQUENCIES;

/// The frequencies of [`noise_features`], spaced evenly in the logarithm from 1/4 to 16.
pub fn noise_frequencies() -> Vec<f32> {
    let (low, high) = (0.25f64.ln(), 16.0f64.ln());
    let step = (high - low) / (FREQUENCIES - 1) as f64;
    (0..FREQUENCIES).map(|k| (low + k as f64 * step).exp() as f32).collect()
}

/// The noise levels `[batch]` as `[cos, sin](log(sigma)/4 * frequency)`, `[batch, NOISE_FEATURES]`.
pub fn noise_features(sigma: &Tensor<1>) -> Tensor<2> {
    let freqs = frequencies_on(&sigma.device());
    // No matrix product: those of a GPU may round to TF32.
    let t = (sigma.clone().log() / 4.0).unsqueeze_dim::<2>(1) * freqs;
    let [cos, sin] = cos_sin(t);
    Tensor::cat(vec![cos, sin], 1)
}

/// The frequencies, `[1, FREQUENCIES]`; sent to a device other than the CPU once.
fn frequencies_on(device: &Device) -> Tensor<2> {
    static SENT: Mutex<Vec<(Device, Tensor<2>)>> = Mutex::new(Vec::new());
    let send = || Tensor::from_data(TensorData::new(noise_frequencies(), [1, FREQUENCIES]), device);
    if is_cpu(device) {
        return send();
    }
    let mut sent = SENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, frequencies)) = sent.iter().find(|(on, _)| on == device) {
        return frequencies.clone();
    }
    let frequencies = send();
    sent.push((device.clone(), frequencies.clone()));
    frequencies
}

/// Cosine and sine to float32's accuracy. Those of a graphics device may be wrong by 2^-11 (the
/// WebGPU shading language allows it, SwiftShader uses it), which is visible in the gradients of
/// the embedding.
fn cos_sin(t: Tensor<2>) -> [Tensor<2>; 2] {
    /// 2*pi in two parts: the first has few enough bits that its product with a small integer is
    /// exact.
    const TURN: [f64; 2] = [6.281_25, 0.001_935_307_179_586_4];
    let turns = (t.clone() * std::f64::consts::TAU.recip()).round();
    let half = (t - turns.clone() * TURN[0] - turns * TURN[1]) * 0.5;
    // Taylor's series of half the angle, |half| <= pi/2: the first term left out is below 6e-8.
    let square = half.clone() * half.clone();
    let series = |first: u32, terms: u32| {
        let factorial = |n: u32| (1..=n).map(f64::from).product::<f64>();
        let coefficient =
            |k: u32| if k.is_multiple_of(2) { 1.0 } else { -1.0 } / factorial(first + 2 * k);
        let start = square.zeros_like() + coefficient(terms - 1);
        (0..terms - 1).rev().fold(start, |sum, k| sum * square.clone() + coefficient(k))
    };
    let (sin, cos) = (series(1, 6) * half, series(0, 7));
    [sin.clone() * sin.clone() * -2.0 + 1.0, sin * cos * 2.0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_and_sine_are_accurate_over_the_angles_of_any_noise_level() {
        let angles: Vec<f32> = (-4000..=4000).map(|i| i as f32 * 0.01).collect();
        let tensor =
            Tensor::from_data(TensorData::new(angles.clone(), [1, angles.len()]), &Device::flex());
        let [cos, sin] = cos_sin(tensor).map(|t| t.into_data().try_to_vec::<f32>().unwrap());
        for (i, angle) in angles.iter().enumerate() {
            let (expected_sin, expected_cos) = f64::from(*angle).sin_cos();
            let error = (f64::from(cos[i]) - expected_cos)
                .abs()
                .max((f64::from(sin[i]) - expected_sin).abs());
            assert!(error < 1e-6, "{angle}: {error}");
        }
    }
}
