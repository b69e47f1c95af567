//! Data sets: where they come from, what they hold, and how batches are made of them.
//!
//! A [`DataSource`] is the parsed form of the DATA argument of the command line; [`DataSource::load`] turns it
//! into a [`Dataset`]: 8-bit images of one size in memory, each with a class. [`gather`] and
//! [`gather_augmented`] copy chosen examples into a batch of numbers in [-1, 1].
//!
//! Everything is deterministic. Images are sorted by path and classes by name, whatever the order in a folder
//! or archive, and all randomness of an example is a function of (seed, epoch, index) alone
//! ([`crate::random`]), so neither the number of threads nor the batch size changes what a network sees.

mod archive;
mod batch;
mod broken;
mod choose;
mod cifar;
mod classnames;
mod convert;
mod crop;
mod dataset;
mod digits;
mod encoded;
mod error;
mod fit;
mod formats;
pub(crate) mod fuzzing;
mod gallery;
mod idx;
mod idxnames;
mod images;
mod listing;
mod named;
mod names;
mod notes;
mod open;
mod order;
mod parts;
mod path;
mod places;
mod read;
mod relabel;
mod source;
mod store;
mod stream;
mod summary;
mod tarlist;
mod tars;
#[cfg(test)]
mod tests;
mod tiny;
mod walk;
mod webdataset;

pub use batch::{Augment, Padding, augment_into, gather, gather_augmented};
pub use choose::{Both, Chosen};
pub use convert::Converted;
pub use dataset::Dataset;
pub use error::DataError;
pub use fit::{CROP_SHARE, FitMode, Geometry, fit_image};
pub use open::{Images, OpenOptions, Streaming};
pub use order::{epoch_order, shard_order};
pub use places::default_folder;
pub use source::{DataSource, LoadOptions, Part};
pub use stream::Stream;
pub use summary::{Description, Summary};
