//! What [`transition::apply`](crate::transition::apply) answers with: data that a store compares and swaps.

use serde::{Deserialize, Serialize};

use crate::{
    Content, Effect, JobId, JobRow, Json, LeaseId, Progress, State, Suspicion, Timestamp, links::Links,
};

/// The whole life of a job after an event. It has every field that an event may move with its new value, the guard
/// under which a store may write it, and what follows from it.
///
/// A store writes it exactly if the row still has `revision_before` (and, for a report about a run, is running under
/// `lease`), and sets the revision to the next one. It writes the stored effects in the same transaction. Callers that
/// wait for this job are always notified; that is no effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which job.
    pub id: JobId,
    /// Guard: the run this is a report about. None for events from outside a run.
    pub lease: Option<LeaseId>,
    /// Guard: the revision the decision was made on.
    pub revision_before: u64,
    /// It takes the job from a dead worker. Its guard is the revision; it waits for no lock.
    pub is_rescue: bool,
    /// As [`JobRow::state`].
    pub state: State,
    /// As [`JobRow::attempt`].
    pub attempt: u32,
    /// As [`JobRow::max_attempts`].
    pub max_attempts: u32,
    /// As [`JobRow::crashes`].
    pub crashes: u32,
    /// As [`JobRow::suspicion`].
    pub suspicion: Option<Suspicion>,
    /// As [`JobRow::scheduled_at`].
    pub scheduled_at: Timestamp,
    /// As [`JobRow::expires_at`].
    pub expires_at: Option<Timestamp>,
    /// New content of a queued job; none for every event but an amendment.
    pub content: Option<Content>,
    /// As [`JobRow::unique_held`].
    pub unique_held: bool,
    /// As [`JobRow::lease_id`].
    pub lease_id: Option<LeaseId>,
    /// As [`JobRow::lease_until`].
    pub lease_until: Option<Timestamp>,
    /// As [`JobRow::worker`].
    pub worker: Option<String>,
    /// As [`JobRow::progress`]; written only where `Some(..)`: progress has its own path into the row, and a report
    /// must not overwrite what the handler reported a moment ago. `Some(None)` clears it.
    pub progress: Option<Option<Progress>>,
    /// As [`JobRow::output`].
    pub output: Option<Json>,
    /// As [`JobRow::reason`].
    pub reason: Option<String>,
    /// As [`JobRow::cancel_requested_at`].
    pub cancel_requested_at: Option<Timestamp>,
    /// As [`JobRow::woken`].
    pub woken: bool,
    /// As [`JobRow::started_at`].
    pub started_at: Option<Timestamp>,
    /// As [`JobRow::finished_at`].
    pub finished_at: Option<Timestamp>,
    /// New links; none for every change that leaves them as they are.
    pub links: Option<Box<Links>>,
    /// What follows from it beyond the job's row.
    pub effects: Vec<Effect>,
}

impl Change {
    /// A change that leaves the life of `job` as it is.
    pub(crate) fn keeping(job: &JobRow) -> Self {
        Self {
            id: job.id,
            lease: None,
            revision_before: job.revision,
            is_rescue: false,
            state: job.state,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            crashes: job.crashes,
            suspicion: job.suspicion,
            scheduled_at: job.scheduled_at,
            expires_at: job.expires_at,
            content: None,
            unique_held: job.unique_held,
            lease_id: job.lease_id,
            lease_until: job.lease_until,
            worker: job.worker.clone(),
            progress: None,
            output: job.output.clone(),
            reason: job.reason.clone(),
            cancel_requested_at: job.cancel_requested_at,
            woken: job.woken,
            started_at: job.started_at,
            finished_at: job.finished_at,
            links: None,
            effects: Vec::new(),
        }
    }

    /// Writes the change into `job`, as a store does into its row.
    pub fn write_to(&self, job: &mut JobRow) {
        job.state = self.state;
        job.attempt = self.attempt;
        job.max_attempts = self.max_attempts;
        job.crashes = self.crashes;
        job.suspicion = self.suspicion;
        job.scheduled_at = self.scheduled_at;
        job.expires_at = self.expires_at;
        if let Some(content) = &self.content {
            job.priority = content.priority;
            job.args.clone_from(&content.args);
            if let Some(queue) = &content.queue {
                job.queue.clone_from(queue);
            }
        }
        job.unique_held = self.unique_held;
        job.lease_id = self.lease_id;
        job.lease_until = self.lease_until;
        job.worker.clone_from(&self.worker);
        if let Some(progress) = &self.progress {
            job.progress.clone_from(progress);
        }
        job.output.clone_from(&self.output);
        job.reason.clone_from(&self.reason);
        job.cancel_requested_at = self.cancel_requested_at;
        job.woken = self.woken;
        job.started_at = self.started_at;
        job.finished_at = self.finished_at;
        if let Some(links) = &self.links {
            job.links = Some(links.clone());
        }
        job.revision = self.revision_before + 1;
    }

    /// Whether the change was written to `job` already, and its stored effects with it: the store's answer was lost, and the
    /// worker asks again. Progress and the end of the lease change without a revision, so they are not compared.
    pub fn is_written_to(&self, job: &JobRow) -> bool {
        let mut after = job.clone();
        self.write_to(&mut after);
        after.progress.clone_from(&job.progress);
        after.lease_until = after.lease_until.and(job.lease_until);
        after == *job
    }

    /// Whether a store must write more than the job's row.
    pub fn has_stored_effects(&self) -> bool {
        self.effects.iter().any(Effect::is_stored)
    }

    /// The record of the attempt that ends with this change; none if it does not end one, or ends it well.
    pub fn attempt_ended(&self) -> Option<&Attempt> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::RecordAttempt(attempt) => Some(attempt),
            Effect::Message(_)
            | Effect::Enqueue(_)
            | Effect::ReportRun(_)
            | Effect::Link { .. }
            | Effect::NotifyQueue { .. }
            | Effect::NotifyCancel => None,
        })
    }
}

/// The record of one attempt that did not succeed. A job that succeeds at once costs no such record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The run; with the job's id it names the record.
    pub lease_id: LeaseId,
    /// Which attempt of the budget it was. A crash gives its number back, so numbers may repeat.
    pub attempt: u32,
    /// In which way it ended.
    pub end: AttemptEnd,
    /// What to show people; at most [`ERROR_BYTES_MAX`](crate::bounds::ERROR_BYTES_MAX) bytes.
    pub error: String,
    /// The worker that ran it.
    pub worker: Option<String>,
    /// When it was claimed.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Timestamp,
}

/// In which way an attempt ended without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttemptEnd {
    /// The handler returned an error.
    Failed,
    /// The handler panicked; the panic was caught.
    Panicked,
    /// The handler ran longer than the job's timeout.
    TimedOut,
    /// The worker's process died.
    Crashed,
    /// The worker lost its lease while its process lived.
    Lost,
    /// The handler (or the decoding of its args) gave the job up.
    Discarded,
    /// The handler stopped the job.
    Cancelled,
}

impl AttemptEnd {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Failed,
        Self::Panicked,
        Self::TimedOut,
        Self::Crashed,
        Self::Lost,
        Self::Discarded,
        Self::Cancelled,
    ];

    /// The name in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Panicked => "panicked",
            Self::TimedOut => "timedout",
            Self::Crashed => "crashed",
            Self::Lost => "lost",
            Self::Discarded => "discarded",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::str::FromStr for AttemptEnd {
    type Err = crate::Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|end| end.as_str() == text)
            .ok_or_else(|| crate::Invalid::new("end of attempt", format!("{text:?} is unknown")))
    }
}

impl std::fmt::Display for AttemptEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
