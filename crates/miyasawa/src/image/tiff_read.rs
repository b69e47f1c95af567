//! TIFF files as cameras, scanners and microscopes write them: pages, and samples of every kind.

use std::collections::HashSet;
use std::io::Cursor;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};

use super::decode::{Bound, DecodeError, one_line};
use super::metadata::Metadata;
use super::numbers::{NumberKind, Numbers, Scale, Wide, short};
#[cfg(feature = "data")]
use super::raster::Samples;
use super::raster::{Opacity, Raster};
use super::refused::RAW;
use super::tags::{Reader, Tag};

// Tags by their numbers.
const SUBFILE: u16 = 254;
const OLD_SUBFILE: u16 = 255;
const PHOTOMETRIC: u16 = 262;
const SUB_DIRECTORIES: u16 = 330;
const EXTRA_SAMPLES: u16 = 338;
const DNG_VERSION: u16 = 50706;

/// The most pages that are read.
const MOST_PAGES: usize = 1 << 16;
/// The most bytes of all pages, unpacked: the size limit of a TIFF file.
const MOST_BYTES: u64 = 4_000_000_000;

/// A page.
#[derive(Debug, Clone)]
pub(super) struct PageAt {
    /// Its index in the chain of directories.
    index: usize,
    at: u64,
    pub kind: NumberKind,
    pub color: ColorType,
    pub opacity: Option<Opacity>,
    orientation: u8,
}

/// The decoder of a file's bytes.
type Open = Decoder<Cursor<Arc<[u8]>>>;

/// A TIFF file, classic or big.
pub(super) struct TiffFile {
    bytes: Arc<[u8]>,
    /// The decoder, which remembers the offsets of pages.
    decoder: Mutex<Open>,
    pages: Vec<PageAt>,
    /// The scale of all pages, unless the type of their samples determines it.
    scale: Option<Scale>,
    /// Notes for the user.
    notes: Vec<String>,
}

pub(super) fn unsupported(found: impl Into<String>) -> DecodeError {
    DecodeError::Unsupported { format: "TIFF", found: found.into() }
}

fn explained(error: tiff::TiffError) -> DecodeError {
    match error {
        tiff::TiffError::UnsupportedError(e) => unsupported(one_line(e)),
        tiff::TiffError::LimitsExceeded => unsupported("it takes more memory than an image may"),
        e => DecodeError::Damaged { format: "TIFF", found: one_line(e) },
    }
}

impl TiffFile {
    /// Reads the directories of a file's pages.
    pub fn open(bytes: Arc<[u8]>, bound: Bound) -> Result<Self, DecodeError> {
        let damaged =
            |found: &str| DecodeError::Damaged { format: "TIFF", found: found.to_owned() };
        let reader = Reader::new(&bytes).ok_or_else(|| damaged("a header that ends too early"))?;
        if is_raw(&reader) {
            return Err(DecodeError::NotAImage(RAW.to_owned()));
        }
        let mut limits = Limits::default();
        limits.decoding_buffer_size = usize::try_from(16 * bound.pixels).unwrap_or(usize::MAX);
        limits.intermediate_buffer_size = limits.decoding_buffer_size;
        limits.ifd_value_size = 1 << 28;
        let mut decoder =
            Decoder::new(Cursor::new(Arc::clone(&bytes))).map_err(explained)?.with_limits(limits);
        let (mut pages, mut notes, mut small, mut total) = (Vec::new(), Vec::new(), 0, 0u64);
        let (mut at, mut seen) = (reader.first, HashSet::new());
        for index in 0.. {
            if at == 0 || !seen.insert(at) {
                break;
            }
            if index == MOST_PAGES {
                return Err(unsupported(format!("more than {MOST_PAGES} pages: split the file")));
            }
            let Some((all, next)) = reader.directory(at) else { break };
            // Thumbnails, smaller copies and masks are not pages.
            let subfile = first_number(&all, SUBFILE).unwrap_or(0) & 5 != 0;
            if index > 0 && (subfile || first_number(&all, OLD_SUBFILE) == Some(2)) {
                small += 1;
            } else {
                match page(&mut decoder, index, at, &all, bound) {
                    Ok((page, bytes)) => {
                        total = total.saturating_add(bytes);
                        pages.push(page);
                    }
                    Err(error) if index == 0 => return Err(error),
                    Err(error) => {
                        notes.push(format!("page {} is left out: {}", index + 1, one_line(error)));
                    }
                }
            }
            at = next;
        }
        if pages.is_empty() {
            return Err(damaged("no page"));
        }
        let most = MOST_BYTES.min(bound.pixels * 16);
        if total > most {
            let found =
                format!("{} pages of {total} bytes together, expected at most {most}", pages.len());
            return Err(unsupported(format!("{found}: split the file")));
        }
        if small > 0 {
            notes.push(format!("smaller copies or masks of its pages are left out: {small}"));
        }
        let mut file = Self { bytes, decoder: Mutex::new(decoder), pages, scale: None, notes };
        file.find_scale()?;
        Ok(file)
    }

