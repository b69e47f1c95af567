//! Samples of TIFF: numbers of any type, and the values of black and white.

use tiff::ColorType;
use tiff::decoder::DecodingResult;

use super::decode::DecodeError;
use super::raster::Samples;
use super::tiff_read::{PageAt, unsupported};

/// The type of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberKind {
    /// Unsigned integers of this many bits, up to 16: black is 0 and white the largest.
    Unsigned(u8),
    /// Other types: their range does not determine black and white.
    Wide(Wide),
}

/// Types whose range does not determine black and white.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wide {
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    F16,
    F32,
    F64,
}

impl Wide {
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::U32 => "32-bit",
            Self::U64 => "64-bit",
            Self::I8 => "signed 8-bit",
            Self::I16 => "signed 16-bit",
            Self::I32 => "signed 32-bit",
            Self::I64 => "signed 64-bit",
            Self::F16 => "16-bit float",
            Self::F32 => "32-bit float",
            Self::F64 => "64-bit float",
        }
    }
}

/// The values of black and white, where the type of the samples does not determine them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub kind: Wide,
    pub low: f64,
    pub high: f64,
    /// The value of an opaque pixel.
    pub opaque: f64,
}

impl Scale {
    /// The scale of floats from `low` to `high`.
    #[cfg(feature = "openexr")]
    pub fn float((low, high): (f64, f64)) -> Self {
        Self { kind: Wide::F32, low, high, opaque: 1.0 }
    }
}

/// A number with a useful number of digits, for messages.
pub(super) fn short(value: f64) -> String {
    if value == value.round() && value.abs() < 1e9 {
        return format!("{value}");
    }
    let digits = 4 - value.abs().log10().floor() as i32;
    if (0..=8).contains(&digits) {
        format!("{value:.0$}", digits as usize)
    } else {
        format!("{value:.4e}")
    }
}

/// Numbers of any type.
pub(super) struct Numbers(pub DecodingResult);

/// Applies the same expression to every type of numbers.
macro_rules! each_kind {
    ($numbers:expr, $samples:ident, $convert:ident => $body:expr) => {
        match $numbers {
            DecodingResult::U8($samples) => {
                let $convert = |v: u8| f64::from(v);
                $body
            }
            DecodingResult::U16($samples) => {
                let $convert = |v: u16| f64::from(v);
                $body
            }
            DecodingResult::U32($samples) => {
                let $convert = |v: u32| f64::from(v);
                $body
            }
            DecodingResult::U64($samples) => {
                let $convert = |v: u64| v as f64;
                $body
            }
            DecodingResult::I8($samples) => {
                let $convert = |v: i8| f64::from(v);
                $body
            }
            DecodingResult::I16($samples) => {
                let $convert = |v: i16| f64::from(v);
                $body
            }
            DecodingResult::I32($samples) => {
                let $convert = |v: i32| f64::from(v);
                $body
            }
            DecodingResult::I64($samples) => {
                let $convert = |v: i64| v as f64;
                $body
            }
            DecodingResult::F32($samples) => {
                let $convert = |v: f32| f64::from(v);
                $body
            }
            DecodingResult::F64($samples) => {
                let $convert = |v: f64| v;
                $body
            }
            DecodingResult::F16($samples) => {
                let $samples: Vec<f32> = $samples.into_iter().map(|v| v.to_f32()).collect();
                let $convert = |v: f32| f64::from(v);
                $body
            }
        }
    };
}

impl Numbers {
    /// Planes one after the other, interleaved pixel by pixel.
    pub fn interleaved(self, planes: usize, depth: usize) -> Self {
        fn interleave<T: Copy>(samples: Vec<T>, planes: usize, depth: usize) -> Vec<T> {
            let plane = samples.len() / planes;
            (0..plane)
                .flat_map(|at| (0..depth.min(planes)).map(move |c| c * plane + at))
                .map(|i| samples[i])
                .collect()
        }
        if planes < 2 {
            return self;
        }
        use DecodingResult::{F16, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64};
        Self(match self.0 {
            U8(v) => U8(interleave(v, planes, depth)),
            U16(v) => U16(interleave(v, planes, depth)),
            U32(v) => U32(interleave(v, planes, depth)),
            U64(v) => U64(interleave(v, planes, depth)),
            I8(v) => I8(interleave(v, planes, depth)),
            I16(v) => I16(interleave(v, planes, depth)),
            I32(v) => I32(interleave(v, planes, depth)),
            I64(v) => I64(interleave(v, planes, depth)),
            F16(v) => F16(interleave(v, planes, depth)),
            F32(v) => F32(interleave(v, planes, depth)),
            F64(v) => F64(interleave(v, planes, depth)),
        })
    }

