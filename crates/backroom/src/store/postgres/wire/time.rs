//! The database's time: what every process of an installation agrees on, however wrong its machine's clock is.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use backroom_core::{
    Timestamp,
    bounds::{later, whole_micros},
};
use tokio_postgres::types::Type;

use super::{connection::Link, sql::Sql};
use crate::store::postgres::columns::row::moment;
use crate::{
    Error, ErrorKind,
    clock::{Clock, Reckoning},
};

/// Readings per measurement; the one with the shortest round trip counts.
const READINGS: usize = 5;

/// The database's clock. No parameter.
static TIME: Sql = Sql { text: "SELECT clock_timestamp()", types: &[] as &[Type] };

/// A pair of readings: the monotonic clock, and the database's time then.
#[derive(Debug, Clone, Copy)]
struct Measurement {
    at: Instant,
    time: Timestamp,
}

/// The last measurement of the database's clock.
#[derive(Debug, Default)]
pub(crate) struct DatabaseTime {
    last: Mutex<Option<Measurement>>,
}

impl DatabaseTime {
    /// Reads the database's clock. The server read it at some point within the round trip. The middle is wrong by half
    /// the trip at most, so the shortest of several trips counts.
    pub(crate) async fn measure(&self, link: &Link) -> Result<(), Error> {
        let mut best: Option<(Duration, Measurement)> = None;
        for _ in 0..READINGS {
            let before = monotonic();
            let rows = link.query(&TIME, &[]).await.map_err(|fault| fault.into_error("read the clock"))?;
            let trip = monotonic().saturating_duration_since(before);
            let row =
                rows.first().ok_or_else(|| Error::new(ErrorKind::Internal, "read the clock: no row"))?;
            let time = moment(row, 0).map_err(|fault| fault.into_error("read the clock"))?;
            if best.is_none_or(|(shortest, _)| trip < shortest) {
                best = Some((trip, Measurement { at: before + trip / 2, time }));
            }
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = best.map(|(_, measurement)| measurement);
        Ok(())
    }

    /// The database's time now; none before the first measurement.
    pub(crate) fn now(&self) -> Option<Timestamp> {
        self.measurement().map(|last| later(last.time, monotonic().saturating_duration_since(last.at)))
    }

    /// Sets the measurement, for tests.
    #[cfg(test)]
    pub(crate) fn set(&self, time: Timestamp) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Measurement { at: monotonic(), time });
    }

    fn measurement(&self) -> Option<Measurement> {
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

/// A clock that shows the database's time: the last measurement plus what the monotonic clock of this process counted
/// since. It never reads this machine's wall clock, so a step of that clock changes nothing. It follows a step of the
/// database's clock at the next measurement.
#[derive(Debug)]
pub(crate) struct AlignedClock {
    inner: Arc<dyn Clock>,
    database: Arc<DatabaseTime>,
    aligned: Mutex<Option<Aligned>>,
}

#[derive(Debug, Clone, Copy)]
struct Aligned {
    /// When the measurement was made.
    from: Instant,
    reckoning: Reckoning,
}

impl AlignedClock {
    pub(crate) fn new(inner: Arc<dyn Clock>, database: Arc<DatabaseTime>) -> Self {
        Self { inner, database, aligned: Mutex::default() }
    }

    /// The last measurement and the reading to use it at; none before the first measurement.
    fn read(&self) -> Option<(Reckoning, Duration)> {
        let mut aligned = self.aligned.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = self.inner.monotonic();
        if let Some(measurement) = self
            .database
            .measurement()
            .filter(|measurement| aligned.is_none_or(|last| last.from != measurement.at))
            && let Some(time) = self.database.now()
        {
            let mut reckoning = aligned.map_or_else(|| Reckoning::new(time, reading), |last| last.reckoning);
            reckoning.measured(time, reading);
            *aligned = Some(Aligned { from: measurement.at, reckoning });
        }
        aligned.map(|aligned| (aligned.reckoning, reading))
    }
}

#[async_trait]
impl Clock for AlignedClock {
    fn now(&self) -> Timestamp {
        let read = self.read();
        whole_micros(read.map_or_else(|| self.inner.now(), |(reckoning, reading)| reckoning.now(reading)))
    }

    fn monotonic(&self) -> Duration {
        self.inner.monotonic()
    }

    fn due(&self) -> Timestamp {
        let read = self.read();
        whole_micros(read.map_or_else(|| self.inner.due(), |(reckoning, reading)| reckoning.due(reading)))
    }

    fn wall_ahead_ms(&self) -> Option<i64> {
        let (reckoning, reading) = self.read()?;
        let ahead = self.inner.now().duration_since(reckoning.now(reading)).as_millis();
        Some(i64::try_from(ahead).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX }))
    }

    fn is_driven(&self) -> bool {
        self.inner.is_driven()
    }

    async fn sleep(&self, span: Duration) {
        self.inner.sleep(span).await;
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::testing::TestClock;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(secs: u64) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, Duration::from_secs(2_000_000_000 + secs))
    }

    /// Clocks over a database whose time was just measured as `time`.
    fn aligned(time: Timestamp) -> (AlignedClock, Arc<TestClock>, Arc<DatabaseTime>) {
        let (inner, database) = (Arc::new(TestClock::default()), Arc::new(DatabaseTime::default()));
        let clock = AlignedClock::new(Arc::clone(&inner) as _, Arc::clone(&database));
        find(&database, time);
        (clock, inner, database)
    }

    fn find(database: &DatabaseTime, time: Timestamp) {
        database.set(time);
    }

    /// The measurement was made a moment before this.
    fn assert_shows(shown: Timestamp, time: Timestamp) {
        let off = shown.duration_since(time);
        assert!((0..5).contains(&off.as_secs()), "{shown} is not {time}");
    }

    #[test]
    fn a_step_of_this_machines_wall_clock_changes_nothing() {
        let (clock, inner, _) = aligned(at(0));
        assert_shows(clock.now(), at(0));
        inner.step_forward(HOUR);
        assert_shows(clock.now(), at(0));
        inner.step_back(HOUR * 48);
        inner.advance(Duration::from_secs(10));
        assert_shows(clock.now(), at(10));
        assert_eq!(clock.monotonic(), Duration::from_secs(10));
    }

    #[test]
    fn a_step_of_the_databases_clock_is_taken_over_and_time_goes_on() {
        let (clock, inner, database) = aligned(at(120));
        clock.now();
        inner.advance(Duration::from_secs(10));
        find(&database, at(10));
        assert_shows(clock.now(), at(10));
        assert_shows(clock.due(), at(130));
        inner.advance(Duration::from_secs(1));
        assert_shows(clock.now(), at(11));
        find(&database, at(7200));
        assert_shows(clock.now(), at(7200));
        assert_shows(clock.due(), at(7200));
    }
}
