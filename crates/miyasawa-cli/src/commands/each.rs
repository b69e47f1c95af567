//! Several pictures of one call.

use super::Outcome;
use crate::output::shown;
use crate::status;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Does a piece of work for each of some pictures. One that fails is told of at once, and in its place in the documents,
/// and the others go on; the error of a single picture, or of a wrong call, ends the command.
pub fn each(
    pictures: &[PathBuf],
    mut work: impl FnMut(usize, &Path) -> anyhow::Result<Value>,
) -> anyhow::Result<(Vec<Value>, Outcome)> {
    let (mut documents, mut outcome) = (Vec::new(), Outcome::Done);
    for (i, picture) in pictures.iter().enumerate() {
        match work(i, picture) {
            Ok(document) => documents.push(document),
            Err(error) if pictures.len() == 1 || status::is_wrong_call(&error) => return Err(error),
            Err(error) => {
                let message = status::message(&error);
                eprintln!("error: {message}");
                documents.push(json!({ "image": shown(picture), "error": message }));
                outcome = Outcome::Failed;
            }
        }
    }
    Ok((documents, outcome))
}
