//! What a set is: arrays, or a list of files and where they are stored.

pub(super) mod content;
pub(super) mod corrupt;
pub(super) mod dataset;
pub(super) mod gzip;
pub(super) mod histogram;
pub(super) mod image_files;
pub(super) mod reader;
pub(super) mod sampling;
pub(super) mod storage;
