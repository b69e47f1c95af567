//! Images that cannot be read or decoded: counted, named and skipped, up to a limit.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::data::error::DataError;

/// Images that an error names.
const NAMED: usize = 5;

/// The corrupt images of a set that were found so far.
#[derive(Debug)]
pub(in crate::data) struct CorruptLog {
    limit: usize,
    met: Mutex<BTreeMap<usize, PathBuf>>,
}

impl CorruptLog {
    /// At most `limit` images may be corrupt.
    pub fn up_to(limit: usize) -> Self {
        Self { limit, met: Mutex::default() }
    }

    /// Any number may be, and nothing is said of them.
    pub fn quiet() -> Self {
        Self { limit: usize::MAX, met: Mutex::default() }
    }

    /// Counts image `i` at `path`, with its error, if it was not met before.
    ///
    /// # Errors
    ///
    /// The error if none may be corrupt, [`DataError::TooManyCorrupt`] if one more than allowed is.
    pub fn add(
        &self,
        i: usize,
        path: impl FnOnce() -> PathBuf,
        error: DataError,
    ) -> Result<(), DataError> {
        if self.limit == 0 {
            return Err(error);
        }
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        if met.contains_key(&i) {
            return Ok(());
        }
        if self.limit < usize::MAX {
            tracing::warn!("skipped a corrupt image: {error}");
        }
        met.insert(i, path());
        if met.len() > self.limit {
            let named = met.values().take(NAMED).cloned().collect();
            return Err(DataError::TooManyCorrupt { limit: self.limit, named });
        }
        Ok(())
    }

    /// Whether image `i` is one.
    pub fn has(&self, i: usize) -> bool {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&i)
    }

    /// The first one.
    pub fn example(&self) -> Option<PathBuf> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).values().next().cloned()
    }

    /// How many were met.
    pub fn count(&self) -> usize {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
