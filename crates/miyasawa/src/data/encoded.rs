//! Images of a set that are not decoded yet: where their bytes lie and which class each has.

use std::path::PathBuf;

use super::dataset::{spread, stratified};
use super::error::DataError;
use super::store::Store;
use crate::image::DecodeError;

/// A set of image files, listed but not read.
#[derive(Debug, Clone)]
pub(super) struct Encoded {
    pub name: String,
    pub classes: Vec<String>,
    /// The folders or archives.
    pub stores: Vec<Store>,
    /// The images, in the order that fixes their indices.
    pub entries: Vec<Entry>,
}

/// An image's file.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Index of the folder or archive.
    pub store: u32,
    /// The class.
    pub label: u32,
    /// Bytes in the archive; of no meaning in a folder.
    pub len: u32,
    /// The first byte in the archive.
    pub offset: u64,
    /// The path in the folder or archive.
    pub name: Box<str>,
}

impl Encoded {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The path of image `i` for messages; inside an archive, the archive's path followed by the entry's.
    pub fn path_of(&self, i: usize) -> PathBuf {
        let entry = &self.entries[i];
        self.stores[entry.store as usize].path_of(&entry.name)
    }

    /// What `read` makes of image `i`. Within is an error that costs this image alone: it cannot be decoded, or its file
    /// cannot be read, where the others are files of their own.
    pub fn decode<T>(
        &self,
        i: usize,
        read: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<Result<T, DataError>, DataError> {
        match self.read(i) {
            Ok(bytes) => {
                Ok(read(&bytes).map_err(|source| DataError::Image { path: self.path_of(i), source }))
            }
            Err(error) if self.stores[self.entries[i].store as usize].is_files() => Ok(Err(error)),
            Err(error) => Err(error),
        }
    }

    /// The bytes of image `i`.
    pub fn read(&self, i: usize) -> Result<Vec<u8>, DataError> {
        let entry = &self.entries[i];
        self.stores[entry.store as usize].read(&entry.name, entry.offset, entry.len)
    }

    pub fn labels(&self) -> Vec<u32> {
        self.entries.iter().map(|entry| entry.label).collect()
    }

    /// Lengths of the runs of images that lie in the same folder or archive.
    pub fn shards(&self) -> Vec<u32> {
        let runs = self.entries.chunk_by(|a, b| a.store == b.store);
        runs.map(|run| run.len() as u32).collect()
    }

    /// The images at `indices`, in that order.
    pub fn take(&self, indices: &[u32]) -> Self {
        let entries = indices.iter().map(|&i| self.entries[i as usize].clone()).collect();
        Self { entries, name: self.name.clone(), classes: self.classes.clone(), stores: self.stores.clone() }
    }

    /// As [`super::Dataset::subset`], before anything is decoded.
    pub fn limited(self, limit: Option<usize>) -> Self {
        match limit {
            Some(limit) if limit < self.len() => self.take(&spread(self.len(), limit)),
            _ => self,
        }
    }

    /// As [`super::Dataset::split`], before anything is decoded.
    pub fn split(&self, count: usize, seed: u64) -> Result<(Self, Self), DataError> {
        let (rest, held) = stratified(&self.name, &self.labels(), self.classes.len(), count, seed)?;
        Ok((self.take(&rest), self.take(&held)))
    }
}
