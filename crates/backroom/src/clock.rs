//! Where time comes from: an argument, so that tests own it.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use backroom_core::{
    Timestamp,
    bounds::{later, span_until, whole_micros},
};

/// Tells the time and waits for it.
#[async_trait]
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time now, in whole microseconds. Never earlier than an answer given before.
    fn now(&self) -> Timestamp;

    /// Returns once `now()` is at or after `at`.
    async fn sleep_until(&self, at: Timestamp);

    /// Returns after `span`.
    async fn sleep(&self, span: Duration) {
        self.sleep_until(later(self.now(), span)).await;
    }
}

/// The machine's clock, held to go forward.
///
/// When the machine's clock is set back, this one goes on at the pace of real time from where it was until the
/// machine's has caught up: leases and schedules would otherwise stand still for as long as it was set back.
#[derive(Debug, Default)]
pub struct SystemClock {
    last: Mutex<Option<(Timestamp, Instant)>>,
}

impl SystemClock {
    /// Keeps `last` so that an answer is never earlier than one before.
    fn held_forward(&self, wall: Timestamp, monotonic: Instant) -> Timestamp {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = match *last {
            Some((at, since)) if wall < at => later(at, monotonic.saturating_duration_since(since)),
            Some(_) | None => wall,
        };
        *last = Some((now, monotonic));
        now
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        self.held_forward(whole_micros(Timestamp::now()), Instant::now())
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that waits for the machine's clock")]
    async fn sleep_until(&self, at: Timestamp) {
        // A timer may end a little early, and the clock may have been set back meanwhile.
        loop {
            let left = span_until(self.now(), at);
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(Duration::from_secs(60))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_set_back_goes_on_at_the_pace_of_real_time() {
        let clock = SystemClock::default();
        let start = Timestamp::from_second(1_000_000).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a base to add to")]
        let monotonic = Instant::now();
        assert_eq!(clock.held_forward(start, monotonic), start);
        let set_back = Timestamp::from_second(900_000).unwrap();
        let second = Duration::from_secs(1);
        assert_eq!(clock.held_forward(set_back, monotonic + second), later(start, second));
        assert_eq!(clock.held_forward(set_back, monotonic + 3 * second), later(start, 3 * second));
        let ahead = Timestamp::from_second(2_000_000).unwrap();
        assert_eq!(clock.held_forward(ahead, monotonic + 4 * second), ahead);
    }
}
