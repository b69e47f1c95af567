//! Linear light: values in proportion to the light, as OpenEXR holds them and some profiles say.
//!
//! Networks are trained on display values, which are about a square root of the light. Linear
//! values are therefore converted before a network sees them, by the curve of sRGB (IEC 61966-2-1)
//! up to white and by the logarithm that continues its slope above white, divided by the curve's
//! value at the largest value of the file; what is written is converted back.

use super::Image;
use super::metadata::Metadata;

/// How it is known that values are linear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// By the colour profile.
    Profile,
    /// By a chunk of PNG.
    Chunk,
    /// By the format, which is OpenEXR.
    Format,
    /// By the user.
    Told,
}

/// The curve between linear light and the values of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Light {
    pub origin: Origin,
    /// The light of the values -1 and 1 as they are stored.
    low: f64,
    high: f64,
    /// The curve at the largest value, at least 1.
    peak: f64,
}

/// The slope of sRGB's curve at white.
const SLOPE: f64 = 1.055 / 2.4;

/// The display value of linear light, where white is 1.
pub(super) fn display(light: f64) -> f64 {
    let size = light.abs();
    let value = if size > 1.0 {
        1.0 + SLOPE * size.ln()
    } else if size > 0.003_130_8 {
        1.055 * size.powf(1.0 / 2.4) - 0.055
    } else {
        12.92 * size
    };
    value.copysign(light)
}

/// The linear light of a display value: the inverse of [`display`].
fn linear(value: f64) -> f64 {
    let size = value.abs();
    let light = if size > 1.0 {
        ((size - 1.0) / SLOPE).exp()
    } else if size > 12.92 * 0.003_130_8 {
        ((size + 0.055) / 1.055).powf(2.4)
    } else {
        size / 12.92
    };
    light.copysign(value)
}

impl Light {
    /// The curve of an image of stored values, whose -1 and 1 are `low` and `high` in units of
    /// white.
    pub fn new(origin: Origin, (low, high): (f64, f64), stored: &[f32]) -> Self {
        let largest = stored.iter().filter(|v| v.is_finite()).fold(-1.0f32, |m, v| m.max(*v));
        let largest = low + (f64::from(largest) + 1.0) / 2.0 * (high - low);
        Self { origin, low, high, peak: display(largest.max(1.0)) }
    }

    /// The curve of sRGB, to write an image that is not linear as linear light.
    #[cfg(feature = "openexr")]
    pub fn of_display() -> Self {
        Self { origin: Origin::Format, low: 0.0, high: 1.0, peak: 1.0 }
    }

    /// Stored values as a network sees them.
    pub fn to_display(self, values: &mut [f32]) {
        for value in values {
            let light = self.low + (f64::from(*value) + 1.0) / 2.0 * (self.high - self.low);
            *value = (2.0 * display(light) / self.peak - 1.0) as f32;
        }
    }

    /// The light of a value as a network sees it.
    pub fn light(self, value: f32) -> f64 {
        linear((f64::from(value) + 1.0) / 2.0 * self.peak)
    }

    /// An image as a network sees it as stored values.
    pub fn to_stored(self, image: &Image) -> Image {
        let stored =
            |v: &f32| (2.0 * (self.light(*v) - self.low) / (self.high - self.low) - 1.0) as f32;
        Image { values: image.values().iter().map(stored).collect(), ..*image }
    }

    /// An image as a network sees it as values of sRGB; what is brighter than white is white.
    pub fn to_srgb(self, image: &Image) -> Image {
        let srgb = |v: &f32| (2.0 * display(self.light(*v).min(1.0)) - 1.0) as f32;
        Image { values: image.values().iter().map(srgb).collect(), ..*image }
    }

    /// Whether values brighter than white occur.
    pub fn exceeds_white(self) -> bool {
        self.peak > 1.0
    }
}

/// Whether metadata say that values are linear, and where.
pub(super) fn origin(metadata: &Metadata) -> Option<Origin> {
    if let Some(profile) = &metadata.icc {
        return is_linear_profile(profile).then_some(Origin::Profile);
    }
    let chunk = |name: &[u8; 4]| {
        metadata.chunks.iter().find(|(found, _)| found == name).map(|(_, content)| content)
    };
    // The order of precedence of PNG, third edition, section 4.3; 8 is linear (ITU-T H.273).
    if let Some(cicp) = chunk(b"cICP") {
        return (cicp.get(1) == Some(&8)).then_some(Origin::Chunk);
    }
    let is_one = |gamma: &Vec<u8>| **gamma == 100_000u32.to_be_bytes();
    (chunk(b"sRGB").is_none() && chunk(b"gAMA").is_some_and(is_one)).then_some(Origin::Chunk)
}

