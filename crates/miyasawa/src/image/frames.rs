//! Animations: GIF, animated PNG and animated WebP, read image by image as they are shown, and
//! written as animated PNG and WebP.

use std::io::Cursor;
use std::sync::{Arc, Mutex, PoisonError};

use image::codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::metadata::LoopCount;
use image::{AnimationDecoder, DynamicImage, ImageDecoder as _};

use super::decode::{Bound, DecodeError, explained};
use super::kind::Input;
use super::metadata::{Metadata, chunks};
use super::raster::Raster;

/// The most images that are read of an animation.
const MOST: usize = 1 << 16;

/// How long an image is shown, in milliseconds: a fraction.
pub(super) type Delay = (u32, u32);

/// What is common to the images of an animation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Animation {
    /// How many images it has.
    pub images: usize,
    /// How often it is played; 0 is without end.
    pub plays: u32,
}

/// An animation that is read image by image, from the first on.
pub(super) struct Frames {
    bytes: Arc<[u8]>,
    input: Input,
    bound: Bound,
    pub animation: Animation,
    size: (u32, u32),
    /// The images that come next, and the index of the first of them.
    next: Mutex<Option<(usize, image::Frames<'static>)>>,
}

impl Frames {
    /// The animation in a file; nothing if it holds a single image.
    pub fn open(
        bytes: &Arc<[u8]>,
        input: Input,
        bound: Bound,
    ) -> Result<Option<Self>, DecodeError> {
        let images = match input {
            Input::Gif => gif_images(bytes).unwrap_or(1),
            Input::Png => chunks(bytes)
                .find(|(name, _)| name == b"acTL")
                .and_then(|(_, content)| content.first_chunk::<4>().copied())
                .map_or(1, |count| u32::from_be_bytes(count) as usize),
            Input::WebP => riff_chunks(bytes).filter(|(name, _)| *name == b"ANMF").count(),
            _ => 1,
        };
        if images < 2 {
            return Ok(None);
        }
        if images > MOST {
            let found = format!("{images} images, expected at most {MOST}");
            return Err(DecodeError::Unsupported { format: input.name(), found });
        }
        let (size, plays, frames) = start(Arc::clone(bytes), input, bound)?;
        let next = Mutex::new(Some((0, frames)));
        let animation = Animation { images, plays };
        Ok(Some(Self { bytes: Arc::clone(bytes), input, bound, animation, size, next }))
    }

    /// (width, height).
    pub fn size(&self) -> (u32, u32) {
        self.size
    }

    /// Decodes an image. In their order this takes one step for each, otherwise it begins anew.
    pub fn raster(&self, at: usize) -> Result<(Raster, Delay), DecodeError> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut index, mut frames) = match next.take() {
            Some((index, frames)) if index <= at => (index, frames),
            _ => (0, start(Arc::clone(&self.bytes), self.input, self.bound)?.2),
        };
        loop {
            let Some(frame) = frames.next() else {
                let found = format!("{index} images, where {} are declared", self.animation.images);
                return Err(DecodeError::Damaged { format: self.input.name(), found });
            };
            let frame = frame.map_err(explained(self.input.name()))?;
            index += 1;
            if index > at {
                let delay = frame.delay().numer_denom_ms();
                *next = Some((index, frames));
                return Ok((Raster::from(DynamicImage::from(frame.into_buffer())), delay));
            }
        }
    }
}

/// The size of an animation, how often it is played, and its images.
type Started = ((u32, u32), u32, image::Frames<'static>);

fn start(bytes: Arc<[u8]>, input: Input, bound: Bound) -> Result<Started, DecodeError> {
    let explain = explained(input.name());
    let from = Cursor::new(bytes);
    let plays = |count: LoopCount| match count {
        LoopCount::Infinite => 0,
        LoopCount::Finite(count) => count.get(),
    };
    Ok(match input {
        Input::Gif => {
            let mut decoder = GifDecoder::new(from).map_err(&explain)?;
            decoder.set_limits(bound.limits()).map_err(&explain)?;
            (decoder.dimensions(), plays(decoder.loop_count()), decoder.into_frames())
        }
        Input::WebP => {
            let mut decoder = WebPDecoder::new(from).map_err(&explain)?;
            decoder.set_limits(bound.limits()).map_err(&explain)?;
            (decoder.dimensions(), plays(decoder.loop_count()), decoder.into_frames())
        }
        _ => {
            let decoder = PngDecoder::with_limits(from, bound.limits()).map_err(&explain)?;
            let size = decoder.dimensions();
            let decoder = decoder.apng().map_err(&explain)?;
            (size, plays(decoder.loop_count()), decoder.into_frames())
        }
    })
}

/// The chunks of a WebP: name and content (RIFF, with lengths that are made even).
fn riff_chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut rest = bytes.get(12..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (name, after) = rest.split_first_chunk::<4>()?;
        let (length, after) = after.split_first_chunk::<4>()?;
        let (content, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = after.get(content.len() % 2..).unwrap_or_default();
        Some((name, content))
    })
}

