//! Tags of the directories that TIFF files and EXIF blocks are made of (TIFF 6.0, section 2; EXIF
//! 2.32, section 4.6).

// Tags by their numbers.
const ORIENTATION: u16 = 274;
pub(super) const X_RESOLUTION: u16 = 282;
pub(super) const Y_RESOLUTION: u16 = 283;
pub(super) const RESOLUTION_UNIT: u16 = 296;
pub(super) const XMP: u16 = 700;
#[cfg(feature = "codecs")]
pub(super) const ICC: u16 = 34675;
pub(super) const IPTC: u16 = 33723;
pub(super) const PHOTOSHOP: u16 = 34377;
pub(super) const EXIF: u16 = 34665;
pub(super) const GPS: u16 = 34853;
const INTEROPERABILITY: u16 = 40965;
const PIXEL_WIDTH: u16 = 40962;
const PIXEL_HEIGHT: u16 = 40963;

/// Tags of a TIFF directory that describe how its pixels are stored, or hold offsets in the file:
/// they are not copied to another file. (317 to 319, predictor, white point and primaries, are
/// distinguished below.)
const OF_THE_FILE: [std::ops::RangeInclusive<u16>; 12] = [
    254..=268,
    273..=281,
    284..=284,
    288..=293,
    317..=317,
    320..=347,
    512..=532,
    559..=559,
    32995..=32998,
    34675..=34675,
    37724..=37724,
    50740..=50740,
];

/// The longest value that is read, in bytes.
const LONGEST: u64 = 1 << 24;
/// The most tags of a directory.
const MOST: u64 = 4096;

/// A tag and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tag {
    /// Its identifier.
    pub id: u16,
    /// The type of its numbers, by TIFF's numbering.
    pub kind: u16,
    /// Its numbers, in the machine's byte order.
    pub data: Vec<u8>,
}

#[cfg(feature = "codecs")]
impl Tag {
    pub fn short(id: u16, value: u16) -> Self {
        Self { id, kind: 3, data: value.to_ne_bytes().to_vec() }
    }

    pub fn rational(id: u16, value: f64) -> Self {
        let (n, d) = fraction(value);
        Self { id, kind: 5, data: [n.to_ne_bytes(), d.to_ne_bytes()].concat() }
    }
}

impl Tag {
    /// Its integers.
    pub fn numbers(&self) -> Vec<u64> {
        let read = |bytes: &[u8]| match *bytes {
            [a] => u64::from(a),
            [a, b] => u64::from(u16::from_ne_bytes([a, b])),
            [a, b, c, d] => u64::from(u32::from_ne_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            _ => 0,
        };
        match self.kind {
            1 | 3 | 4 | 13 | 16 | 18 => self.data.chunks_exact(size(self.kind)).map(read).collect(),
            _ => Vec::new(),
        }
    }

    /// Its first fraction.
    fn ratio(&self) -> Option<f64> {
        let (5, [a, b, c, d, e, f, g, h]) = (self.kind, *self.data.first_chunk::<8>()?) else {
            return None;
        };
        let [n, d] = [[a, b, c, d], [e, f, g, h]].map(u32::from_ne_bytes);
        Some(f64::from(n) / f64::from(d)).filter(|x| x.is_finite() && *x > 0.0)
    }
}

/// A number as a fraction: exact for integers, to 1e-4 for others.
#[cfg(feature = "codecs")]
pub(super) fn fraction(value: f64) -> (u32, u32) {
    let integer = (value - value.round()).abs() < 1e-4 || value > 400_000.0;
    if integer { (value.round() as u32, 1) } else { ((value * 10_000.0).round() as u32, 10_000) }
}

/// The size of a number of a type in bytes: 1 for types without numbers.
fn size(kind: u16) -> usize {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16..=18 => 8,
        _ => 1,
    }
}

/// Reads numbers at offsets of a TIFF file or EXIF block.
#[derive(Clone, Copy)]
pub(super) struct Reader<'b> {
    bytes: &'b [u8],
    little: bool,
    big: bool,
    /// The offset of the first directory.
    pub first: u64,
}

impl<'b> Reader<'b> {
    pub fn new(bytes: &'b [u8]) -> Option<Self> {
        let little = match bytes.get(..2)? {
            b"II" => true,
            b"MM" => false,
            _ => return None,
        };
        let mut reader = Self { bytes, little, big: false, first: 0 };
        reader.big = match reader.number(2, 2)? {
            42 => false,
            43 => true,
            _ => return None,
        };
        reader.first = if reader.big { reader.number(8, 8)? } else { reader.number(4, 4)? };
        Some(reader)
    }

