//! Data sets: where they come from, what they hold, and how batches are made of them.
//!
//! A [`DataSource`] is the parsed form of the DATA argument of the command line. It is opened as
//! [`Images`]: 8-bit images of one size, each with a class, in memory or streamed.
//!
//! ```
//! use miyasawa::data::{DataSource, OpenOptions, gather};
//!
//! let source: DataSource = "digits".parse()?;
//! let both = source.open_both(&OpenOptions::default())?;
//! let train = both.train.into_dataset()?;
//! let mut batch = vec![0.0; 32 * train.image_len()];
//! gather(&train, &(0..32).collect::<Vec<u32>>(), &mut batch); // values in [-1, 1]
//! # assert!(batch.iter().all(|v| (-1.0..=1.0).contains(v)));
//! # Ok::<(), miyasawa::data::DataError>(())
//! ```
//!
//! A program's own images come as arrays ([`Dataset::new`], [`Dataset::from_f32`]) or from a reader
//! of its own ([`ImageReader`], [`Images::from_reader`]).
//!
//! Everything is deterministic. Images are sorted by path and classes by name, whatever the order
//! in a folder or archive, and all randomness of an example is a function of (seed, epoch, index)
//! alone ([`crate::random`]), so neither the number of threads nor the batch size changes what a
//! network sees.
//!
//! The files here are read by all wings; of these, each reads those before it:
//!
//! | wing | what it holds |
//! | --- | --- |
//! | `set/` | what a set is: arrays, lists of files and their storage, held-out parts |
//! | `batch/` | from stored images to batches: decoding, resizing, augmentation, order, streams |
//! | `formats/` | from folders, archives and files to sets |
//! | `open/` | sources, and sets opened, measured, relabelled and written |

mod batch;
mod error;
mod formats;
mod notes;
mod open;
mod options;
mod part;
mod range;
mod set;
#[cfg(test)]
mod tests;

pub use crate::image::{CROP_SHARE, Geometry, ResizeMode, resize_image};
pub use batch::augment::{Augment, Padding, augment_into, gather, gather_augmented};
pub use batch::order::{epoch_order, shard_order};
pub use batch::stream::Stream;
pub use error::{DataError, ReadError};
pub use formats::search_paths::default_folder;
pub use open::choose::{TrainTest, UnopenedSet};
#[cfg(feature = "train")]
pub(crate) use open::fuzzing;
pub use open::gallery::TestSet;
pub use open::opened::Images;
pub use open::source::DataSource;
pub use open::summary::{Description, PartSummary, Summary};
pub use open::write_shards::Converted;
pub use options::{OpenOptions, Streaming};
pub use part::Part;
pub use range::ValueRange;
pub use set::dataset::Dataset;
pub use set::reader::{ImageData, ImageReader};
