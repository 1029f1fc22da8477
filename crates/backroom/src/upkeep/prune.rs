//! Deletes finished jobs beyond the retention of their queue.

use std::{sync::Arc, time::Duration};

use backroom_core::{Queue, State, Timestamp, retention::RetentionLimit};

use super::duty::{Duty, ROWS_MAX};
use crate::{Error, engine::Engine, store};

/// How often to run when all is pruned.
const SPAN: Duration = Duration::from_secs(60);
/// Batches per tick and bound; after them the store gets a pause for other calls.
const BATCHES_MAX: usize = 20;
/// That pause.
const BREATH: Duration = Duration::from_secs(1);

/// Prunes finished jobs.
pub(super) struct Prune;

impl Duty for Prune {
    const NAME: &'static str = "prune";

    /// Prunes every queue by age and count in bounded batches.
    async fn tick(&mut self, engine: &Engine, now: Timestamp) -> Result<Duration, Error> {
        let mut all_done = true;
        for queue in engine.store.queues().await? {
            for (state, keep) in queue.retention.by_state() {
                all_done &= prune(engine, &queue, state, keep, now).await?;
            }
        }
        Ok(if all_done { SPAN } else { BREATH })
    }
}

/// Returns whether nothing is left to prune.
async fn prune(
    engine: &Engine,
    queue: &Queue,
    state: State,
    keep: RetentionLimit,
    now: Timestamp,
) -> Result<bool, Error> {
    if keep == RetentionLimit::FOREVER {
        return Ok(true);
    }
    let prune = Arc::new(store::Prune {
        queue: queue.name.clone(),
        state,
        finished_before: keep.finished_before(now),
        beyond: keep.count,
        limit: ROWS_MAX,
    });
    for _ in 0..BATCHES_MAX {
        let pruned = engine.store.prune(Arc::clone(&prune), now).await?;
        if pruned < ROWS_MAX as u64 {
            return Ok(true);
        }
    }
    Ok(false)
}
