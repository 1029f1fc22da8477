//! What a worker sends to a server, and what it reads of the answers: the routes of `api/leases`.

use std::collections::BTreeMap;

use backroom::{
    Draft, Extras, JobId, JobRow, Json, LeaseId, State, Timestamp, WorkerRow,
    core::bounds::{JSON_BYTES_MAX, later},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How the worker describes itself.
#[derive(Debug, Clone, Serialize)]
pub(super) struct WorkerBody {
    pub(super) name: String,
    pub(super) instance: Uuid,
    pub(super) host: String,
    pub(super) kinds: Vec<String>,
    pub(super) keys: Vec<String>,
    pub(super) queues: Vec<QueueBody>,
    pub(super) lease_ms: u64,
    pub(super) stopping: bool,
    pub(super) running: u32,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct QueueBody {
    pub(super) name: String,
    pub(super) slots: u32,
}

impl From<&WorkerRow> for WorkerBody {
    fn from(row: &WorkerRow) -> Self {
        let queue = |(name, slots): &(String, u32)| QueueBody { name: name.clone(), slots: *slots };
        Self {
            name: row.name.clone(),
            instance: row.incarnation,
            host: row.host.clone(),
            kinds: row.kinds.clone(),
            keys: row.details.keys.clone(),
            queues: row.queues.iter().map(queue).collect(),
            lease_ms: row.lease_ms,
            stopping: row.stopping,
            running: row.running,
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct ClaimBody<'a> {
    pub(super) worker: &'a WorkerBody,
    pub(super) claim: LeaseId,
    pub(super) repeated: bool,
    pub(super) queues: Vec<&'a str>,
    pub(super) kinds: &'a [String],
    pub(super) limit: usize,
    pub(super) bytes_max: usize,
    pub(super) wait_ms: u64,
}

/// The answer to a claim.
#[derive(Debug, Deserialize)]
pub(super) struct Claimed {
    pub(super) jobs: Vec<LeasedJob>,
    /// With a limit of 0: whether a job is due.
    #[serde(default)]
    pub(super) due: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct LeasedJob {
    pub(super) id: JobId,
    pub(super) lease: LeaseId,
    pub(super) token: String,
    kind: String,
    queue: String,
    priority: u8,
    args: Json,
    attempt: u32,
    max_attempts: u32,
    tags: Vec<String>,
    extras: Extras,
    scheduled_at: Timestamp,
    created_at: Timestamp,
}

impl LeasedJob {
    /// The job's row as its worker needs it.
    pub(super) fn row(
        self,
        worker: &str,
        now: Timestamp,
        lease_ms: u64,
    ) -> Result<JobRow, backroom::Invalid> {
        // The server accepted it with its own bound.
        let most = JSON_BYTES_MAX.max(self.args.as_str().len());
        let draft = Draft { queue: self.queue, ..Draft::new(self.kind, self.args) };
        let new = draft.check(self.id, self.created_at, most)?;
        Ok(JobRow {
            state: State::Running,
            priority: self.priority,
            attempt: self.attempt,
            max_attempts: self.max_attempts,
            lease_id: Some(self.lease),
            lease_until: Some(later(now, std::time::Duration::from_millis(lease_ms))),
            worker: Some(worker.to_owned()),
            tags: self.tags,
            extras: self.extras,
            scheduled_at: self.scheduled_at,
            started_at: Some(now),
            ..new.job
        })
    }
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct RunBody {
    pub(super) job: JobId,
    pub(super) lease: LeaseId,
}

#[derive(Debug, Serialize)]
pub(super) struct ExtendBody<'a> {
    pub(super) worker: &'a WorkerBody,
    pub(super) leases: &'a [RunBody],
    pub(super) claims: &'a [LeaseId],
}

#[derive(Debug, Deserialize)]
pub(super) struct Extended {
    pub(super) leases: Vec<HeldName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HeldName {
    Held,
    Cancel,
    Lost,
}

#[derive(Debug, Serialize)]
pub(super) struct LeaveBody<'a> {
    pub(super) worker: &'a WorkerBody,
}

#[derive(Debug, Serialize)]
pub(super) struct CommitsBody<'a> {
    pub(super) worker: &'a str,
    pub(super) commits: Vec<CommitBody<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct CommitBody<'a> {
    pub(super) job: JobId,
    pub(super) lease: LeaseId,
    pub(super) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delay_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Committed {
    pub(super) commits: Vec<SettledBody>,
}

#[derive(Debug, Deserialize)]
pub(super) struct SettledBody {
    pub(super) status: SettledName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SettledName {
    Recorded,
    Lost,
    NotYours,
    Later,
}

#[derive(Debug, Serialize)]
pub(super) struct ReportsBody<'a> {
    pub(super) worker: &'a str,
    pub(super) reports: Vec<ReportBody<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct ReportBody<'a> {
    pub(super) job: JobId,
    pub(super) lease: LeaseId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) progress: Option<ProgressBody<'a>>,
    pub(super) lines: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_line: Option<u32>,
}

#[derive(Debug, Serialize)]
pub(super) struct ProgressBody<'a> {
    pub(super) percent: u8,
    pub(super) message: &'a str,
}

/// What a refusal says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ProblemBody {
    #[serde(default)]
    pub(super) code: String,
    #[serde(default)]
    pub(super) detail: String,
}

/// The runs that the worker has, with what belongs to each.
pub(super) type Runs = BTreeMap<(JobId, LeaseId), super::remote_store::Run>;
