//! The part of a job's row that the model keeps a second time.

use backroom::{
    JobRow, Json, LeaseId, State, Timestamp,
    core::{Suspicion, unique::UniqueWhile},
};

/// A row as it must be. The fields are those of [`JobRow`] that events move, and those that decide.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// As in the row.
    pub kind: String,
    /// As in the row.
    pub queue: String,
    /// As in the row.
    pub priority: u8,
    /// As in the row.
    pub args: Json,
    /// As in the row.
    pub state: State,
    /// As in the row.
    pub attempt: u32,
    /// As in the row.
    pub max_attempts: u32,
    /// As in the row.
    pub crashes: u32,
    /// As in the row.
    pub suspicion: Option<Suspicion>,
    /// As in the row.
    pub scheduled_at: Timestamp,
    /// As in the row.
    pub expires_at: Option<Timestamp>,
    /// Whether an attempt may run out of time.
    pub limited: bool,
    /// Whether its caller asks for messages.
    pub replies: bool,
    /// As in the row.
    pub key: Option<String>,
    /// As in the row.
    pub hold: Option<UniqueWhile>,
    /// As in the row.
    pub held: bool,
    /// As in the row: the current run's, or the last one's.
    pub lease: Option<LeaseId>,
    /// As in the row.
    pub lease_until: Option<Timestamp>,
    /// As in the row.
    pub worker: Option<String>,
    /// As in the row.
    pub output: Option<Json>,
    /// Whether a running job was asked to stop.
    pub cancel_asked: bool,
    /// As in the row.
    pub finished_at: Option<Timestamp>,
    /// As in the row.
    pub revision: u64,
}

impl Row {
    /// The part of a row that is compared.
    pub fn of(job: &JobRow) -> Self {
        Self {
            kind: job.kind.clone(),
            queue: job.queue.clone(),
            priority: job.priority,
            args: job.args.clone(),
            state: job.state,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            crashes: job.crashes,
            suspicion: job.suspicion,
            scheduled_at: job.scheduled_at,
            expires_at: job.expires_at,
            limited: job.extras.timeout.is_some(),
            replies: job.extras.reply.is_some(),
            key: job.unique_key.clone(),
            hold: job.unique_while,
            held: job.unique_held,
            lease: job.lease_id,
            lease_until: job.lease_until,
            worker: job.worker.clone(),
            output: job.output.clone(),
            cancel_asked: job.cancel_requested_at.is_some(),
            finished_at: job.finished_at,
            revision: job.revision,
        }
    }

    /// Whether this lease is the one it runs under.
    pub fn runs_under(&self, lease: LeaseId) -> bool {
        self.state == State::Running && self.lease == Some(lease)
    }
}
