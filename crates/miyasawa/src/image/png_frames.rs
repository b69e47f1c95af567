//! Animated PNG (PNG, third edition, section 11.3.7).

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use png::{BlendOp, DisposeOp, EncodingError};

use super::encodable::Encodable;
use super::encode::{png_header, png_samples};
use super::frames::{Animation, Delay, png_delay};

/// The bytes of a file that is being written, shared with the encoder.
#[derive(Clone, Default)]
struct Bytes(Rc<RefCell<Vec<u8>>>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An animated PNG that is being written; every image is whole.
pub(super) struct PngFrames {
    writer: png::Writer<Bytes>,
    bytes: Bytes,
}

impl PngFrames {
    /// Begins a file whose images are as `content`.
    pub fn new(content: &Encodable<'_>, animation: Animation) -> Result<Self, EncodingError> {
        let bytes = Bytes::default();
        let images = u32::try_from(animation.images).unwrap_or(u32::MAX);
        let writer = png_header(content, bytes.clone(), |encoder| {
            encoder.set_animated(images, animation.plays)?;
            encoder.set_blend_op(BlendOp::Source)?;
            encoder.set_dispose_op(DisposeOp::None)
        })?;
        Ok(Self { writer, bytes })
    }

    pub fn add(&mut self, content: &Encodable<'_>, delay: Delay) -> Result<(), EncodingError> {
        let (numerator, denominator) = png_delay(delay);
        self.writer.set_frame_delay(numerator, denominator)?;
        self.writer.write_image_data(&png_samples(content))
    }

    /// The file.
    pub fn finish(self) -> Vec<u8> {
        // The end is written here; where images are missing it is an error, and there is no file.
        drop(self.writer);
        self.bytes.0.take()
    }
}
