//! Batches that are drawn while the step before them runs.

use crate::data::DataError;
use crate::train::{loader::DataLoader, parts::Batch};
use std::thread::JoinHandle;

/// The batches of a run. A device other than the CPU leaves the host idle during a step: there the
/// next batch is drawn meanwhile. On the CPU that would take the step's own threads.
pub(super) struct Batches {
    state: State,
    ahead: bool,
}

enum State {
    /// Nothing is under way.
    Idle(Box<DataLoader>),
    /// The batch of this step is drawn on a thread.
    Drawing(u64, JoinHandle<(Box<DataLoader>, Result<Batch, DataError>)>),
    /// A thread that drew has died.
    Lost,
}

fn lost() -> DataError {
    let source = std::io::Error::other("the thread that draws batches died");
    DataError::Io { path: "batch".into(), source }
}

impl Batches {
    /// Those of a loader; `ahead` draws the next one while a step runs.
    pub fn new(loader: DataLoader, ahead: bool) -> Self {
        Self { state: State::Idle(Box::new(loader)), ahead }
    }

    /// The batch of a step. Steps are asked for one after the other; going elsewhere is allowed and
    /// costs what was drawn.
    ///
    /// # Errors
    /// If an image cannot be read, or too many are corrupt.
    pub fn batch(&mut self, step: u64) -> Result<Batch, DataError> {
        let (mut loader, drawn) = match std::mem::replace(&mut self.state, State::Lost) {
            State::Idle(loader) => (loader, None),
            State::Drawing(drawn, thread) => {
                // A panic was reported when it happened.
                let (loader, batch) = thread.join().map_err(|_| lost())?;
                (loader, Some(batch).filter(|_| drawn == step))
            }
            State::Lost => return Err(lost()),
        };
        let batch = drawn.unwrap_or_else(|| loader.batch(step));
        self.state = match self.ahead && batch.is_ok() {
            true => {
                let draw = move || {
                    let next = loader.batch(step + 1);
                    (loader, next)
                };
                State::Drawing(step + 1, std::thread::spawn(draw))
            }
            false => State::Idle(loader),
        };
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataSource, OpenOptions, Part};
    use crate::train::TrainConfig;

    #[test]
    fn batches_drawn_ahead_are_those_that_are_asked_for() {
        let set = DataSource::Digits.open(Part::Train, &OpenOptions::default()).unwrap();
        let config = TrainConfig::default();
        let loader = || DataLoader::new(&set, &config, [8, 0], 0..8);
        let (mut plain, mut ahead) = (Batches::new(loader(), false), Batches::new(loader(), true));
        // One after the other, over a gap, and back.
        for step in [0, 1, 2, 7, 8, 3, 3] {
            let [a, b] = [&mut plain, &mut ahead].map(|batches| batches.batch(step).unwrap());
            assert_eq!((a.x, a.labels, a.sigma, a.noise), (b.x, b.labels, b.sigma, b.noise));
        }
    }
}
