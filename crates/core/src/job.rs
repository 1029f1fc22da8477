//! The job: one row, in one order everywhere (struct, table, JSON, page).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::{
    DisplayState, Extras, Invalid, Json, LeaseId, State, Suspicion, Timestamp,
    batch::BatchId,
    links::{After, Links},
    unique::{Unique, UniqueWhile},
};

/// Names a job for ever. The client makes this UUIDv7 before the job is stored. So a repeated insert is the same job, and ids
/// sort by the time of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub Uuid);

impl JobId {
    /// The id `n` places behind this one, of the same millisecond: for jobs whose ids are chosen together.
    #[must_use]
    pub fn nth(self, n: u64) -> Self {
        const RANDOM: u128 = (1 << 62) - 1;
        let bits = self.0.as_u128();
        let random = (bits & RANDOM).wrapping_add(u128::from(n)) & RANDOM;
        Self(Uuid::from_u128((bits & !RANDOM) | random))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.trim().parse().map(Self).map_err(|_| {
            let why = format!("{text:?} is not a UUID, like 01890a5d-ac96-774b-bcce-b302099a8057");
            Invalid::new("job id", why)
        })
    }
}

/// A unit of work and everything known about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRow {
    /// Set by the client at enqueue; never changes.
    pub id: JobId,
    /// Which handler runs it. Set at enqueue; never changes.
    pub kind: String,
    /// Where it waits. Set at enqueue; an amendment may move it while it is queued.
    pub queue: String,
    /// Key inside the queue for order, limits and fairness.
    pub lane: Option<String>,
    /// 0 (first) to 9 (last); default 5.
    pub priority: u8,
    /// Changed by [`transition::apply`](crate::transition::apply) alone.
    pub state: State,
    /// Input of the handler. A replacing enqueue may change it while the job is queued.
    pub args: Json,
    /// How many attempts were charged so far: one more at each claim, one less after snooze, release and crash.
    pub attempt: u32,
    /// The budget; counts the first attempt. Raised by one when a spent job is retried by hand.
    pub max_attempts: u32,
    /// How many worker processes died while they ran it, as far as it was charged and it is remembered: see
    /// [`bounds::CRASH_SPAN`](crate::bounds::CRASH_SPAN).
    pub crashes: u32,
    /// When it may run. Moved by back-off and snooze.
    pub scheduled_at: Timestamp,
    /// If it has not begun by then it is cancelled with the reason `expired`.
    pub expires_at: Option<Timestamp>,
    /// The key that no other job may hold at the same time, prefixed with the kind.
    pub unique_key: Option<String>,
    /// How long the key is held; set exactly if the key is.
    pub unique_while: Option<UniqueWhile>,
    /// Whether this job holds its key now. A store has a unique index over the held keys.
    pub unique_held: bool,
    /// The current claim, or the last one when the job is not running. By it a store recognises a repeated report about a
    /// run that has ended.
    pub lease_id: Option<LeaseId>,
    /// The claim plus one lease; set exactly while running. It is shown to people. The lease holds for as long as the worker
    /// lives.
    pub lease_until: Option<Timestamp>,
    /// Name of the worker that holds, or last held, the lease.
    pub worker: Option<String>,
    /// What the handler last reported of this attempt.
    pub progress: Option<Progress>,
    /// What the handler returned; set exactly when completed. In JSON the field is left out while there is none, because `null`
    /// is the output of a handler that returned nothing.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub output: Option<Json>,
    /// Why it was cancelled or discarded; set exactly then.
    pub reason: Option<String>,
    /// When a client asked for a running job to stop.
    pub cancel_requested_at: Option<Timestamp>,
    /// A wake arrived while the job ran; its next suspend returns at once.
    pub woken: bool,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When the current or last attempt was claimed.
    pub started_at: Option<Timestamp>,
    /// When it finished; set exactly when finished.
    pub finished_at: Option<Timestamp>,
    /// Labels to filter by.
    pub tags: Vec<String>,
    /// Everything else that its caller chose. In JSON its fields stand here beside the others.
    #[serde(flatten)]
    pub extras: Extras,
    /// +1 at every change of state or mark; what a compare-and-swap compares.
    pub revision: u64,
    /// The evidence of its crashes; set exactly if there are any.
    #[serde(default)]
    pub suspicion: Option<Suspicion>,
    /// What ties it to other jobs; none for nearly all jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<Box<Links>>,
}

impl JobRow {
    /// Whether it is due. `due` is later than `now` only for a while after the store's clock was set back. Jobs that were stored
    /// before that are then due by the earlier reading, `due`. Jobs that were written since are due by `now`.
    pub fn is_due(&self, due: Timestamp, now: Timestamp) -> bool {
        let is_of_before = self.revision == 0 && self.created_at > now;
        self.scheduled_at <= now || (is_of_before && self.scheduled_at <= due)
    }

    /// Whether an attempt was charged or a worker died on it.
    pub fn was_tried(&self) -> bool {
        self.attempt > 0 || self.crashes > 0
    }

    /// How it is shown at `now`.
    pub fn shown(&self, now: Timestamp) -> DisplayState {
        DisplayState::of(self, now)
    }

    /// Bytes that grow with what callers and handlers gave it: args, output and extras. What is left out is bounded by a few
    /// kilobytes. A store that counts the text of the extras never counts more than this.
    pub fn bytes(&self) -> usize {
        let output = self.output.as_ref().map_or(0, |output| output.as_str().len());
        self.args.as_str().len() + output + self.extras.bytes_max()
    }

    /// Whether a cancel lets it run once more: its workflow has children, or steps that can be undone.
    pub fn undoes(&self) -> bool {
        self.links.as_ref().is_some_and(|links| links.journal)
    }

    /// The batch that it is a member of.
    pub fn batch(&self) -> Option<BatchId> {
        self.links.as_ref()?.batch
    }

    /// Whether it waits for jobs that it was enqueued after: then nothing else may wake it.
    pub fn is_held(&self) -> bool {
        self.state == State::Waiting
            && self.links.as_ref().is_some_and(|links| links.after == Some(After::Held))
    }

    /// The uniqueness this job was enqueued with.
    pub fn unique(&self) -> Option<Unique> {
        let (key, hold) = (self.unique_key.clone()?, self.unique_while?);
        Some(Unique { key, hold })
    }
}

/// How far a running handler is, as it reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// 0 to 100.
    pub percent: u8,
    /// At most [`MESSAGE_BYTES_MAX`](crate::bounds::MESSAGE_BYTES_MAX) bytes.
    pub message: String,
}

/// One line that a handler logged on its job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The run that wrote it.
    pub lease_id: LeaseId,
    /// Position within the run, from 0; with the lease it names the line, so a repeated write adds nothing.
    pub seq: u32,
    /// When it was written.
    pub at: Timestamp,
    /// The text, one line.
    pub line: String,
}

/// A value that is there, even if it is `null`, which an `Option` would read as none.
pub(crate) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}
