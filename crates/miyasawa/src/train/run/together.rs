//! What the processes of a run agree on: that they do the same, where they begin, and when to stop.

use super::{TrainError, Trainer};
use crate::checkpoint::CheckpointError;
use crate::eval::EvalRow;
use crate::model::Kind;
use crate::ranks::{Ranks, RanksError, agree, share};
use crate::train::{
    learner::Learner,
    reduce::{LocalSum, RankSum, Reduce},
    state::TrainState,
};
use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The processes of a run; none if there are no others.
#[derive(Clone, Debug)]
pub(super) struct Together {
    ranks: Option<Arc<dyn Ranks>>,
    /// Threads of the one that has most.
    threads: usize,
}

impl Together {
    /// Makes sure that all do the same work, and that there is some for each.
    pub fn start<M: Learner>(trainer: &Trainer<M>, config: &str) -> Result<Self, TrainError> {
        let ranks = trainer.ranks.clone().filter(|ranks| ranks.size() > 1);
        let own = rayon::current_num_threads();
        let Some(ranks) = ranks else { return Ok(Self { ranks: None, threads: own }) };
        let (batch, micro_batch) = (trainer.images_of_step(), trainer.micro_batch());
        let parts = trainer.parts().len();
        if parts < ranks.size() {
            return Err(RanksError::TooMany { ranks: ranks.size(), batch, parts }.into());
        }
        if trainer.info.network.kind() == Kind::Custom && trainer.class_batch_size() > 0 {
            let message = "classification.batch is 0 for a network of one's own on several ranks: \
                           its parts need not have gradients of the same parameters";
            return Err(TrainError::Mismatch(message.to_owned()));
        }
        let data = &trainer.info.data;
        let size = (trainer.train.len(), trainer.test.len(), micro_batch);
        let bits = (data.mean.to_bits(), data.std.to_bits());
        let facts = [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("configuration", config.to_owned()),
            ("data", format!("{data:?} {size:?} {bits:?} {}", trainer.train.digest()?)),
        ];
        for (what, own) in facts {
            agree(&*ranks, what, own.into_bytes())?;
        }
        let threads = ranks.gather((own as u64).to_le_bytes().to_vec())?;
        let threads = threads.iter().filter_map(|bytes| bytes.first_chunk());
        let threads = threads.map(|bytes| u64::from_le_bytes(*bytes) as usize).max();
        Ok(Self { ranks: Some(ranks), threads: threads.unwrap_or(own) })
    }

    /// Whether this process writes files and evaluates.
    pub fn is_first(&self) -> bool {
        self.ranks.as_ref().is_none_or(|ranks| ranks.rank() == 0)
    }

    /// The sum of the gradients.
    pub fn reduce(&self) -> Box<dyn Reduce> {
        match &self.ranks {
            Some(ranks) => Box::new(RankSum::new(Arc::clone(ranks), self.threads)),
            None => Box::<LocalSum>::default(),
        }
    }

    /// The images of a batch that this process works on, of which `parts` are the parts.
    pub fn own_images(&self, parts: &[[usize; 2]]) -> Range<usize> {
        let all = parts.iter().map(|[_, count]| count).sum();
        let Some(ranks) = &self.ranks else { return 0..all };
        match &parts[share(parts.len(), [ranks.rank(), ranks.size()])] {
            [] => 0..0,
            own @ [[from, _], ..] => *from..from + own.iter().map(|[_, n]| n).sum::<usize>(),
        }
    }

    /// Whether any process says so.
    pub fn any(&self, own: bool) -> Result<bool, RanksError> {
        let Some(ranks) = &self.ranks else { return Ok(own) };
        Ok(ranks.gather(vec![u8::from(own)])?.contains(&vec![1]))
    }

    /// The evaluation that rank 0 makes by `find`; nothing if it was stopped there.
    pub fn rows(
        &self,
        find: impl FnOnce() -> Result<Option<Vec<EvalRow>>, TrainError>,
    ) -> Result<Option<Vec<EvalRow>>, TrainError> {
        let found = if self.is_first() { find()? } else { None };
        let Some(ranks) = &self.ranks else { return Ok(found) };
        let wrong = |e: serde_json::Error| RanksError::Transport(format!("evaluation: {e}"));
        let message = ranks.broadcast(serde_json::to_vec(&found).map_err(wrong)?)?;
        if self.is_first() {
            return Ok(found);
        }
        Ok(serde_json::from_slice(&message).map_err(wrong)?)
    }

    /// The state that rank 0 goes on from, for all ranks.
    pub fn state(
        &self,
        of_first: Option<(TrainState, PathBuf)>,
    ) -> Result<Option<(TrainState, PathBuf)>, TrainError> {
        let Some(ranks) = &self.ranks else { return Ok(of_first) };
        let name = |path: &Path| path.display().to_string();
        let (bytes, path) = match &of_first {
            Some((state, path)) => {
                let wrong = |found| CheckpointError::Format { path: path.clone(), found };
                (state.to_bytes().map_err(wrong)?, name(path))
            }
            None => (Vec::new(), String::new()),
        };
        let path = ranks.broadcast(path.into_bytes())?;
        let bytes = ranks.broadcast(bytes)?;
        if self.is_first() || path.is_empty() {
            return Ok(of_first);
        }
        let path = PathBuf::from(String::from_utf8_lossy(&path).into_owned());
        let state = TrainState::from_bytes(&bytes, &path)?;
        Ok(Some((state, path)))
    }
}
