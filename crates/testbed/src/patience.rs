//! Waiting for what sends no notification: a server that starts, a process that ends.

use std::time::{Duration, Instant};

/// How long between two checks. Short against a server's start (about a second), long against the cost of a check.
const CHECK_EVERY: Duration = Duration::from_millis(20);

/// Calls `check` until it answers something, for at most `limit`; `None` when it never did. It is called at least once.
#[expect(
    clippy::disallowed_methods,
    reason = "other processes are waited for, and they do not obey a test clock"
)]
pub fn wait_until<T>(limit: Duration, mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        if let Some(seen) = check() {
            return Some(seen);
        }
        if began.elapsed() >= limit {
            return None;
        }
        std::thread::sleep(CHECK_EVERY);
    }
}
