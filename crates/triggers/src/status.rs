//! What a trigger does now, and what it has counted since its process began.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use backroom::Timestamp;
use serde::{Deserialize, Serialize};

/// What a trigger does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// It begins.
    #[default]
    Starting,
    /// It reads its source.
    Running,
    /// It waits because another process reads the source.
    Standby,
    /// A person paused it.
    Paused,
    /// It waits because no job can be enqueued: the target queue is full, or the store is away.
    Blocked,
    /// Its source cannot be read; it tries again.
    Failing,
    /// It has stopped.
    Stopped,
}

impl Activity {
    /// Every activity.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Running,
        Self::Standby,
        Self::Paused,
        Self::Blocked,
        Self::Failing,
        Self::Stopped,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Standby => "standby",
            Self::Paused => "paused",
            Self::Blocked => "blocked",
            Self::Failing => "failing",
            Self::Stopped => "stopped",
        }
    }
}

/// What was counted since the process began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Deliveries that came from the source, also those that came again.
    pub received: u64,
    /// Bytes of their bodies.
    pub received_bytes: u64,
    /// Jobs that they became.
    pub enqueued: u64,
    /// Deliveries that had become a job already.
    pub duplicates: u64,
    /// Deliveries that the filter left out.
    pub left_out: u64,
    /// Deliveries that could not become a job.
    pub refused: u64,
    /// Times that the source could not be read.
    pub errors: u64,
}

/// A trigger as its process sees it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Status {
    /// What it does.
    pub activity: Activity,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Why it fails or is blocked, with a remedy.
    pub error: Option<String>,
    /// What was counted.
    pub counters: Counters,
    /// Deliveries that wait in the source, where it can say.
    pub lag: Option<u64>,
    /// Deliveries in hand.
    pub in_flight: u64,
    /// When the last delivery came.
    pub last_delivery_at: Option<Timestamp>,
    /// What the source reports.
    #[serde(default)]
    pub details: serde_json::Value,
}

/// The counters of a trigger, and what it does: written by its tasks, read by others.
#[derive(Debug, Default)]
pub(crate) struct Board {
    pub(crate) received: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
    pub(crate) enqueued: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) left_out: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) errors: AtomicU64,
    shown: Mutex<Shown>,
}

#[derive(Debug, Default, Clone)]
struct Shown {
    activity: Activity,
    since: Option<Timestamp>,
    error: Option<String>,
    lag: Option<u64>,
    in_flight: u64,
    last_delivery_at: Option<Timestamp>,
    details: serde_json::Value,
}

impl Board {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// What the trigger does from now on, and why.
    pub(crate) fn show(&self, activity: Activity, error: Option<String>, now: Timestamp) {
        self.change(|shown| {
            if shown.activity != activity || shown.since.is_none() {
                (shown.activity, shown.since) = (activity, Some(now));
            }
            shown.error = error;
        });
    }

    pub(crate) fn show_source(&self, lag: Option<u64>, details: serde_json::Value) {
        self.change(|shown| (shown.lag, shown.details) = (lag, details));
    }

    pub(crate) fn in_flight(&self, deliveries: usize, now: Option<Timestamp>) {
        self.change(|shown| {
            shown.in_flight = deliveries as u64;
            shown.last_delivery_at = now.or(shown.last_delivery_at);
        });
    }

    pub(crate) fn count(counter: &AtomicU64, by: usize) {
        counter.fetch_add(by as u64, Relaxed);
    }

    pub(crate) fn status(&self) -> Status {
        let Shown { activity, since, error, lag, in_flight, last_delivery_at, details } =
            self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let counters = Counters {
            received: self.received.load(Relaxed),
            received_bytes: self.received_bytes.load(Relaxed),
            enqueued: self.enqueued.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            left_out: self.left_out.load(Relaxed),
            refused: self.refused.load(Relaxed),
            errors: self.errors.load(Relaxed),
        };
        Status { activity, since, error, counters, lag, in_flight, last_delivery_at, details }
    }

    fn change(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
