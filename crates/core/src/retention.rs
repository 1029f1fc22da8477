//! How long finished jobs are retained.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{State, Timestamp, bounds};

/// How long the finished jobs of a queue are retained, for each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Default 7 days.
    pub completed: RetentionLimit,
    /// Default 7 days.
    pub cancelled: RetentionLimit,
    /// Default 30 days: an operator may want to read these and to retry them.
    pub discarded: RetentionLimit,
}

/// A limit by age, by count, or both. A job that is beyond either of them may be deleted. None is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionLimit {
    /// Oldest age since `finished_at`, in seconds.
    pub age_secs: Option<u64>,
    /// Most jobs that are retained, the newest.
    pub count: Option<u64>,
}

impl RetentionLimit {
    /// No limit.
    pub const FOREVER: Self = Self { age_secs: None, count: None };

    /// Retained for `age` (whole seconds).
    pub const fn for_age(age: Duration) -> Self {
        Self { age_secs: Some(age.as_secs()), count: None }
    }

    /// The newest `count` are retained.
    pub const fn newest(count: u64) -> Self {
        Self { age_secs: None, count: Some(count) }
    }

    /// Jobs that finished before this moment may be deleted.
    pub fn finished_before(&self, now: Timestamp) -> Option<Timestamp> {
        self.age_secs.map(|age| bounds::earlier(now, Duration::from_secs(age)))
    }
}

impl Retention {
    /// Nothing is ever deleted.
    pub const FOREVER: Self = Self {
        completed: RetentionLimit::FOREVER,
        cancelled: RetentionLimit::FOREVER,
        discarded: RetentionLimit::FOREVER,
    };

    /// The limits, each with its finished state.
    pub const fn by_state(&self) -> [(State, RetentionLimit); 3] {
        [
            (State::Completed, self.completed),
            (State::Cancelled, self.cancelled),
            (State::Discarded, self.discarded),
        ]
    }
}

impl Default for Retention {
    fn default() -> Self {
        let days = |days: u64| RetentionLimit::for_age(Duration::from_secs(days * 24 * 3600));
        Self { completed: days(7), cancelled: days(7), discarded: days(30) }
    }
}
