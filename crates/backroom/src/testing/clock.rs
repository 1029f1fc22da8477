//! A clock that stands still until a test moves it.

use std::time::Duration;

use async_trait::async_trait;
use backroom_core::{
    Timestamp,
    bounds::{later, whole_micros},
};
use tokio::sync::watch;

use crate::clock::Clock;

/// Time as the test says. Whoever waits for a moment is woken when [`advance`](TestClock::advance) passes it, so a
/// back-off of four days takes no time at all.
#[derive(Debug)]
pub struct TestClock {
    now: watch::Sender<Timestamp>,
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
        Self { now: watch::Sender::new(whole_micros(now)) }
    }

    /// Moves on by `span`.
    pub fn advance(&self, span: Duration) {
        self.now.send_modify(|now| *now = later(*now, span));
    }

    /// Moves on to `at`; a moment that has passed changes nothing, for this clock never goes back.
    pub fn advance_to(&self, at: Timestamp) {
        self.now.send_modify(|now| *now = (*now).max(whole_micros(at)));
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    async fn sleep_until(&self, at: Timestamp) {
        // An error means that the clock is gone, and so is this borrow of it: it cannot happen.
        let _ = self.now.subscribe().wait_for(|now| *now >= at).await;
    }
}
