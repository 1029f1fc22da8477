//! Noticing what other processes wrote.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use rusqlite::Connection;

use crate::store::Notifier;

/// How often to check while a worker or caller listens. A job of another process waits for half of it on average. Each check
/// costs some tens of microseconds, most of them for waking the thread (docs/decisions/0013).
const CHECK_EVERY: Duration = Duration::from_millis(5);
/// How often the files at the store's paths are examined when nothing is written.
const EXAMINE_EVERY: Duration = Duration::from_secs(1);
/// How often to see whether there is a listener now.
const IDLE_EVERY: Duration = Duration::from_millis(100);

/// Reads `PRAGMA data_version`, which changes exactly when another connection has committed, and never by our own writes.
/// A caller's own transaction in this process uses another connection, so it is noticed, too.
#[derive(Debug)]
pub(super) struct Watch {
    last_version: Option<i64>,
    last_check: Instant,
    last_examined: Instant,
}

impl Watch {
    /// Begins with the file as it is now. Later commits are noticed, even those before the first listener.
    pub(super) fn new(connection: &Connection) -> Self {
        Self { last_version: version(connection), last_check: now(), last_examined: now() }
    }

    /// How long the writer may sleep before the next check.
    pub(super) fn pause(wakes: &Notifier) -> Duration {
        if wakes.has_listeners() { CHECK_EVERY } else { IDLE_EVERY }
    }

    /// Whether it is time to examine the files at the store's paths.
    pub(super) fn is_time_to_examine(&mut self) -> bool {
        let is_time = self.last_examined.elapsed() >= EXAMINE_EVERY;
        if is_time {
            self.last_examined = now();
        }
        is_time
    }

    /// Notifies all listeners when another connection has committed since the last check. Does nothing when the last check was
    /// a moment ago or there is no listener.
    pub(super) fn check(&mut self, connection: &Connection, wakes: &Notifier) {
        if !wakes.has_listeners() || self.last_check.elapsed() < CHECK_EVERY {
            return;
        }
        self.last_check = now();
        let version = version(connection);
        if version != self.last_version {
            self.last_version = version;
            wakes.notify_all();
        }
    }
}

/// None when it cannot be read. The next check tries again, and workers poll besides.
fn version(connection: &Connection) -> Option<i64> {
    connection
        .prepare_cached("PRAGMA data_version")
        .and_then(|mut select| select.query_row([], |found| found.get(0)))
        .inspect_err(|error| tracing::debug!(%error, "failed to check for writes of other processes"))
        .ok()
}

#[expect(clippy::disallowed_methods, reason = "paces checks of the file; nothing about a job depends on it")]
fn now() -> Instant {
    Instant::now()
}

/// How long this process has used a store: a monotonic clock for what is only counted.
pub(super) fn elapsed() -> Duration {
    static BEGAN: LazyLock<Instant> = LazyLock::new(now);
    BEGAN.elapsed()
}
