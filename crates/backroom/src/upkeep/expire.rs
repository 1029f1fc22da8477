//! Cancelling jobs that nobody began in time.

use std::{sync::Arc, time::Duration};

use backroom_core::{Event, Timestamp};

use super::{Duty, ROWS_MAX, apply_to_all};
use crate::{Error, ended::Ends, engine::Engine};

/// How often to look. An expired job is not claimed even before this has cancelled it.
const SPAN: Duration = Duration::from_secs(5);

/// Expires.
pub(super) struct Expire {
    pub(super) ends: Arc<Ends>,
}

impl Duty for Expire {
    const NAME: &'static str = "expire";

    /// Cancels every queued job past its `expires_at`.
    async fn tick(&mut self, engine: &Engine, now: Timestamp) -> Result<Duration, Error> {
        loop {
            let expired = engine.store.expired(ROWS_MAX, now).await?;
            let cancelled = apply_to_all(engine, &self.ends, &expired, &Event::Expire, now).await?;
            if expired.len() < ROWS_MAX || cancelled == 0 {
                return Ok(SPAN);
            }
        }
    }
}
