//! The only module that knows the time: this program has no simulator to share a clock with, and what it waits
//! for (a server that starts, a process that ends) sends no notification when it is ready.

use std::time::{Duration, Instant};

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

/// Waits. For what sends no notification when it is ready.
#[expect(clippy::disallowed_methods, reason = "the end of a process is looked for, between two of these")]
pub(crate) fn pause(span: Duration) {
    std::thread::sleep(span);
}