    /// Takes the notes for the user.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The scale of all pages, unless the type of their samples determines it.
    pub fn scale(&self) -> Option<Scale> {
        self.scale
    }

    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// The metadata of a page.
    pub fn metadata(&self, page: usize) -> Metadata {
        let found = Reader::new(&self.bytes)
            .map(|reader| Metadata::from_tiff(&reader, self.pages[page].at));
        found.unwrap_or_default()
    }

    /// Finds the range of all samples where their type does not determine black and white: one
    /// scale for all pages, so that noise is equally strong in each.
    fn find_scale(&mut self) -> Result<(), DecodeError> {
        let wide =
            |page: &PageAt| if let NumberKind::Wide(kind) = page.kind { Some(kind) } else { None };
        let Some(kind) = self.pages.iter().find_map(wide) else { return Ok(()) };
        let (mut low, mut high, mut opaque, mut missing) =
            (f64::INFINITY, f64::NEG_INFINITY, 1.0f64, 0usize);
        for page in 0..self.pages.len() {
            if wide(&self.pages[page]).is_none() {
                continue;
            }
            let (samples, depth) = self.numbers(page)?;
            let channels = depth - usize::from(self.pages[page].opacity.is_some());
            samples.for_each(|i, value| {
                if i % depth >= channels {
                    opaque = opaque.max(value);
                } else if value.is_finite() {
                    (low, high) = (low.min(value), high.max(value));
                } else {
                    missing += 1;
                }
            });
        }
        if missing > 0 {
            self.notes.push(format!(
                "{missing} values that are not finite (NaN or infinite) stay as they are"
            ));
        }
        if low > high {
            return Err(unsupported(format!("{} samples without a finite value", kind.name())));
        }
        if !(kind.is_float() && low >= 0.0 && high <= 1.0) {
            let found = (low, high);
            low = low.min(0.0);
            high = if high > low { high } else { low + 1.0 };
            let half = (high - low) / 2.0;
            self.notes.push(format!(
                "{} samples from {} to {}: black is taken as {}, white as {}, so that a noise \
                 level of 1 is {} of the file's units",
                kind.name(),
                short(found.0),
                short(found.1),
                short(low),
                short(high),
                short(half),
            ));
        } else {
            (low, high) = (0.0, 1.0);
        }
        self.scale = Some(Scale { kind, low, high, opaque });
        Ok(())
    }

    /// Decodes a page's pixels; samples of a wide type are scaled to [0, 1].
    pub fn raster(&self, page: usize) -> Result<Raster, DecodeError> {
        let at = &self.pages[page];
        let (samples, _) = self.numbers(page)?;
        let (low, high) = self.scale.map_or((0.0, 1.0), |scale| (scale.low, scale.high));
        let opaque = self.scale.map_or(1.0, |scale| scale.opaque);
        let (width, height) = self.size(page)?;
        let (samples, channels) = samples.colours(at, width, (low, high, opaque))?;
        let raster =
            Raster { channels, opacity: at.opacity, height, width, samples, turned: false };
        Ok(raster.upright(at.orientation))
    }

    /// Decodes a page's pixels where a scale cannot be reported.
    ///
    /// # Errors
    /// If the page needs one.
    #[cfg(feature = "data")]
    pub fn unscaled(&self, page: usize) -> Result<Raster, DecodeError> {
        if let Some(Scale { kind, low, high, .. }) = self.scale
            && !(kind.is_float() && low == 0.0 && high == 1.0)
        {
            let found =
                format!("{} samples up to {}, whose white is not known", kind.name(), short(high));
            return Err(unsupported(format!(
                "{found}: rescale it to 8 or 16 bits, or to floats from 0 to 1"
            )));
        }
        let mut raster = self.raster(page)?;
        if let Samples::Float(samples) = &raster.samples {
            // As with 16 bits: values that are not finite become black.
            let sixteen = samples.iter().map(|v| (v * 65535.0).round() as u16).collect();
            raster.samples = Samples::Sixteen(sixteen);
        }
        Ok(raster)
    }

