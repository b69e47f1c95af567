//! What stands for TIFF in a build without the feature `codecs`: no file is ever opened.

use std::sync::Arc;

use super::decode::{Bound, DecodeError};
use super::metadata::Metadata;
use super::raster::Raster;

/// The scale of a TIFF's samples, of which there are none.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scale {}

/// A TIFF file, of which there are none.
pub(super) enum TiffFile {}

impl TiffFile {
    /// Fails, and names the feature that this build lacks.
    pub fn open(_bytes: Arc<[u8]>, _bound: Bound) -> Result<Self, DecodeError> {
        Err(DecodeError::NotBuilt { format: "TIFF", feature: "codecs" })
    }

    pub fn pages(&self) -> usize {
        match *self {}
    }

    pub fn take_notes(&mut self) -> Vec<String> {
        match *self {}
    }

    pub fn scale(&self) -> Option<Scale> {
        match *self {}
    }

    pub fn metadata(&self, _page: usize) -> Metadata {
        match *self {}
    }

    pub fn raster(&self, _page: usize) -> Result<Raster, DecodeError> {
        match *self {}
    }

    #[cfg(feature = "data")]
    pub fn unscaled(&self, _page: usize) -> Result<Raster, DecodeError> {
        match *self {}
    }

    pub fn size(&self, _page: usize) -> Result<(usize, usize), DecodeError> {
        match *self {}
    }
}