/// Whether the curves of a profile (ICC.1:2022, sections 10.6 and 10.18) are straight lines.
fn is_linear_profile(profile: &[u8]) -> bool {
    let number = |at: usize| {
        let bytes = profile.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*bytes) as usize)
    };
    let curve = |name: &[u8; 4]| {
        let count = number(128)?.min(100);
        let at = (0..count).map(|i| 132 + 12 * i);
        let at = at.into_iter().find(|at| profile.get(*at..at + 4) == Some(name))?;
        let (from, length) = (number(at + 4)?, number(at + 8)?);
        profile.get(from..from.checked_add(length)?)
    };
    // A table of colours, which comes before the curves, is not a straight line.
    let tables = [b"A2B0", b"A2B1", b"D2B0"];
    if tables.into_iter().any(|name| curve(name).is_some()) {
        return false;
    }
    match profile.get(16..20) {
        Some(b"RGB ") => {
            [b"rTRC", b"gTRC", b"bTRC"].into_iter().all(|n| curve(n).is_some_and(is_line))
        }
        Some(b"GRAY") => curve(b"kTRC").is_some_and(is_line),
        _ => false,
    }
}

/// Whether a curve of a profile is a straight line.
fn is_line(curve: &[u8]) -> bool {
    let short = |at: usize| curve.get(at..at + 2).map(|b| u32::from(b[0]) << 8 | u32::from(b[1]));
    let word = |at: usize| Some(short(at)? << 16 | short(at + 2)?);
    match curve.get(..4) {
        Some(b"curv") => match word(8) {
            Some(0) => true,
            Some(1) => short(12) == Some(0x100),
            Some(count) if count <= 1 << 16 && curve.len() >= 12 + 2 * count as usize => {
                let last = f64::from(count - 1);
                (0..count).all(|i| {
                    let found = f64::from(short(12 + 2 * i as usize).unwrap_or(0)) / 65535.0;
                    (found - f64::from(i) / last).abs() < 1e-3
                })
            }
            _ => false,
        },
        // The exponent, a number of 16 bits after the point, is 1.
        Some(b"para") => short(8) == Some(0) && word(12) == Some(0x1_0000),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_has_an_inverse_and_no_step() {
        for light in [-3.0, -0.2, 0.0, 1e-4, 0.003_130_8, 0.18, 0.999, 1.0, 1.001, 60.0] {
            assert!((linear(display(light)) - light).abs() < 1e-6 * light.abs().max(1.0));
        }
        let slope = |at: f64| (display(at + 1e-5) - display(at - 1e-5)) / 2e-5;
        assert!((slope(0.99) - slope(1.01)).abs() < 0.01, "{} {}", slope(0.99), slope(1.01));
        assert!((display(1.0) - 1.0).abs() < 1e-12);
        // Of sRGB: a grey of 18% is 118 of 255.
        assert_eq!((display(0.18) * 255.0).round(), 118.0);
    }

    #[test]
    fn the_brightest_value_is_white_for_the_network_and_comes_back() {
        let stored = vec![-1.0, -0.5, 0.0, 1.0];
        let light = Light::new(Origin::Format, (0.0, 8.0), &stored);
        let mut seen = stored.clone();
        light.to_display(&mut seen);
        assert!((seen[3] - 1.0).abs() < 1e-6 && seen.is_sorted(), "{seen:?}");
        let image = Image::new((1, 2, 2), seen).unwrap();
        let back = light.to_stored(&image);
        assert!(back.values().iter().zip(&stored).all(|(a, b)| (a - b).abs() < 1e-5));
        assert_eq!(light.to_srgb(&image).values(), [-1.0, 1.0, 1.0, 1.0]);
        assert!(light.exceeds_white());
    }

    /// A profile with one curve for all colours.
    fn profile(curve: &[u8]) -> Vec<u8> {
        let mut profile = vec![0; 128];
        profile[16..20].copy_from_slice(b"RGB ");
        profile.extend(3u32.to_be_bytes());
        for name in [b"rTRC", b"gTRC", b"bTRC"] {
            profile.extend(name);
            profile.extend(168u32.to_be_bytes());
            profile.extend((curve.len() as u32).to_be_bytes());
        }
        profile.extend(curve);
        profile
    }

    #[test]
    fn straight_curves_are_recognised() {
        let curve = |values: &[u16]| {
            let mut curve = b"curv\0\0\0\0".to_vec();
            curve.extend((values.len() as u32).to_be_bytes());
            curve.extend(values.iter().flat_map(|v| v.to_be_bytes()));
            curve
        };
        let power =
            |exponent: u32| [&b"para\0\0\0\0\0\0\0\0"[..], &exponent.to_be_bytes()].concat();
        for (curve, expected) in [
            (curve(&[]), true),
            (curve(&[0x100]), true),
            (curve(&[0x233]), false),
            (curve(&[0, 0x4000, 0x7fff, 0xbfff, 0xffff]), true),
            (curve(&[0, 0x1000, 0x4000, 0x9000, 0xffff]), false),
            (power(0x1_0000), true),
            (power(0x2_3333), false),
            (b"mft2".to_vec(), false),
        ] {
            let whole = profile(&curve);
            assert_eq!(is_linear_profile(&whole), expected, "{curve:?}");
            for end in 0..whole.len() {
                let _ = is_linear_profile(&whole[..end]);
            }
        }
    }
}
