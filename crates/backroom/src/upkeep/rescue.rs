//! Taking jobs from workers that died.

use std::{sync::Arc, time::Duration};

use backroom_core::{Event, Timestamp, bounds::later, transition};

use super::ROWS_MAX;
use crate::{Error, engine::Engine, store::Committed};

/// A lease that ran out is noticed within this span.
const SPAN: Duration = Duration::from_secs(2);

/// Requeues (or gives up, or cancels) every job whose lease ran out.
pub(crate) async fn tick(engine: &Engine, now: Timestamp) -> Result<Timestamp, Error> {
    loop {
        let lapsed = engine.store.lapsed(ROWS_MAX, now).await?;
        let count = lapsed.len();
        let changes: Vec<_> = lapsed
            .iter()
            .filter_map(|job| transition::apply(job, Event::LeaseExpired, now).ok().flatten())
            .collect();
        if changes.is_empty() {
            break;
        }
        for job in &lapsed {
            let worker = job.worker.as_deref().unwrap_or_default();
            tracing::warn!(job = %job.id, kind = %job.kind, worker, "the lease ran out; the job is rescued");
        }
        // Stale ones were extended, recorded or rescued by somebody else meanwhile.
        let answers = engine.store.commit(Arc::new(changes)).await?;
        if count < ROWS_MAX || answers.iter().all(|answer| *answer != Committed::Done) {
            break;
        }
    }
    Ok(later(now, SPAN))
}
