//! The metadata of an image: colour profile, EXIF, XMP, resolution.

use super::decode::DecodeError;
use super::kind::{Format, Input};
use super::tags::{self, Reader, Tags};

/// Pixels for each unit of length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Density {
    pub x: f64,
    pub y: f64,
    pub unit: Unit,
}

/// A unit of length; without one only the ratio counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    None,
    Inch,
    Centimetre,
}

impl Density {
    fn turned(self) -> Self {
        Self { x: self.y, y: self.x, ..self }
    }

    /// Pixels for each inch.
    pub fn per_inch(self) -> (f64, f64) {
        let times = if self.unit == Unit::Centimetre { 2.54 } else { 1.0 };
        (self.x * times, self.y * times)
    }
}

/// The metadata of an image in a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    pub(super) icc: Option<Vec<u8>>,
    /// A block of EXIF, beginning with its byte order.
    pub(super) exif: Option<Vec<u8>>,
    pub(super) xmp: Option<Vec<u8>>,
    pub(super) density: Option<Density>,
    /// Chunks of PNG that describe colours, and texts: name and content.
    pub(super) chunks: Vec<([u8; 4], Vec<u8>)>,
    /// Segments of JPEG with IPTC and comments, markers and all.
    pub(super) segments: Vec<Vec<u8>>,
    /// Whether a PNG has EXIF as a text, which is not read.
    pub(super) old_exif: bool,
    /// The quality of JPEG's tables.
    pub(super) quality: Option<u8>,
    /// The compression of TIFF's pixels, by its numbering.
    pub(super) packing: Option<u16>,
    /// Whether it is a WebP with lossy compression.
    pub(super) lossy: bool,
}

/// Chunks of PNG that are copied unchanged.
const CHUNKS: [&[u8; 4]; 10] =
    [b"sRGB", b"gAMA", b"cHRM", b"cICP", b"mDCV", b"cLLI", b"tEXt", b"zTXt", b"iTXt", b"tIME"];
/// The names of texts that hold EXIF in hexadecimal digits.
const OLD_EXIF: [&[u8]; 2] = [b"Raw profile type exif\0", b"Raw profile type APP1\0"];
const XMP_IN_PNG: &[u8] = b"XML:com.adobe.xmp\0";
const PHOTOSHOP: &[u8] = b"Photoshop 3.0\0";
const XMP_IN_JPEG: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

impl Metadata {
    /// Collects the metadata that the decoder of a file found, and that in the file itself.
    pub(super) fn read(
        input: Input,
        bytes: &[u8],
        [icc, exif, xmp]: [Option<Vec<u8>>; 3],
    ) -> Result<Self, DecodeError> {
        let mut found = Self { icc, exif, xmp, ..Self::default() };
        match input {
            Input::Png => found.read_png(bytes),
            Input::Jpeg => found.read_jpeg(bytes),
            Input::WebP => found.lossy = is_lossy_webp(bytes),
            _ => {}
        }
        if let Some(exif) = &mut found.exif
            && let Some(rest) = exif.strip_prefix(b"Exif\0\0")
        {
            *exif = rest.to_vec();
        }
        found.exif = found.exif.filter(|exif| Reader::new(exif).is_some());
        found.density = found.density.or_else(|| {
            let reader = Reader::new(found.exif.as_ref()?)?;
            density(&Tags::read(&reader, reader.first)?)
        });
        Ok(found)
    }

    /// Reads the metadata in a directory of a TIFF file.
    #[cfg(feature = "codecs")]
    pub(super) fn from_tiff(reader: &Reader<'_>, at: u64) -> Self {
        let (all, _) = reader.directory(at).unwrap_or_default();
        let bytes = |id: u16| all.iter().find(|tag| tag.id == id).map(|tag| tag.data.clone());
        let found = Tags::read(reader, at).unwrap_or_default();
        let packing = all.iter().find(|tag| tag.id == 259);
        Self {
            icc: bytes(tags::ICC),
            exif: (!found.is_empty()).then(|| found.to_block()),
            xmp: bytes(tags::XMP),
            density: density(&found),
            packing: packing.and_then(|tag| tag.numbers().first().map(|n| *n as u16)),
            ..Self::default()
        }
    }

    fn read_png(&mut self, bytes: &[u8]) {
        for (name, content) in chunks(bytes) {
            match &name {
                b"pHYs" if content.len() == 9 => {
                    let number = |at: usize| {
                        f64::from(u32::from_be_bytes([
                            content[at],
                            content[at + 1],
                            content[at + 2],
                            content[at + 3],
                        ]))
                    };
                    let (x, y) = (number(0), number(4));
                    let (unit, by) =
                        if content[8] == 1 { (Unit::Centimetre, 0.01) } else { (Unit::None, 1.0) };
                    self.density =
                        (x > 0.0 && y > 0.0).then_some(Density { x: x * by, y: y * by, unit });
                }
                b"eXIf" => self.exif = Some(content.to_vec()),
                // XMP is kept separately, and EXIF in hexadecimal digits, as old programs wrote it,
                // would turn the image twice.
                b"iTXt" if content.starts_with(XMP_IN_PNG) => {}
                b"zTXt" | b"tEXt" if OLD_EXIF.iter().any(|old| content.starts_with(old)) => {
                    self.old_exif = true;
                }
                name if CHUNKS.contains(&name) => self.chunks.push((*name, content.to_vec())),
                _ => {}
            }
        }
    }

