//! What has happened to a schedule so far.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Schedule;

/// What a store holds of a schedule beside its definition. Changed only by [`plan`](super::plan::plan), by
/// [`ended`](super::ended::ended) and by the functions here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Every occurrence up to this moment has been decided.
    pub decided_until: Timestamp,
    /// What became of the occurrences.
    pub counters: Counters,
    /// Occurrences that wait for the end of a run, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buffer: Vec<Timestamp>,
    /// Set while it is paused by an operator, or by its policy after a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
    /// The last pause that has ended. Occurrences in it are skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_pause: Option<Stretch>,
    /// The nominal time of the last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fired: Option<Timestamp>,
    /// The last run that completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Success>,
    /// The expectation of a success counts from here if there was none since.
    pub watched_since: Timestamp,
    /// Since when it is overdue; set exactly while it is reported as overdue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overdue_since: Option<Timestamp>,
    /// Since when it fails, and why: its job cannot be made, or its last run was discarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Failing>,
    /// The last backfill, running or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill: Option<Backfill>,
    /// How many entries its history ever had.
    #[serde(default)]
    pub entries: u64,
    /// The last entry of its history, if that is of occurrences that did not run: neighbours join it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
}

/// Since when a schedule fails, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failing {
    /// Since when.
    pub since: Timestamp,
    /// What fails.
    pub of: FailingOf,
    /// Why, in one line.
    pub why: String,
}

/// What fails of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailingOf {
    /// Its next job cannot be made. Its occurrences wait until the definition is corrected.
    Job,
    /// Its last run was discarded.
    Run,
}

/// The last entry of a history, of occurrences that did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tail {
    /// Why they did not run, as [`What`](super::What) writes it.
    pub what: super::What,
    /// The nominal time of the first.
    pub first: Timestamp,
    /// The nominal time of the last.
    pub last: Timestamp,
    /// How many they are.
    pub count: u64,
}

/// The occurrences of a range in the past, run after the fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backfill {
    /// No occurrence before this moment.
    pub from: Timestamp,
    /// No occurrence after this moment.
    pub until: Timestamp,
    /// How many occurrences the range has.
    pub total: u64,
    /// How many of them were decided so far: they became jobs, or had run before.
    pub done: u64,
    /// Every occurrence of the range up to this moment has been decided.
    pub decided_until: Timestamp,
    /// At most so many of its runs go on at once.
    pub at_once: u32,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended, or was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

impl Backfill {
    /// Whether it goes on.
    pub const fn is_running(&self) -> bool {
        self.ended_at.is_none()
    }
}

/// What became of the occurrences. Each occurrence is counted once under fired, skipped or missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Counters {
    /// Became a job.
    pub fired: u64,
    /// Did not run by a policy, or in a pause.
    pub skipped: u64,
    /// Were missed and not caught up.
    pub missed: u64,
    /// Waited for the end of a run before they were fired or skipped.
    pub buffered: u64,
    /// Runs that were triggered by hand or by an outside timer.
    pub triggered: u64,
    /// Runs that a backfill started.
    pub backfilled: u64,
}

impl Counters {
    /// All runs, whatever started them.
    pub const fn runs(&self) -> u64 {
        self.fired.saturating_add(self.triggered).saturating_add(self.backfilled)
    }
}

/// Why and since when a schedule is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Since when.
    pub at: Timestamp,
    /// Who paused it.
    pub by: PausedBy,
}

/// Who paused a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PausedBy {
    /// An operator, or a program.
    Operator,
    /// Its policy, because the run of this nominal time failed.
    Failure(Timestamp),
}

/// A stretch of time: after its begin, up to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    /// Not a part of it.
    pub begin: Timestamp,
    /// The last moment of it.
    pub end: Timestamp,
}

/// A run that completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Success {
    /// Its nominal time.
    pub nominal: Timestamp,
    /// When it completed.
    pub at: Timestamp,
}

impl State {
    /// A schedule that is put for the first time. Occurrences before that never count as missed.
    pub fn begin(now: Timestamp) -> Self {
        Self {
            decided_until: now,
            counters: Counters::default(),
            buffer: Vec::new(),
            paused: None,
            last_pause: None,
            last_fired: None,
            last_success: None,
            watched_since: now,
            overdue_since: None,
            failing: None,
            backfill: None,
            entries: 0,
            tail: None,
        }
    }

    /// The schedule is put again. Counters, successes and an operator's pause stay. A definition with other occurrences counts
    /// from now on: what it would have had before is not missed.
    #[must_use]
    pub fn redefined(&self, old: &Schedule, new: &Schedule, now: Timestamp) -> Self {
        let mut state = self.clone();
        if old.has_other_occurrences(new) {
            state.decided_until = now;
        } else if old.paused && !new.paused {
            state.last_pause = Some(Stretch { begin: state.decided_until.min(now), end: now });
        }
        // A job that could not be made may be possible now. What a run failed of is known after the next one.
        state.failing = state.failing.filter(|failing| failing.of == FailingOf::Run);
        let begins_to_watch = old.policies.deadman != new.policies.deadman || (old.paused && !new.paused);
        if begins_to_watch {
            state.watched_since = now;
            state.overdue_since = None;
        }
        state
    }

    /// An operator pauses it. A pause that exists stays.
    #[must_use]
    pub fn pause(&self, now: Timestamp) -> Self {
        let pause = self.paused.unwrap_or(Pause { at: now, by: PausedBy::Operator });
        Self { paused: Some(pause), ..self.clone() }
    }

    /// An operator resumes it. Occurrences in the pause are skipped, not caught up. The expectation of a success counts from now on.
    #[must_use]
    pub fn resume(&self, now: Timestamp) -> Self {
        let Some(pause) = self.paused else { return self.clone() };
        let last_pause = Some(Stretch { begin: pause.at.min(now), end: now });
        Self { paused: None, last_pause, watched_since: now, overdue_since: None, ..self.clone() }
    }

    pub(crate) fn was_paused_at(&self, at: Timestamp) -> bool {
        self.last_pause.is_some_and(|pause| pause.begin < at && at <= pause.end)
    }
}

impl Schedule {
    /// Whether the occurrences of the other definition may differ.
    fn has_other_occurrences(&self, other: &Self) -> bool {
        self.specs != other.specs
            || self.except != other.except
            || self.zone != other.zone
            || self.starts_at != other.starts_at
            || self.ends_at != other.ends_at
            || self.policies.dst != other.policies.dst
    }
}