    pub fn for_each(self, mut visit: impl FnMut(usize, f64)) {
        each_kind!(self.0, samples, convert => {
            samples.into_iter().enumerate().for_each(|(i, value)| visit(i, convert(value)));
        });
    }

    /// Converts the numbers to colours of one or three channels.
    pub fn colours(
        self,
        page: &PageAt,
        width: usize,
        (low, high, opaque): (f64, f64, f64),
    ) -> Result<(Samples, usize), DecodeError> {
        let channels = if matches!(page.color, ColorType::Gray(_) | ColorType::Multiband { .. }) {
            1
        } else {
            3
        };
        let samples = match (page.kind, self.0) {
            (NumberKind::Unsigned(bits @ (1 | 2 | 4)), DecodingResult::U8(rows)) => {
                return match page.color {
                    ColorType::Gray(_) => {
                        Ok((Samples::Eight(unpacked(&rows, bits, width)), channels))
                    }
                    _ => Err(unsupported(format!("colours of {bits} bits: save it with 8 or 16"))),
                };
            }
            (NumberKind::Unsigned(_), DecodingResult::U8(v)) => match page.color {
                ColorType::CMYK(_) => {
                    Samples::Eight(v.as_chunks().0.iter().flat_map(from_cmyk).collect())
                }
                ColorType::YCbCr(_) => {
                    Samples::Eight(v.as_chunks().0.iter().flat_map(from_ycbcr).collect())
                }
                _ => Samples::Eight(v),
            },
            (NumberKind::Unsigned(_), DecodingResult::U16(v)) => match page.color {
                ColorType::CMYK(_) => {
                    Samples::Sixteen(v.as_chunks().0.iter().flat_map(from_cmyk16).collect())
                }
                _ => Samples::Sixteen(v),
            },
            (NumberKind::Wide(_), numbers) => {
                let depth = channels + usize::from(page.opacity.is_some());
                let span = high - low;
                each_kind!(numbers, samples, convert => {
                    let scaled = |(i, value)| {
                        let value = convert(value);
                        let is_colour = i % depth < channels;
                        (if is_colour { (value - low) / span } else { value / opaque }) as f32
                    };
                    Samples::Float(samples.into_iter().enumerate().map(scaled).collect())
                })
            }
            _ => return Err(unsupported("samples that are not of the kind that the file says")),
        };
        Ok((samples, channels))
    }
}

/// Grey values of 1, 2 or 4 bits as 8. Each row begins with a new byte.
fn unpacked(rows: &[u8], bits: u8, width: usize) -> Vec<u8> {
    let bits = usize::from(bits);
    let row = (width * bits).div_ceil(8).max(1);
    let largest = (1u16 << bits) - 1;
    let value = |row: &[u8], x: usize| {
        let byte = u16::from(row[x * bits / 8]);
        ((byte >> (8 - bits - x * bits % 8) & largest) * 255 / largest) as u8
    };
    rows.chunks_exact(row).flat_map(|row| (0..width).map(move |x| value(row, x))).collect()
}

fn from_cmyk(&[c, m, y, k]: &[u8; 4]) -> [u8; 3] {
    let light = 1.0 - f32::from(k) / 255.0;
    [c, m, y].map(|ink| ((255.0 - f32::from(ink)) * light) as u8)
}

fn from_cmyk16(&[c, m, y, k]: &[u16; 4]) -> [u16; 3] {
    let light = 1.0 - f32::from(k) / 65535.0;
    [c, m, y].map(|ink| ((65535.0 - f32::from(ink)) * light) as u16)
}

/// Converts from JPEG's colours (ITU-R BT.601 at full range; JFIF 1.02).
fn from_ycbcr(&[y, cb, cr]: &[u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb].map(|v| v.round() as u8)
}
