//! Cancelling jobs that nobody began in time.

use std::{sync::Arc, time::Duration};

use backroom_core::{Event, Timestamp, bounds::later, transition};

use super::ROWS_MAX;
use crate::{Error, engine::Engine, store::Committed};

/// How often to look. An expired job is not claimed even before this has cancelled it.
const SPAN: Duration = Duration::from_secs(5);

/// Cancels every queued job past its `expires_at`.
pub(crate) async fn tick(engine: &Engine, now: Timestamp) -> Result<Timestamp, Error> {
    loop {
        let expired = engine.store.expired(ROWS_MAX, now).await?;
        let changes: Vec<_> = expired
            .iter()
            .filter_map(|job| transition::apply(job, Event::Expire, now).ok().flatten())
            .collect();
        if changes.is_empty() {
            break;
        }
        let answers = engine.store.commit(Arc::new(changes)).await?;
        if expired.len() < ROWS_MAX || answers.iter().all(|answer| *answer != Committed::Done) {
            break;
        }
    }
    Ok(later(now, SPAN))
}
