//! How long finished jobs are kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{State, Timestamp, bounds};

/// How long a queue keeps its finished jobs, per state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Default 7 days.
    pub completed: Keep,
    /// Default 7 days.
    pub cancelled: Keep,
    /// Default 30 days: these are the ones somebody may want to look at and retry.
    pub discarded: Keep,
}

/// A bound by age, by count, or both; whichever is reached first prunes. None is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keep {
    /// Oldest age since `finished_at`, in seconds.
    pub age_secs: Option<u64>,
    /// Most jobs kept, the newest.
    pub count: Option<u64>,
}

impl Keep {
    /// No bound.
    pub const FOREVER: Self = Self { age_secs: None, count: None };

    /// Kept for `age` (whole seconds).
    pub const fn for_age(age: Duration) -> Self {
        Self { age_secs: Some(age.as_secs()), count: None }
    }

    /// The newest `count` are kept.
    pub const fn newest(count: u64) -> Self {
        Self { age_secs: None, count: Some(count) }
    }

    /// Jobs that finished before this moment may go.
    pub fn finished_before(&self, now: Timestamp) -> Option<Timestamp> {
        self.age_secs.map(|age| bounds::earlier(now, Duration::from_secs(age)))
    }
}

impl Retention {
    /// Nothing is ever pruned.
    pub const FOREVER: Self =
        Self { completed: Keep::FOREVER, cancelled: Keep::FOREVER, discarded: Keep::FOREVER };

    /// The bounds, each with its finished state.
    pub const fn by_state(&self) -> [(State, Keep); 3] {
        [
            (State::Completed, self.completed),
            (State::Cancelled, self.cancelled),
            (State::Discarded, self.discarded),
        ]
    }
}

impl Default for Retention {
    fn default() -> Self {
        let days = |days: u64| Keep::for_age(Duration::from_secs(days * 24 * 3600));
        Self { completed: days(7), cancelled: days(7), discarded: days(30) }
    }
}