    fn number(&self, at: u64, size: usize) -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let bytes = self.bytes.get(at..at.checked_add(size)?)?;
        let next = |n: u64, b: &u8| n << 8 | u64::from(*b);
        Some(if self.little {
            bytes.iter().rev().fold(0, next)
        } else {
            bytes.iter().fold(0, next)
        })
    }

    /// The offset of a directory's tags, their number, and the length of each.
    fn layout(&self, at: u64) -> Option<(u64, u64, u64)> {
        let (head, each) = if self.big { (8, 20) } else { (2, 12) };
        let count = self.number(at, head as usize)?;
        (count <= MOST).then_some((at + head, count, each))
    }

    /// The tags of the directory at an offset, except those whose values lie outside, and the
    /// offset of the next directory (0: none).
    pub fn directory(&self, at: u64) -> Option<(Vec<Tag>, u64)> {
        let (begin, count, each) = self.layout(at)?;
        let word = if self.big { 8 } else { 4 };
        let tag = |i: u64| {
            let at = begin + i * each;
            let (id, kind) = (self.number(at, 2)? as u16, self.number(at + 2, 2)? as u16);
            let length = self
                .number(at + 4, word)?
                .checked_mul(size(kind) as u64)
                .filter(|n| *n <= LONGEST)?;
            let inline = at + 4 + word as u64;
            let from = if length <= word as u64 { inline } else { self.number(inline, word)? };
            let from = usize::try_from(from).ok()?;
            let mut data = self.bytes.get(from..from.checked_add(length as usize)?)?.to_vec();
            // A fraction is two numbers of four bytes.
            let unit = if matches!(kind, 5 | 10) { 4 } else { size(kind) };
            if self.little != cfg!(target_endian = "little") {
                data.chunks_exact_mut(unit).for_each(<[u8]>::reverse);
            }
            Some(Tag { id, kind, data })
        };
        let tags = (0..count).filter_map(tag).collect();
        Some((tags, self.number(begin + count * each, word).unwrap_or(0)))
    }

    /// The offset of a tag's value where it is stored in the tag itself, in a directory that is not
    /// of the big kind.
    fn inline(&self, at: u64, id: u16) -> Option<(usize, u16)> {
        let (begin, count, each) = self.layout(at).filter(|_| !self.big)?;
        let at = (0..count)
            .map(|i| begin + i * each)
            .find(|at| self.number(*at, 2) == Some(id.into()))?;
        Some((usize::try_from(at + 8).ok()?, self.number(at + 2, 2)? as u16))
    }
}

/// An image's descriptive tags: those of TIFF, those of EXIF, and those of the location where it
/// was taken.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tags {
    pub main: Vec<Tag>,
    pub exif: Vec<Tag>,
    pub gps: Vec<Tag>,
}

impl Tags {
    /// The tags of the directory at `at`, without those that describe how pixels are stored.
    pub fn read(reader: &Reader<'_>, at: u64) -> Option<Self> {
        let (mut main, _) = reader.directory(at)?;
        let below = |id: u16| {
            let at =
                main.iter().find(|tag| tag.id == id).and_then(|tag| tag.numbers().first().copied());
            at.and_then(|at| reader.directory(at)).map(|(tags, _)| tags).unwrap_or_default()
        };
        let (mut exif, gps) = (below(EXIF), below(GPS));
        exif.retain(|tag| tag.id != INTEROPERABILITY);
        let kept = |tag: &Tag| {
            let resolution = matches!(tag.id, X_RESOLUTION | Y_RESOLUTION | RESOLUTION_UNIT);
            let stored = OF_THE_FILE.iter().any(|range| range.contains(&tag.id));
            !matches!(tag.id, EXIF | GPS | XMP) && tag.kind != 13 && (resolution || !stored)
        };
        main.retain(kept);
        Some(Self { main, exif, gps })
    }

    #[cfg(feature = "codecs")]
    pub fn is_empty(&self) -> bool {
        let Self { main, exif, gps } = self;
        main.is_empty() && exif.is_empty() && gps.is_empty()
    }

    /// Pixels along x and y for each unit, and the unit as TIFF counts them: 1 none, 2 inches, 3
    /// centimetres.
    pub fn resolution(&self) -> Option<(f64, f64, u64)> {
        let find = |id: u16| self.main.iter().find(|tag| tag.id == id);
        let x = find(X_RESOLUTION)?.ratio()?;
        let y = find(Y_RESOLUTION).and_then(Tag::ratio).unwrap_or(x);
        let unit =
            find(RESOLUTION_UNIT).and_then(|tag| tag.numbers().first().copied()).unwrap_or(2);
        Some((x, y, unit))
    }

    /// Builds an EXIF block of the tags.
    #[cfg(feature = "codecs")]
    pub fn to_block(&self) -> Vec<u8> {
        let order = if cfg!(target_endian = "little") { b"II" } else { b"MM" };
        let mut block = [&order[..], &42u16.to_ne_bytes(), &8u32.to_ne_bytes()].concat();
        let below = [(EXIF, &self.exif), (GPS, &self.gps)];
        let below: Vec<_> = below.into_iter().filter(|(_, tags)| !tags.is_empty()).collect();
        let mut main = self.main.clone();
        main.extend(below.iter().map(|(id, _)| Tag { id: *id, kind: 4, data: vec![0; 4] }));
        main.sort_by_key(|tag| tag.id);
        append(&mut block, &main);
        for (id, tags) in below {
            let at = block.len() as u32;
            append(&mut block, tags);
            let slot = Reader::new(&block).and_then(|reader| reader.inline(reader.first, id));
            if let Some((slot, _)) = slot {
                block[slot..slot + 4].copy_from_slice(&at.to_ne_bytes());
            }
        }
        block
    }
}

