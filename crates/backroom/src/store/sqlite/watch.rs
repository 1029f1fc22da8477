//! Noticing what other processes wrote.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use rusqlite::Connection;

use crate::store::Wakes;

/// How often to look while somebody listens: half of it is what a job of another process waits on average, and each
/// look costs some tens of microseconds, most of them for waking up (docs/decisions/0013).
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How often the files at the store's paths are examined when nothing is written.
const EXAMINE_EVERY: Duration = Duration::from_secs(1);
/// How often to see whether somebody listens now.
const IDLE_EVERY: Duration = Duration::from_millis(100);

/// Looks at `PRAGMA data_version`, which changes exactly when another connection committed, and never by our own writes.
/// Connections of this process that write (a caller's own transaction) count as others, which is as it should be.
#[derive(Debug)]
pub(super) struct Watch {
    last_version: Option<i64>,
    last_look: Instant,
    last_examined: Instant,
}

impl Watch {
    /// Begins with the file as it is now: whatever comes later is heard of, even if nobody listens yet.
    pub(super) fn new(connection: &Connection) -> Self {
        Self { last_version: version(connection), last_look: now(), last_examined: now() }
    }

    /// How long the writer may sleep before it should look again.
    pub(super) fn pause(wakes: &Wakes) -> Duration {
        if wakes.anybody_listens() { LOOK_EVERY } else { IDLE_EVERY }
    }

    /// Whether it is time to examine the files at the store's paths.
    pub(super) fn is_time_to_examine(&mut self) -> bool {
        let is_time = self.last_examined.elapsed() >= EXAMINE_EVERY;
        if is_time {
            self.last_examined = now();
        }
        is_time
    }

    /// Rings for everything when another connection wrote since the last look. Does nothing when the last look was a
    /// moment ago or nobody listens.
    pub(super) fn look(&mut self, connection: &Connection, wakes: &Wakes) {
        if !wakes.anybody_listens() || self.last_look.elapsed() < LOOK_EVERY {
            return;
        }
        self.last_look = now();
        let version = version(connection);
        if version != self.last_version {
            self.last_version = version;
            wakes.ring_all();
        }
    }
}

/// None when it cannot be read: the next look tries again, and polling is the truth.
fn version(connection: &Connection) -> Option<i64> {
    connection
        .prepare_cached("PRAGMA data_version")
        .and_then(|mut select| select.query_row([], |found| found.get(0)))
        .inspect_err(|error| tracing::debug!(%error, "failed to look for writes of other processes"))
        .ok()
}

#[expect(clippy::disallowed_methods, reason = "paces looks at the file; nothing about a job depends on it")]
fn now() -> Instant {
    Instant::now()
}

/// How long this process has used a store: a monotonic clock for what is only counted.
pub(super) fn elapsed() -> Duration {
    static BEGAN: LazyLock<Instant> = LazyLock::new(now);
    BEGAN.elapsed()
}