    fn read_jpeg(&mut self, bytes: &[u8]) {
        for (marker, segment) in segments(bytes) {
            let content = &segment[4..];
            match marker {
                0xe0 if content.starts_with(b"JFIF\0") && content.len() >= 12 => {
                    let number =
                        |at: usize| f64::from(u16::from_be_bytes([content[at], content[at + 1]]));
                    let (x, y) = (number(8), number(10));
                    let unit = match content[7] {
                        1 => Unit::Inch,
                        2 => Unit::Centimetre,
                        _ => Unit::None,
                    };
                    // Square pixels without a unit are no information.
                    let known = x > 0.0 && y > 0.0 && (unit != Unit::None || x != y);
                    self.density = known.then_some(Density { x, y, unit });
                }
                0xed | 0xfe => self.segments.push(segment.to_vec()),
                0xdb => self.quality = self.quality.or_else(|| quality(content)),
                _ => {}
            }
        }
    }

    /// Records that the image is upright now; `turned` if its sides were exchanged.
    pub(super) fn set_upright(&mut self, size: (usize, usize), turned: bool) {
        if let Some(exif) = &mut self.exif {
            tags::set_upright(exif, size);
        }
        if let Some(xmp) = &mut self.xmp {
            for before in [&b"tiff:Orientation=\""[..], b"tiff:Orientation='", b"tiff:Orientation>"]
            {
                let found = xmp.windows(before.len()).position(|part| part == before);
                let digit = found.and_then(|at| xmp.get_mut(at + before.len()));
                if let Some(digit) = digit.filter(|digit| digit.is_ascii_digit()) {
                    *digit = b'1';
                }
            }
        }
        if turned {
            self.density = self.density.map(Density::turned);
        }
    }

    /// The colours that the profile describes, by its header: `RGB `, `GRAY`, `CMYK`, ..
    pub(super) fn profile_of(&self) -> Option<&[u8]> {
        self.icc.as_deref()?.get(16..20)
    }

    /// The descriptive tags, for TIFF.
    pub(super) fn tags(&self) -> Tags {
        let read = || {
            let reader = Reader::new(self.exif.as_ref()?)?;
            Tags::read(&reader, reader.first)
        };
        read().unwrap_or_default()
    }

    /// Photoshop's blocks of a JPEG, among them IPTC, in one; and whether other segments are kept.
    pub(super) fn photoshop_and_comments(&self) -> (Vec<u8>, bool) {
        let parts = self.segments.iter().map(|s| s[4..].strip_prefix(PHOTOSHOP));
        let blocks = parts.clone().flatten().flatten().copied().collect();
        (blocks, parts.into_iter().any(|part| part.is_none()))
    }

    /// Photoshop's blocks or IPTC in the tags of a TIFF as segments of JPEG.
    pub(super) fn segments_of_tags(&self) -> Vec<Vec<u8>> {
        if !self.segments.is_empty() {
            return Vec::new();
        }
        let main = self.tags().main;
        let find = |id| main.iter().find(|tag| tag.id == id).map(|tag| tag.data.clone());
        let blocks = find(tags::PHOTOSHOP).or_else(|| {
            // A block: its mark, the number of IPTC, an empty name, the length.
            let iptc = find(tags::IPTC)?;
            let length = (iptc.len() as u32).to_be_bytes();
            let pad = vec![0; iptc.len() % 2];
            Some([&b"8BIM\x04\x04\0\0"[..], &length, &iptc, &pad].concat())
        });
        let segment = |part: &[u8]| {
            let length = (2 + PHOTOSHOP.len() + part.len()) as u16;
            [&[0xff, 0xed], &length.to_be_bytes()[..], PHOTOSHOP, part].concat()
        };
        blocks.iter().flat_map(|blocks| blocks.chunks(MOST_IN_JPEG).map(segment)).collect()
    }

    /// The quality of a JPEG to write: that of the file that was read, but high enough that the
    /// second compression is not seen.
    pub(super) fn quality_to_write(&self) -> Option<u8> {
        self.quality.map(|quality| quality.max(LOWEST_QUALITY))
    }