/// Appends a directory, followed by its values.
#[cfg(feature = "codecs")]
fn append(block: &mut Vec<u8>, tags: &[Tag]) {
    let mut values = Vec::new();
    let values_at = block.len() + 2 + 12 * tags.len() + 4;
    block.extend((tags.len() as u16).to_ne_bytes());
    for tag in tags {
        block.extend(tag.id.to_ne_bytes());
        block.extend(tag.kind.to_ne_bytes());
        block.extend(((tag.data.len() / size(tag.kind)) as u32).to_ne_bytes());
        if tag.data.len() <= 4 {
            block.extend(&tag.data);
            block.extend(std::iter::repeat_n(0, 4 - tag.data.len()));
        } else {
            block.extend(((values_at + values.len()) as u32).to_ne_bytes());
            values.extend(&tag.data);
            values.extend(std::iter::repeat_n(0, tag.data.len() % 2));
        }
    }
    block.extend([0; 4]);
    block.extend(values);
}

/// Changes an EXIF block in place to describe an upright image of (width, height). Makers' notes,
/// whose offsets count from the beginning of the block, stay readable. The thumbnail, which shows
/// the image as it was, is removed.
pub(super) fn set_upright(block: &mut [u8], (width, height): (usize, usize)) {
    let Some(reader) = Reader::new(block) else { return };
    let little = reader.little;
    let mut changes: Vec<(usize, u16, u32)> = Vec::new();
    let mut change = |directory: u64, id: u16, value: usize| {
        let found = reader.inline(directory, id).filter(|(_, kind)| matches!(kind, 3 | 4));
        changes.extend(found.map(|(at, kind)| (at, kind, value as u32)));
    };
    change(reader.first, ORIENTATION, 1);
    if let Some((at, _)) = reader.inline(reader.first, EXIF)
        && let Some(exif) = reader.number(at as u64, 4)
    {
        change(exif, PIXEL_WIDTH, width);
        change(exif, PIXEL_HEIGHT, height);
    }
    if let Some((begin, count, each)) = reader.layout(reader.first).filter(|_| !reader.big) {
        changes.push(((begin + count * each) as usize, 4, 0));
    }
    for (at, kind, value) in changes {
        let bytes = value.to_le_bytes();
        let length = if kind == 3 { 2 } else { 4 };
        if let Some(slot) = block.get_mut(at..at + length) {
            slot.copy_from_slice(&bytes[..length]);
            if !little {
                slot.reverse();
            }
        }
    }
}

#[cfg(all(test, feature = "codecs"))]
mod tests {
    use super::*;

    fn tags() -> Tags {
        let text = |id, text: &[u8]| Tag { id, kind: 2, data: text.to_vec() };
        let long = |id, value: u32| Tag { id, kind: 4, data: value.to_ne_bytes().to_vec() };
        Tags {
            main: vec![
                text(271, b"TestCam\0"),
                Tag::short(ORIENTATION, 6),
                Tag::rational(X_RESOLUTION, 300.0),
            ],
            exif: vec![
                text(36867, b"2024:01:02 03:04:05\0"),
                long(PIXEL_WIDTH, 48),
                long(PIXEL_HEIGHT, 32),
            ],
            gps: vec![text(1, b"N\0")],
        }
    }

    #[test]
    fn a_block_is_read_back() {
        let block = tags().to_block();
        let reader = Reader::new(&block).unwrap();
        let found = Tags::read(&reader, reader.first).unwrap();
        // The orientation belongs to the pixels of the file.
        let expected =
            Tags { main: vec![tags().main[0].clone(), tags().main[2].clone()], ..tags() };
        assert_eq!(found, expected);
        assert_eq!(found.resolution(), Some((300.0, 300.0, 2)));
        for length in 0..block.len() {
            if let Some(reader) = Reader::new(&block[..length]) {
                let _ = Tags::read(&reader, reader.first);
            }
            set_upright(&mut block[..length].to_vec(), (1, 1));
        }
    }

    #[test]
    fn a_block_is_set_upright_in_place() {
        let mut block = tags().to_block();
        let before = block.clone();
        set_upright(&mut block, (32, 48));
        let reader = Reader::new(&block).unwrap();
        let (main, next) = reader.directory(reader.first).unwrap();
        assert_eq!((main[1].numbers(), next), (vec![1], 0));
        let exif = Tags::read(&reader, reader.first).unwrap().exif;
        assert_eq!((exif[1].numbers(), exif[2].numbers()), (vec![32], vec![48]));
        assert_eq!(block.len(), before.len());
        // The other byte order.
        let mut other =
            b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\x07".to_vec();
        set_upright(&mut other, (1, 1));
        assert_eq!(&other[18..], b"\0\x01\0\0\0\0\0\0");
    }
}
