//! Taking jobs from workers that died.

use std::time::Duration;

use backroom_core::{Event, Timestamp, bounds::later};

use super::{ROWS_MAX, apply_to_all};
use crate::{Error, engine::Engine};

/// A lease that ran out is noticed within this span.
const SPAN: Duration = Duration::from_secs(2);

/// Requeues (or gives up, or cancels) every job whose lease ran out.
pub(crate) async fn tick(engine: &Engine, now: Timestamp) -> Result<Timestamp, Error> {
    loop {
        let lapsed = engine.store.lapsed(ROWS_MAX, now).await?;
        for job in &lapsed {
            let worker = job.worker.as_deref().unwrap_or_default();
            tracing::warn!(job = %job.id, kind = %job.kind, worker, "the lease ran out; the job is rescued");
        }
        let rescued = apply_to_all(engine, &lapsed, &Event::LeaseExpired, now).await?;
        if lapsed.len() < ROWS_MAX || rescued == 0 {
            return Ok(later(now, SPAN));
        }
    }
}
