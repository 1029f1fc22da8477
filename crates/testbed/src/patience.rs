//! Waiting for what tells nobody when it is ready: a server that starts, a process that ends.

use std::time::{Duration, Instant};

/// How long between two looks. Short against a server's start (about a second), long against a look's cost.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Looks until `look` sees something, for at most `limit`; `None` when it never did. It looks at least once.
#[expect(
    clippy::disallowed_methods,
    reason = "other processes are waited for, and they do not obey a test clock"
)]
pub fn wait_until<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if began.elapsed() >= limit {
            return None;
        }
        std::thread::sleep(LOOK_AGAIN_AFTER);
    }
}
