//! A clock that stands still until a test moves it.

use std::time::Duration;

use async_trait::async_trait;
use backroom_core::{
    Timestamp,
    bounds::{earlier, later, span_until, whole_micros},
};
use tokio::sync::watch;

use crate::clock::Clock;

/// A clock that the test moves. A task that waits for a moment is woken when [`advance`](TestClock::advance) passes it, so a
/// backoff of four days takes no real time.
#[derive(Debug)]
pub struct TestClock {
    hands: watch::Sender<Hands>,
}

/// What the clock shows.
#[derive(Debug, Clone, Copy)]
struct Hands {
    now: Timestamp,
    monotonic: Duration,
}

impl Default for TestClock {
    /// Stands at 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::at(Timestamp::from_second(1_767_225_600).unwrap_or_default())
    }
}

impl TestClock {
    /// Stands at this moment.
    pub fn at(now: Timestamp) -> Self {
        Self { hands: watch::Sender::new(Hands { now: whole_micros(now), monotonic: Duration::ZERO }) }
    }

    /// Time passes: the moment and the monotonic time move on by `span`.
    pub fn advance(&self, span: Duration) {
        self.hands.send_modify(|hands| {
            hands.now = later(hands.now, span);
            hands.monotonic = hands.monotonic.saturating_add(span);
        });
    }

    /// Time passes until `at`; a moment that has passed changes nothing.
    pub fn advance_to(&self, at: Timestamp) {
        self.hands.send_modify(|hands| {
            let span = span_until(hands.now, at);
            hands.now = later(hands.now, span);
            hands.monotonic = hands.monotonic.saturating_add(span);
        });
    }

    /// Sets the wall clock forward by `span`; no time passes.
    pub fn step_forward(&self, span: Duration) {
        self.hands.send_modify(|hands| hands.now = later(hands.now, span));
    }

    /// Sets the wall clock back by `span`; no time passes.
    pub fn step_back(&self, span: Duration) {
        self.hands.send_modify(|hands| hands.now = earlier(hands.now, span));
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.hands.borrow().now
    }

    fn monotonic(&self) -> Duration {
        self.hands.borrow().monotonic
    }

    fn is_driven(&self) -> bool {
        true
    }

    async fn sleep(&self, span: Duration) {
        let until = self.monotonic().saturating_add(span);
        // An error means that the clock is gone, and so is this borrow of it: it cannot happen.
        let _ = self.hands.subscribe().wait_for(|hands| hands.monotonic >= until).await;
    }

    async fn sleep_until(&self, at: Timestamp) {
        let _ = self.hands.subscribe().wait_for(|hands| hands.now >= at).await;
    }
}
