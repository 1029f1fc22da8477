//! How long the server may take over a request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use backroom::clock::Clock;

use crate::api::{codes::Code, problem::Problem};

/// An extension of each request: the time at which its answer must have begun. A route that waits extends it.
#[derive(Debug, Clone)]
pub(crate) struct Deadline {
    /// The reading of the monotonic clock, in milliseconds.
    at_ms: Arc<AtomicU64>,
}

impl Deadline {
    pub(super) fn after(clock: &dyn Clock, span: Duration) -> Self {
        Self { at_ms: Arc::new(AtomicU64::new(millis(clock.monotonic().saturating_add(span)))) }
    }

    /// Moves it back: the route waits for so long by intent.
    pub(crate) fn extend(&self, span: Duration) {
        self.at_ms.fetch_add(millis(span), Ordering::Relaxed);
    }

    /// Returns when it has passed.
    pub(super) async fn passed(&self, clock: &dyn Clock) {
        loop {
            let at = Duration::from_millis(self.at_ms.load(Ordering::Relaxed));
            if at <= clock.monotonic() {
                return;
            }
            clock.sleep_to(at).await;
        }
    }
}

/// The problem of a request whose deadline has passed.
pub(super) fn problem() -> Problem {
    Problem::new(
        Code::Unavailable,
        "the server did not answer in time; the request may have taken effect all the same",
    )
    .retry_after_secs(1)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
