//! Display values and linear light, white balance and colour matrix.

use std::sync::LazyLock;

/// Steps of the tables: with linear interpolation their error is below 1e-6.
const STEPS: usize = 2048;

/// Linear light of a display value in [0, 1] (sRGB, IEC 61966-2-1).
pub(in crate::image) fn linear(value: f64) -> f64 {
    if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

/// The display value in [0, 1] of linear light (sRGB, IEC 61966-2-1).
pub(super) fn display(value: f64) -> f64 {
    if value <= 0.003_130_8 { 12.92 * value } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 }
}

fn table(entry: impl Fn(f64) -> f64) -> Vec<f32> {
    // One entry more than is read at 1, so that the last step has an end.
    (0..STEPS + 2).map(|i| entry(i as f64 / STEPS as f64) as f32).collect()
}

static LINEAR: LazyLock<Vec<f32>> = LazyLock::new(|| table(linear));
/// Over the square root of the light, where the curve has no steep part.
static DISPLAY: LazyLock<Vec<f32>> = LazyLock::new(|| table(|root| display(root * root)));

/// The table's value for an argument in [0, 1]; others are clipped, NaN becomes 0.
fn read(table: &[f32], at: f32) -> f32 {
    let at = at.clamp(0.0, 1.0) * STEPS as f32;
    // A cast sends NaN to 0.
    let i = at as usize;
    let part = if at.is_nan() { 0.0 } else { at - i as f32 };
    table[i] + part * (table[i + 1] - table[i])
}

/// [`linear`] of every value by a table; values outside [0, 1] are clipped.
pub(super) fn to_linear(values: &mut [f32]) {
    let table = &LINEAR[..];
    values.iter_mut().for_each(|value| *value = read(table, *value));
}

/// [`display`] of every value by a table; values outside [0, 1] are clipped.
pub(super) fn to_display(values: &mut [f32]) {
    let table = &DISPLAY[..];
    values.iter_mut().for_each(|value| *value = read(table, value.max(0.0).sqrt()));
}

/// From the camera's colours to the display's, or back: `x + strength*(x - mean)` for each pixel,
/// `mean` over the three channels. Planes of equal length, one after another.
///
/// It stands for a camera's colour matrix, whose rows sum to 1 and whose diagonal exceeds 1: the
/// colour filters overlap, and taking them apart adds noise. The inverse mixes colours, so that it
/// leaves [0, 1] nowhere.
pub(super) fn separate(planes: &mut [f32], strength: f32) {
    let size = planes.len() / 3;
    let (red, rest) = planes.split_at_mut(size);
    let (green, blue) = rest.split_at_mut(size);
    for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
        let mean = (*r + *g + *b) / 3.0;
        for value in [r, g, b] {
            *value += strength * (*value - mean);
        }
    }
}

/// The inverse of [`separate`].
pub(super) fn mix(planes: &mut [f32], strength: f32) {
    separate(planes, -strength / (1.0 + strength));
}

/// Multiplies the planes of red, green and blue.
pub(super) fn balance(planes: &mut [f32], gains: [f32; 3]) {
    let size = (planes.len() / 3).max(1);
    for (plane, gain) in planes.chunks_mut(size).zip(gains) {
        plane.iter_mut().for_each(|value| *value *= gain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_the_curves() {
        for i in 0..=10_000 {
            let value = f64::from(i) / 10_000.0;
            let [mut light, mut shown] = [[value as f32]; 2];
            to_linear(&mut light);
            to_display(&mut shown);
            assert!((f64::from(light[0]) - linear(value)).abs() < 1e-6, "{value}: {light:?}");
            assert!((f64::from(shown[0]) - display(value)).abs() < 2e-6, "{value}: {shown:?}");
        }
        let mut outside = [-1.0, 2.0, f32::NAN];
        to_linear(&mut outside);
        assert_eq!(outside, [0.0, 1.0, 0.0]);
    }

    #[test]
    fn colours_are_mixed_and_separated_again() {
        let planes = [1.0f32, 0.2, 0.0, 0.7, 0.5, 0.9];
        let mut mixed = planes;
        mix(&mut mixed, 0.5);
        assert!(mixed.iter().all(|value| (0.0..=1.0).contains(value)), "{mixed:?}");
        separate(&mut mixed, 0.5);
        assert!(planes.iter().zip(mixed).all(|(a, b)| (a - b).abs() < 1e-6), "{mixed:?}");
    }
}
