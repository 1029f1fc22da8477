//! Compensations: what a workflow has done is undone in reverse, when it fails or is cancelled.
//!
//! Only steps whose value is recorded are undone. A compensation is tried until it succeeds; the entry shows how it stands.

use std::time::Duration;

use super::{Attempted, Cause, Entry, Next, Run, Undo, Write};
use crate::{
    RetryPolicy, Timestamp,
    bounds::{ERROR_BYTES_MAX, clip, later},
};

/// How long a compensation waits between tries: as jobs do by default, but an hour at most.
fn retry_policy() -> RetryPolicy {
    RetryPolicy { cap: Duration::from_secs(3600), ..RetryPolicy::DEFAULT }
}

impl Run {
    /// The next compensation. The last step is undone before the one before it is tried.
    pub(super) fn undo(&self, cause: Cause, real: Timestamp) -> Next {
        let is_due = |entry: &&Entry| matches!(entry.undo, Some(Undo::Due | Undo::Trying { .. }));
        let Some(entry) = self.journal.answered().rev().find(is_due) else { return Next::Undone(cause) };
        let tries = match entry.undo {
            Some(Undo::Trying { due_at, .. }) if due_at > real => return Next::Park { until: Some(due_at) },
            Some(Undo::Trying { tries, .. }) => tries,
            Some(Undo::Due | Undo::Done { .. }) | None => 0,
        };
        Next::Undo { key: entry.key.clone(), try_number: tries.saturating_add(1) }
    }

    /// A compensation has ended, at `at` by the clock of the store. `chance` is uniform in `[0, 1)`.
    pub fn undone(&self, key: &str, attempted: Attempted, at: Timestamp, chance: f64) -> Vec<Write> {
        let Some(entry) = self.journal.entry(key) else { return Vec::new() };
        let undo = match attempted {
            Attempted::Value(_) => Undo::Done { at },
            Attempted::Failed(error) | Attempted::GivenUp(error) => {
                let tries = match entry.undo {
                    Some(Undo::Trying { tries, .. }) => tries.saturating_add(1),
                    Some(Undo::Due | Undo::Done { .. }) | None => 1,
                };
                let due_at = later(at, retry_policy().delay(tries, chance));
                Undo::Trying { tries, due_at, error: clip(&error, ERROR_BYTES_MAX) }
            }
        };
        vec![Write::Entry(Entry { undo: Some(undo), ..entry.clone() })]
    }
}
