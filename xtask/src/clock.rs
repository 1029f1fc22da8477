//! The only room that knows the time: this program has no simulator to share a clock with, and what it waits
//! for (a server that starts, a process that ends) tells nobody when it is ready.

use std::time::{Duration, Instant};

/// How long between two looks. Short against a server's start (about a second), long against a look's cost.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "times the steps for a human; nothing is decided by it")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Looks until `look` sees something, for at most `limit`; `None` when it never did. It looks at least once.
#[expect(
    clippy::disallowed_methods,
    reason = "other processes are waited for, and they do not obey a test clock"
)]
pub(crate) fn wait_until<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let waited = Stopwatch::start();
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if waited.elapsed() >= limit {
            return None;
        }
        std::thread::sleep(LOOK_AGAIN_AFTER);
    }
}
