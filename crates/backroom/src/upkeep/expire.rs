//! Cancels jobs that no worker began in time.

use std::{sync::Arc, time::Duration};

use backroom_core::{Event, Timestamp};

use super::{
    apply::apply_to_all,
    duty::{Duty, ROWS_MAX},
};
use crate::{Error, ends::Ends, engine::Engine};

/// How often expired jobs are read. An expired job is not claimed even before it is cancelled.
const SPAN: Duration = Duration::from_secs(5);

/// Cancels expired jobs.
pub(super) struct Expire {
    pub(super) ends: Arc<Ends>,
}

impl Duty for Expire {
    const NAME: &'static str = "expire";

    /// Cancels every queued job past its `expires_at`.
    async fn tick(&mut self, engine: &Engine, now: Timestamp) -> Result<Duration, Error> {
        loop {
            let expired = engine.store.expired_jobs(ROWS_MAX, now).await?;
            let cancelled = apply_to_all(engine, &self.ends, &expired, &Event::Expire, now).await?;
            if expired.len() < ROWS_MAX || cancelled == 0 {
                return Ok(SPAN);
            }
        }
    }
}
