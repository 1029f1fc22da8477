//! The database's time: what every process of an installation agrees on, however wrong its machine's clock is.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use backroom_core::{
    Timestamp,
    bounds::{earlier, later, whole_micros},
};
use jiff::SignedDuration;
use tokio_postgres::types::Type;

use super::{connection::Link, row::moment, sql::Sql};
use crate::{Error, ErrorKind, clock::Clock};

/// Looks at the clock per measurement; the one with the shortest round trip counts.
const LOOKS: usize = 5;

/// The database's clock. No parameter.
static TIME: Sql = Sql { text: "SELECT clock_timestamp()", types: &[] as &[Type] };

/// When it was what time at the database.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    time: Timestamp,
}

/// The last measurement of the database's clock.
#[derive(Debug, Default)]
pub(super) struct DatabaseTime {
    last: Mutex<Option<Look>>,
}

impl DatabaseTime {
    /// Reads the database's clock. It was read somewhere within the round trip: the middle is at most half of it off,
    /// so the shortest of several trips counts.
    pub(super) async fn measure(&self, link: &Link) -> Result<(), Error> {
        let mut best: Option<(Duration, Look)> = None;
        for _ in 0..LOOKS {
            let before = monotonic();
            let rows = link.query(&TIME, &[]).await.map_err(|fault| fault.into_error("read the clock"))?;
            let trip = monotonic().saturating_duration_since(before);
            let row =
                rows.first().ok_or_else(|| Error::new(ErrorKind::Internal, "read the clock: no row"))?;
            let time = moment(row, 0).map_err(|fault| fault.into_error("read the clock"))?;
            if best.is_none_or(|(shortest, _)| trip < shortest) {
                best = Some((trip, Look { at: before + trip / 2, time }));
            }
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = best.map(|(_, look)| look);
        Ok(())
    }

    /// The database's time now; none before the first measurement.
    pub(super) fn now(&self) -> Option<Timestamp> {
        self.look().map(|look| later(look.time, monotonic().saturating_duration_since(look.at)))
    }

    fn look(&self) -> Option<Look> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "measures a round trip, which a wrong or set clock must not touch"
)]
fn monotonic() -> Instant {
    Instant::now()
}

/// A clock that shows the database's time.
#[derive(Debug)]
pub(super) struct AlignedClock {
    inner: Arc<dyn Clock>,
    database: Arc<DatabaseTime>,
    state: Mutex<Alignment>,
}

#[derive(Debug, Default)]
struct Alignment {
    /// Which measurement the offset is from.
    from: Option<Instant>,
    /// What to add to the inner clock.
    offset: SignedDuration,
    last: Option<Timestamp>,
}

impl AlignedClock {
    pub(super) fn new(inner: Arc<dyn Clock>, database: Arc<DatabaseTime>) -> Self {
        Self { inner, database, state: Mutex::default() }
    }
}

#[async_trait]
impl Clock for AlignedClock {
    fn now(&self) -> Timestamp {
        let inner = self.inner.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(look) = self.database.look().filter(|look| state.from != Some(look.at))
            && let Some(database) = self.database.now()
        {
            state.offset = database.duration_since(inner);
            state.from = Some(look.at);
        }
        let aligned = match Duration::try_from(state.offset) {
            Ok(ahead) => later(inner, ahead),
            Err(_) => earlier(inner, state.offset.unsigned_abs()),
        };
        // A new measurement may say that it is earlier; then time stands still for that little.
        let now = state.last.map_or(aligned, |last| aligned.max(last));
        state.last = Some(now);
        whole_micros(now)
    }

    async fn sleep_until(&self, at: Timestamp) {
        loop {
            let now = self.now();
            if now >= at {
                return;
            }
            // By the inner clock, and no longer than until the next measurement may say otherwise.
            let left = backroom_core::bounds::span_until(now, at).min(Duration::from_secs(30));
            self.inner.sleep_until(later(self.inner.now(), left)).await;
        }
    }
}