    fn seek(&self, page: usize) -> Result<MutexGuard<'_, Open>, DecodeError> {
        let mut decoder = self.decoder.lock().unwrap_or_else(PoisonError::into_inner);
        decoder.seek_to_image(self.pages[page].index).map_err(explained)?;
        Ok(decoder)
    }

    /// (width, height) of a page as it is stored.
    pub fn size(&self, page: usize) -> Result<(usize, usize), DecodeError> {
        let (width, height) = self.seek(page)?.dimensions().map_err(explained)?;
        Ok((width as usize, height as usize))
    }

    /// A page's samples, in rows of pixels, and the number of samples of a pixel.
    fn numbers(&self, page: usize) -> Result<(Numbers, usize), DecodeError> {
        let mut decoder = self.seek(page)?;
        let mut result = DecodingResult::U8(Vec::new());
        let layout = decoder.read_image_to_buffer(&mut result).map_err(explained)?;
        if result.as_buffer(0).as_bytes().len() < layout.complete_len {
            return Err(unsupported("it takes more memory than an image may"));
        }
        let depth = usize::from(self.pages[page].color.num_samples());
        Ok((Numbers(result).interleaved(layout.planes, depth), depth))
    }
}

/// Checks the directory of a page; also returns the size of its pixels in bytes.
fn page(
    decoder: &mut Open,
    index: usize,
    at: u64,
    all: &[Tag],
    bound: Bound,
) -> Result<(PageAt, u64), DecodeError> {
    if first_number(all, PHOTOMETRIC) == Some(3) {
        return Err(unsupported("colours of a palette: save it as RGB"));
    }
    decoder.seek_to_image(index).map_err(explained)?;
    let (width, height) = decoder.dimensions().map_err(explained)?;
    bound.check_size("TIFF", (width, height))?;
    let color = decoder.colortype().map_err(explained)?;
    let alpha = match first_number(all, EXTRA_SAMPLES) {
        Some(1) => Some(Opacity::Premultiplied),
        // Some programs write alpha without declaring it.
        Some(0 | 2) | None => Some(Opacity::Straight),
        _ => None,
    };
    let extra = first_number(all, EXTRA_SAMPLES);
    let opacity = match color {
        ColorType::Gray(_) | ColorType::RGB(_) | ColorType::CMYK(8 | 16) | ColorType::YCbCr(8) => {
            None
        }
        ColorType::RGBA(_) => alpha,
        ColorType::Multiband { num_samples: 2, .. } if matches!(extra, Some(1 | 2)) => alpha,
        ColorType::Multiband { num_samples, .. } => {
            return Err(unsupported(format!("{num_samples} channels, expected grey, RGB or CMYK")));
        }
        other => {
            return Err(unsupported(format!(
                "colours of the kind {other:?}, expected grey or RGB"
            )));
        }
    };
    let format = first_number(all, 339).unwrap_or(1);
    let kind = match (format, color.bit_depth()) {
        (1 | 4, bits @ (1 | 2 | 4 | 8 | 16)) => NumberKind::Unsigned(bits),
        (1 | 4, 32) => NumberKind::Wide(Wide::U32),
        (1 | 4, 64) => NumberKind::Wide(Wide::U64),
        (2, 8) => NumberKind::Wide(Wide::I8),
        (2, 16) => NumberKind::Wide(Wide::I16),
        (2, 32) => NumberKind::Wide(Wide::I32),
        (2, 64) => NumberKind::Wide(Wide::I64),
        (3, 16) => NumberKind::Wide(Wide::F16),
        (3, 32) => NumberKind::Wide(Wide::F32),
        (3, 64) => NumberKind::Wide(Wide::F64),
        (5 | 6, _) => return Err(unsupported("complex numbers")),
        (_, bits) => {
            return Err(unsupported(format!("samples of {bits} bits: save it with 8 or 16")));
        }
    };
    if matches!(color, ColorType::CMYK(_) | ColorType::YCbCr(_))
        && matches!(kind, NumberKind::Wide(_))
    {
        return Err(unsupported(format!(
            "colours of the kind {color:?} with samples that are no 8 or 16 bits"
        )));
    }
    let orientation = first_number(all, 274).unwrap_or(1) as u8;
    let bytes = u64::from(width) * u64::from(height) * u64::from(color.num_samples());
    let bytes = bytes * u64::from(color.bit_depth()).div_ceil(8);
    Ok((PageAt { index, at, kind, color, opacity, orientation }, bytes))
}

fn first_number(all: &[Tag], id: u16) -> Option<u64> {
    all.iter().find(|tag| tag.id == id)?.numbers().first().copied()
}

/// Whether the file is a camera's raw file in TIFF's format: one of its images holds a sensor's
/// values.
fn is_raw(reader: &Reader<'_>) -> bool {
    const SENSOR: [u64; 2] = [32803, 34892];
    let Some((main, _)) = reader.directory(reader.first) else { return false };
    let sensor =
        |all: &[Tag]| first_number(all, PHOTOMETRIC).is_some_and(|kind| SENSOR.contains(&kind));
    let below = main.iter().filter(|tag| tag.id == SUB_DIRECTORIES).flat_map(Tag::numbers).take(16);
    first_number(&main, DNG_VERSION).is_some()
        || sensor(&main)
        || below.filter_map(|at| reader.directory(at)).any(|(all, _)| sensor(&all))
}
