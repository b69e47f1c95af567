//! Images of a set that are not decoded yet: where their bytes lie and which class each has.

use std::path::PathBuf;

use super::dataset::check_geometry;
use super::reader::ImageData;
use super::sampling::{spread, stratified};
use super::storage::Storage;
use crate::data::error::DataError;
use crate::image::Geometry;
use crate::image::{Decoded, decode};

/// A set of image files, or of images that a reader gives: listed but not read.
#[derive(Debug, Clone)]
pub(in crate::data) struct ImageFiles {
    pub name: String,
    pub classes: Vec<String>,
    /// The folders or archives.
    pub storages: Vec<Storage>,
    /// The images, in the order that fixes their indices.
    pub entries: Vec<Entry>,
}

/// An image's file.
#[derive(Debug, Clone)]
pub(in crate::data) struct Entry {
    /// Index of the folder or archive.
    pub storage: u32,
    /// The class.
    pub label: u32,
    /// Bytes in the archive; of no meaning elsewhere.
    pub len: u32,
    /// The first byte in the archive; the index of a reader's image.
    pub offset: u64,
    /// The path in the folder or archive.
    pub name: Box<str>,
}

impl ImageFiles {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The path of image `i` for messages; inside an archive, the archive's path followed by the
    /// entry's.
    pub fn path_of(&self, i: usize) -> PathBuf {
        let entry = &self.entries[i];
        self.storages[entry.storage as usize].path_of(&entry.name)
    }

    /// What `make` makes of image `i`, decoded. Within is an error that costs this image alone:
    /// it cannot be decoded, or not be read where every image is read by itself.
    pub fn decode<T>(
        &self,
        i: usize,
        make: impl FnOnce(Decoded) -> T,
    ) -> Result<Result<T, DataError>, DataError> {
        let Entry { storage, len, offset, name, .. } = &self.entries[i];
        let storage = &self.storages[*storage as usize];
        let decoded = match storage.image(name, *offset, *len) {
            Ok(ImageData::Encoded(bytes)) => {
                decode(&bytes).map_err(|source| DataError::Image { path: self.path_of(i), source })
            }
            Ok(ImageData::Pixels { geometry, values }) => self.of_pixels(i, geometry, &values),
            Err(error) if storage.is_separate() => Err(error),
            Err(error) => return Err(error),
        };
        Ok(decoded.map(make))
    }

    fn of_pixels(&self, i: usize, geometry: Geometry, values: &[u8]) -> Result<Decoded, DataError> {
        check_geometry(&self.name, geometry)?;
        if values.len() != geometry.values() {
            let source = format!("expected {geometry} values, found {}", values.len()).into();
            return Err(DataError::Reader { name: self.name.clone(), image: i, source });
        }
        Ok(Decoded::from_planes(geometry.into(), values))
    }

    /// The bytes of image `i`. Within is an error that costs this image alone.
    pub fn try_read(&self, i: usize) -> Result<Result<Vec<u8>, DataError>, DataError> {
        match self.read(i) {
            Err(error) if !self.storages[self.entries[i].storage as usize].is_separate() => {
                Err(error)
            }
            read => Ok(read),
        }
    }

    /// The bytes of image `i`; the values of one that a reader gives as such.
    pub fn read(&self, i: usize) -> Result<Vec<u8>, DataError> {
        let Entry { storage, len, offset, name, .. } = &self.entries[i];
        self.storages[*storage as usize].read(name, *offset, *len)
    }

    pub fn labels(&self) -> Vec<u32> {
        self.entries.iter().map(|entry| entry.label).collect()
    }

    /// Lengths of the runs of images that lie in the same folder or archive.
    pub fn shards(&self) -> Vec<u32> {
        let runs = self.entries.chunk_by(|a, b| a.storage == b.storage);
        runs.map(|run| run.len() as u32).collect()
    }

    /// The images at `indices`, in that order.
    pub fn take(&self, indices: &[u32]) -> Self {
        let entries = indices.iter().map(|&i| self.entries[i as usize].clone()).collect();
        Self {
            entries,
            name: self.name.clone(),
            classes: self.classes.clone(),
            storages: self.storages.clone(),
        }
    }

    /// As [`Dataset::subset`](super::dataset::Dataset::subset), before anything is decoded.
    pub fn limited(self, limit: Option<usize>) -> Self {
        match limit {
            Some(limit) if limit < self.len() => self.take(&spread(self.len(), limit)),
            _ => self,
        }
    }

    /// As [`Dataset::split`](super::dataset::Dataset::split), before anything is decoded.
    pub fn split(&self, count: usize, seed: u64) -> Result<(Self, Self), DataError> {
        let (rest, held) = stratified(&self.name, &self.labels(), self.classes.len(), count, seed)?;
        Ok((self.take(&rest), self.take(&held)))
    }
}
