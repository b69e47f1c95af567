//! One piece of work for each of several images.

use super::Outcome;
use crate::output::shown;
use crate::status;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The result of the work for an image: its document, or its error.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Each<T> {
    /// The work was done.
    Done(T),
    /// It failed; the other images were still processed.
    Failed {
        /// The image.
        image: String,
        /// Why.
        error: String,
    },
}

/// Does a piece of work for each of several images. A failure is reported at once and in the
/// documents, and the other images are still processed; the error of a single image, or of a wrong
/// call, ends the command.
pub fn each<T>(
    images: &[PathBuf],
    mut work: impl FnMut(usize, &Path) -> anyhow::Result<T>,
) -> anyhow::Result<(Vec<Each<T>>, Outcome)> {
    let (mut documents, mut outcome) = (Vec::new(), Outcome::Done);
    for (i, image) in images.iter().enumerate() {
        match work(i, image) {
            Ok(document) => documents.push(Each::Done(document)),
            Err(error) if images.len() == 1 || status::is_wrong_call(&error) => return Err(error),
            Err(error) => {
                let message = status::message(&error);
                eprintln!("error: {message}");
                documents.push(Each::Failed { image: shown(image), error: message });
                outcome = Outcome::Failed;
            }
        }
    }
    Ok((documents, outcome))
}