    /// The metadata that a file of a format cannot hold.
    pub(super) fn lost(&self, format: Format) -> Vec<&'static str> {
        let mut lost = Vec::new();
        let mut lose = |name, there: bool| lost.extend(there.then_some(name));
        let long = |block: &Option<Vec<u8>>| {
            block.as_ref().is_some_and(|block| block.len() > MOST_IN_JPEG)
        };
        match format {
            Format::Bmp | Format::Qoi | Format::Pnm | Format::Exr => {
                lose("colour profile", self.icc.is_some());
                lose("EXIF", self.exif.is_some());
                lose("XMP", self.xmp.is_some());
                lose("resolution", self.density.is_some());
            }
            Format::Jpeg => {
                lose("EXIF of more than 64 KiB", long(&self.exif));
                lose("XMP of more than 64 KiB", long(&self.xmp));
            }
            Format::WebP => {
                lose("resolution", self.density.is_some() && self.exif_lacks_resolution());
                lose("small size (WebP is written without loss)", self.lossy);
            }
            Format::Png | Format::Tiff => {}
        }
        let texts =
            self.chunks.iter().any(|(name, _)| name[1..] != *b"IME" && name.ends_with(b"Xt"));
        lose("EXIF as a text of PNG", self.old_exif && self.exif.is_none());
        lose("PNG texts", format != Format::Png && texts);
        let (blocks, comments) = self.photoshop_and_comments();
        let kept = format == Format::Jpeg || (format == Format::Tiff && !blocks.is_empty());
        lose("IPTC", !kept && !blocks.is_empty());
        lose("comment", format != Format::Jpeg && comments);
        lost
    }

    fn exif_lacks_resolution(&self) -> bool {
        self.exif.is_some() && self.tags().resolution().is_none()
    }

    /// The EXIF block for a format that cannot store the resolution otherwise.
    #[cfg(feature = "codecs")]
    pub(super) fn exif_with_resolution(&self) -> Option<Vec<u8>> {
        self.exif.clone().or_else(|| {
            let density = self.density?;
            let unit = match density.unit {
                Unit::None => 1,
                Unit::Inch => 2,
                Unit::Centimetre => 3,
            };
            let main = vec![
                tags::Tag::rational(tags::X_RESOLUTION, density.x),
                tags::Tag::rational(tags::Y_RESOLUTION, density.y),
                tags::Tag::short(tags::RESOLUTION_UNIT, unit),
            ];
            Some(Tags { main, ..Tags::default() }.to_block())
        })
    }
}

/// The lowest quality of JPEG that is written unless a lower one is asked for.
const LOWEST_QUALITY: u8 = 90;

/// A segment of JPEG holds 65,533 bytes, of which names take some.
pub(super) const MOST_IN_JPEG: usize = 65_400;

fn density(tags: &Tags) -> Option<Density> {
    let (x, y, unit) = tags.resolution()?;
    let unit = match unit {
        2 => Unit::Inch,
        3 => Unit::Centimetre,
        _ => Unit::None,
    };
    (unit != Unit::None || x != y).then_some(Density { x, y, unit })
}

/// The chunks of a PNG: name and content.
pub(super) fn chunks(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = bytes.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (name, after) = after.split_first_chunk::<4>()?;
        let (content, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        rest = after.get(4..)?;
        Some((*name, content))
    })
}

/// Whether a WebP's image has lossy compression: one of the chunks after the header is of that
/// kind.
fn is_lossy_webp(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(12..).unwrap_or_default();
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        if head.starts_with(b"VP8 ") {
            return true;
        }
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        rest = after.get(length.saturating_add(length % 2)..).unwrap_or_default();
    }
    false
}

/// The segments of a JPEG before its first scan: the marker's second byte, and the segment with
/// marker and length.
pub(super) fn segments(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes.get(2..).unwrap_or_default();
    std::iter::from_fn(move || {
        loop {
            match rest {
                [0xff, 0xff, ..] => rest = &rest[1..],
                [0xff, 0x01 | 0xd0..=0xd7, ..] => rest = &rest[2..],
                [0xff, marker, high, low, ..] if !matches!(marker, 0xd8..=0xda) => {
                    let length = 2 + usize::from(u16::from_be_bytes([*high, *low]));
                    let (segment, after) = rest.split_at_checked(length).filter(|_| length >= 4)?;
                    rest = after;
                    return Some((*marker, segment));
                }
                _ => return None,
            }
        }
    })
}

/// The XMP of a JPEG as a segment.
pub(super) fn xmp_segment(xmp: &[u8]) -> Vec<u8> {
    let length = (2 + XMP_IN_JPEG.len() + xmp.len()) as u16;
    [&[0xff, 0xe1], &length.to_be_bytes()[..], XMP_IN_JPEG, xmp].concat()
}

/// The XMP of a PNG as the content of a chunk iTXt: not compressed, no language.
pub(super) fn xmp_chunk(xmp: &[u8]) -> Vec<u8> {
    [XMP_IN_PNG, &[0, 0, 0, 0], xmp].concat()
}

/// The quality of libjpeg's scale whose table for brightness is nearest to the first of these
/// tables.
fn quality(tables: &[u8]) -> Option<u8> {
    // Only tables of 8 bits for component 0 are recognised.
    let (0, table) = (*tables.first()?, tables.get(1..65)?) else { return None };
    let sum: u32 = table.iter().map(|value| u32::from(*value)).sum();
    // The sum of the standard's table (ITU T.81, table K.1) is 3,688; quality q scales it to this
    // percentage.
    let at = |quality: u32| {
        let scale = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
        (3688 * scale / 100).max(64)
    };
    (1..=100u32).min_by_key(|quality| at(*quality).abs_diff(sum)).map(|quality| quality as u8)
}
