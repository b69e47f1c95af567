//! A comparison by several ranks: each takes runs of its own.

use crate::experiment::ExperimentError;
use crate::ranks::{self, RanksError, alone, current};
use crate::train::TrainError;
use serde::{Serialize, de::DeserializeOwned};

fn lost(error: RanksError) -> ExperimentError {
    TrainError::from(error).into()
}

/// What rank 0 finds by `work`, for all ranks; without ranks, what `work` finds. Rank 0 returns its
/// own error, the others that rank 0 has ended.
pub(super) fn of_first<T: Serialize + DeserializeOwned>(
    work: impl FnOnce() -> Result<T, ExperimentError>,
) -> Result<T, ExperimentError> {
    let Some(ranks) = current() else { return work() };
    let found = (ranks.rank() == 0).then(|| alone(work));
    // Nothing is the message of an error: the others wait for one in any case.
    let message = match &found {
        Some(Ok(found)) => serde_json::to_vec(found).unwrap_or_default(),
        _ => Vec::new(),
    };
    let message = ranks.broadcast(message).map_err(lost)?;
    if let Some(found) = found {
        return found;
    }
    serde_json::from_slice(&message).map_err(|_| lost(RanksError::Lost { rank: 0 }))
}

/// Refuses a rank that would compare something else.
pub(super) fn agree(facts: &[(&'static str, String)]) -> Result<(), ExperimentError> {
    let Some(ranks) = current() else { return Ok(()) };
    let mut facts = facts.iter();
    facts
        .try_for_each(|(what, own)| ranks::agree(&*ranks, what, own.clone().into_bytes()))
        .map_err(lost)
}

/// Calls `work` with each of this rank's share of the jobs, every rank at the same time, and waits
/// for the others; whether no rank was stopped. Without ranks nothing is done. An error ends a job
/// alone, and rank 0 tells it: it comes to the same job again.
pub(super) fn own_share<J>(
    jobs: &[J],
    mut work: impl FnMut(&[J]) -> Result<bool, ExperimentError>,
) -> Result<bool, ExperimentError> {
    let Some(ranks) = current() else { return Ok(true) };
    let (mut goes_on, mut errors) = (true, String::new());
    for job in jobs.chunks(1).skip(ranks.rank()).step_by(ranks.size()) {
        match alone(|| work(job)) {
            Ok(done) => goes_on &= done,
            Err(error) => errors += &format!("rank {}: {error}\n", ranks.rank()),
        }
        if !goes_on {
            break;
        }
    }
    let message = [vec![u8::from(goes_on)], errors.into_bytes()].concat();
    let all = ranks.gather(message).map_err(lost)?;
    for line in all.iter().flat_map(|message| message[1..].split(|byte| *byte == b'\n')) {
        if ranks.rank() == 0 && !line.is_empty() {
            tracing::warn!("{}", String::from_utf8_lossy(line));
        }
    }
    Ok(all.iter().all(|message| message[0] == 1))
}