/// How many images a GIF holds (GIF89a, section 12 and after).
fn gif_images(bytes: &[u8]) -> Option<usize> {
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let mut at = 13 + table(*bytes.get(10)?);
    let mut found = 0;
    loop {
        match bytes.get(at) {
            Some(0x2c) => {
                at += 11 + table(*bytes.get(at + 9)?);
                found += 1;
            }
            Some(0x21) => at += 2,
            _ => break,
        }
        // Blocks, each with its length before it, up to an empty one.
        while let Some(length) = bytes.get(at) {
            at += 1 + usize::from(*length);
            if *length == 0 {
                break;
            }
        }
    }
    Some(found)
}

/// A delay as PNG stores it: a fraction of a second of two 16-bit numbers.
pub(super) fn png_delay((numerator, denominator): Delay) -> (u16, u16) {
    let milliseconds = f64::from(numerator) / f64::from(denominator.max(1));
    if milliseconds.fract() == 0.0 && milliseconds % 10.0 == 0.0 {
        ((milliseconds / 10.0).min(65535.0) as u16, 100)
    } else if milliseconds <= 65535.0 {
        (milliseconds.round() as u16, 1000)
    } else {
        ((milliseconds / 1000.0).round().min(65535.0) as u16, 1)
    }
}

/// An animated WebP of images that were each encoded without loss (WebP container specification).
pub(super) struct WebPFrames {
    animation: Animation,
    size: (u32, u32),
    chunks: Vec<u8>,
}

impl WebPFrames {
    pub fn new(animation: Animation, size: (u32, u32)) -> Self {
        Self { animation, size, chunks: Vec::new() }
    }

    /// Adds an image: a WebP file of its own.
    pub fn add(&mut self, file: &[u8], delay: Delay) {
        let (width, height) = self.size;
        let milliseconds = (f64::from(delay.0) / f64::from(delay.1.max(1))).round();
        let mut content = [0, 0, width - 1, height - 1, milliseconds.min(16_777_215.0) as u32]
            .iter()
            .flat_map(|value| value.to_le_bytes()[..3].to_vec())
            .collect::<Vec<u8>>();
        // Not blended with the image before: every image is whole.
        content.push(2);
        for (name, chunk) in riff_chunks(file).filter(|(name, _)| *name == b"VP8L") {
            push_chunk(&mut content, name, chunk);
        }
        push_chunk(&mut self.chunks, b"ANMF", &content);
    }

    /// The file.
    pub fn finish(&self, metadata: &Metadata) -> Vec<u8> {
        let exif = metadata.exif_with_resolution();
        let blocks = [&metadata.icc, &exif, &metadata.xmp];
        let flags = blocks.iter().zip([0x20u8, 0x08, 0x04]);
        let flags =
            flags.filter(|(block, _)| block.is_some()).fold(0x12, |all, (_, flag)| all | flag);
        let (width, height) = self.size;
        let mut header = vec![flags, 0, 0, 0];
        header.extend_from_slice(&(width - 1).to_le_bytes()[..3]);
        header.extend_from_slice(&(height - 1).to_le_bytes()[..3]);
        let mut body = b"WEBP".to_vec();
        push_chunk(&mut body, b"VP8X", &header);
        let optional = |name: &[u8; 4], block: &Option<Vec<u8>>, body: &mut Vec<u8>| {
            block.iter().for_each(|block| push_chunk(body, name, block));
        };
        optional(b"ICCP", blocks[0], &mut body);
        let plays = self.animation.plays.min(65535) as u16;
        push_chunk(&mut body, b"ANIM", &[&[0; 4][..], &plays.to_le_bytes()].concat());
        body.extend_from_slice(&self.chunks);
        optional(b"EXIF", blocks[1], &mut body);
        optional(b"XMP ", blocks[2], &mut body);
        let mut file = Vec::new();
        push_chunk(&mut file, b"RIFF", &body);
        file
    }
}

fn push_chunk(to: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    to.extend_from_slice(name);
    to.extend_from_slice(&(content.len() as u32).to_le_bytes());
    to.extend_from_slice(content);
    to.extend(std::iter::repeat_n(0, content.len() % 2));
}
