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
/// When the machine's clock is set back, this one goes on at half the pace of real time from where it was until the
/// machine's has caught up, so after twice the span it was set back. Standing still meanwhile would hold up leases
/// and schedules; going on at the full pace would keep it ahead of the machine's for ever.
#[derive(Debug, Default)]
pub struct SystemClock {
    last: Mutex<Option<Last>>,
}

/// The last answer, and where the machine's clock was last trusted.
#[derive(Debug, Clone, Copy)]
struct Last {
    answer: Timestamp,
    trusted: Timestamp,
    since: Instant,
}

impl SystemClock {
    /// Keeps `last` so that an answer is never earlier than one before.
    fn held_forward(&self, wall: Timestamp, monotonic: Instant) -> Timestamp {
        let mut held = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Last { answer: wall, trusted: wall, since: monotonic };
        let last = match *held {
            Some(last) => {
                // Reckoned from one fixed moment: halving the span between two calls would round it away.
                let half = monotonic.saturating_duration_since(last.since) / 2;
                // Of two threads the one that read the clocks first may come here second.
                let answer = last.answer.max(later(last.trusted, half));
                if wall < answer { Last { answer, ..last } } else { fresh }
            }
            None => fresh,
        };
        *held = Some(last);
        last.answer
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

    const START: i64 = 1_000_000;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(START + secs).unwrap()
    }

    /// A clock that was asked once, and the moment it was asked.
    fn asked() -> (SystemClock, Instant) {
        let clock = SystemClock::default();
        #[expect(clippy::disallowed_methods, reason = "a base to add to")]
        let monotonic = Instant::now();
        assert_eq!(clock.held_forward(at(0), monotonic), at(0));
        (clock, monotonic)
    }

    #[test]
    fn time_set_back_by_an_hour_agrees_again_after_two() {
        let (clock, monotonic) = asked();
        let second = Duration::from_secs(1);
        let mut before = at(0);
        for passed in 1..=3 * 3600_u32 {
            let wall = at(i64::from(passed) - 3600);
            let now = clock.held_forward(wall, monotonic + passed * second);
            assert!(before <= now, "{now} is earlier than {before}");
            let expected = if passed < 7200 { later(at(0), passed * second / 2) } else { wall };
            assert_eq!(now, expected, "after {passed} s");
            before = now;
        }
    }

    #[test]
    fn time_set_back_goes_on_however_often_it_is_asked() {
        let (clock, monotonic) = asked();
        for passed in 1..=4000 {
            clock.held_forward(at(-9), monotonic + passed * Duration::from_nanos(500));
        }
        assert_eq!(clock.held_forward(at(-9), monotonic), later(at(0), Duration::from_millis(1)));
    }

    #[test]
    fn time_set_ahead_is_believed() {
        let (clock, monotonic) = asked();
        assert_eq!(clock.held_forward(at(-60), monotonic + Duration::from_secs(2)), at(1));
        assert_eq!(clock.held_forward(at(3600), monotonic + Duration::from_secs(3)), at(3600));
    }
}
