//! The source of time. It is an argument, so that tests can move it.
//!
//! Two notions are never mixed. A *span* (a timeout, a poll, a back-off, a lease) is counted by the monotonic clock
//! of one process, and no step of a wall clock touches it. A *moment* (`scheduled_at`, `created_at`) is the time of the store
//! that all processes share; it may go forward or back by a step, and nothing relies on two moments being in order.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use backroom_core::{
    Timestamp,
    bounds::{span_until, whole_micros},
};

mod reckoning;

pub(crate) use reckoning::Reckoning;

/// The time of the store, the monotonic time of this process, and waiting for either.
#[async_trait]
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The moment now, in whole microseconds. It may be earlier than an answer given before.
    fn now(&self) -> Timestamp;

    /// The time since some moment that is the same for the life of this clock. It never goes back, and no step of a
    /// wall clock changes it.
    fn monotonic(&self) -> Duration;

    /// Up to which moment jobs are due. The same as `now()`, except for a while after a wall clock was set back: then jobs
    /// that were due before that stay due.
    fn due(&self) -> Timestamp {
        self.now()
    }

    /// How far the wall clock of this machine is ahead of the moments, in milliseconds (behind, if negative); none where both are
    /// the same clock.
    fn wall_ahead_ms(&self) -> Option<i64> {
        None
    }

    /// Whether a test or a simulation moves this clock. Then a worker writes its heartbeats on the caller's runtime, so that all that
    /// happens has one order; otherwise on a thread of its own, which no handler can block.
    fn is_driven(&self) -> bool {
        false
    }

    /// Returns after `span`, as the monotonic clock counts.
    async fn sleep(&self, span: Duration);

    /// Returns once the monotonic clock reads `reading` or more.
    async fn sleep_to(&self, reading: Duration) {
        self.sleep(reading.saturating_sub(self.monotonic())).await;
    }

    /// Returns once `due()` is at or after `at`. It reads the clock again every few seconds, so it notices a step.
    async fn sleep_until(&self, at: Timestamp) {
        loop {
            let left = span_until(self.due(), at);
            if left.is_zero() {
                return;
            }
            self.sleep(left.min(STEPS_NOTICED_WITHIN)).await;
        }
    }
}

/// A wait for a moment notices within this span that the moment has come closer, or farther away, by a step.
const STEPS_NOTICED_WITHIN: Duration = Duration::from_secs(5);

/// How often the machine's wall clock is measured. All processes of a machine share it, so after a step they agree again
/// within this span.
const MEASURED_EVERY: Duration = Duration::from_secs(1);

/// The machine's wall clock, reckoned on by its monotonic clock between measurements, which come every second.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
    measured: Mutex<Measured>,
}

#[derive(Debug)]
struct Measured {
    reckoning: Reckoning,
    /// The reading of the monotonic clock at which the next measurement is due.
    next: Duration,
}

impl Default for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]
    fn default() -> Self {
        let reckoning = Reckoning::new(wall(), Duration::ZERO);
        Self { origin: Instant::now(), measured: Mutex::new(Measured { reckoning, next: MEASURED_EVERY }) }
    }
}

impl SystemClock {
    /// The reckoning and the reading to use it at.
    fn read(&self) -> (Reckoning, Duration) {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = self.monotonic();
        if reading >= measured.next {
            measured.reckoning.measured(wall(), reading);
            measured.next = reading.saturating_add(MEASURED_EVERY);
        }
        (measured.reckoning, reading)
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's wall clock")]
fn wall() -> Timestamp {
    whole_micros(Timestamp::now())
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let (reckoning, reading) = self.read();
        reckoning.now(reading)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's monotonic clock")]
    fn monotonic(&self) -> Duration {
        Instant::now().saturating_duration_since(self.origin)
    }

    fn due(&self) -> Timestamp {
        let (reckoning, reading) = self.read();
        reckoning.due(reading)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that waits for the machine's clock")]
    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}
