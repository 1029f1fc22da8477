//! The job: one row, in one order everywhere (struct, table, JSON, page).

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::{
    Invalid, Json, LeaseId, RetryPolicy, Shown, State, Suspicion, Timestamp,
    unique::{Unique, UniqueWhile},
};

/// Names a job for ever. A UUIDv7 made by the client before the job is stored, so a repeated insert is the same
/// job, and ids sort by the time of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub Uuid);

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
    /// Where it waits. Set at enqueue; never changes.
    pub queue: String,
    /// Key inside the queue for order, limits and fairness.
    pub lane: Option<String>,
    /// 0 (first) to 9 (last); default 5.
    pub priority: u8,
    /// Changed by [`transition::apply`](crate::transition::apply) alone.
    pub state: State,
    /// Input of the handler. A replacing enqueue may change it while the job is queued.
    pub args: Json,
    /// How many attempts were charged so far; +1 at each claim, given back by snooze, release and crash.
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
    /// Longest run of one attempt, in whole milliseconds; none means unlimited.
    #[serde(rename = "timeout_ms", with = "whole_millis", default)]
    pub timeout: Option<Duration>,
    /// This job's own retry policy; none means its kind's.
    pub retry: Option<RetryPolicy>,
    /// The key that keeps duplicates out, prefixed with the kind.
    pub unique_key: Option<String>,
    /// How long the key is held; set exactly if the key is.
    pub unique_while: Option<UniqueWhile>,
    /// Whether this job holds its key now. A store keeps a unique index over the held keys.
    pub unique_held: bool,
    /// The current claim, or the last one when the job is not running: a repeated report about a finished run is
    /// recognised by it.
    pub lease_id: Option<LeaseId>,
    /// A lease after the claim; set exactly while running. For people: the lease holds for as long as the worker lives.
    pub lease_until: Option<Timestamp>,
    /// Name of the worker that holds, or last held, the lease.
    pub worker: Option<String>,
    /// What the handler last reported of this attempt.
    pub progress: Option<Progress>,
    /// What the handler returned; set exactly when completed. In JSON it is left out while there is none: `null` is a
    /// handler that returned nothing.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub output: Option<Json>,
    /// Why it was cancelled or discarded; set exactly then.
    pub reason: Option<String>,
    /// When somebody asked for a running job to stop.
    pub cancel_requested_at: Option<Timestamp>,
    /// A wake arrived while the job ran; its next suspend returns at once.
    pub woken: bool,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When the current or last attempt was claimed.
    pub started_at: Option<Timestamp>,
    /// When it finished; set exactly when finished.
    pub finished_at: Option<Timestamp>,
    /// Words to filter by.
    pub tags: Vec<String>,
    /// Free data of the caller.
    pub meta: BTreeMap<String, String>,
    /// +1 at every change of state or mark; what a compare-and-swap compares.
    pub revision: u64,
    /// The evidence of its crashes; set exactly if there are any.
    #[serde(default)]
    pub suspicion: Option<Suspicion>,
}

/// What one entry of meta takes beside its texts.
const META_ENTRY_BYTES: usize = 32;

impl JobRow {
    /// Whether it is due. `due` is later than `now` only for a while after the store's clock was set back: then the jobs that were
    /// stored before that are due by the time of before. Of the others, that were written since, the time is that of now.
    pub fn is_due(&self, due: Timestamp, now: Timestamp) -> bool {
        let is_of_before = self.revision == 0 && self.created_at > now;
        self.scheduled_at <= now || (is_of_before && self.scheduled_at <= due)
    }

    /// Whether an attempt was charged or a worker died on it.
    pub fn was_tried(&self) -> bool {
        self.attempt > 0 || self.crashes > 0
    }

    /// How it is shown at `now`.
    pub fn shown(&self, now: Timestamp) -> Shown {
        Shown::of(self, now)
    }

    /// Bytes of memory that grow with what callers and handlers gave it: args, output and meta. What is left out is bounded
    /// by a few kilobytes. Meta is counted a little too large, so that a store that counts it differently counts no more.
    pub fn bytes(&self) -> usize {
        let meta = self.meta.iter().map(|(key, value)| key.len() + value.len() + META_ENTRY_BYTES);
        let output = self.output.as_ref().map_or(0, |output| output.as_str().len());
        self.args.as_str().len() + output + meta.sum::<usize>()
    }

    /// The uniqueness this job was enqueued with.
    pub fn unique(&self) -> Option<Unique> {
        let (key, hold) = (self.unique_key.clone()?, self.unique_while?);
        Some(Unique { key, hold })
    }
}

/// What a running handler says of itself.
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

/// A value that is there, be it `null`: an `Option` would read that as none.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

/// A span as whole milliseconds: a number that any language reads.
mod whole_millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        span: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        span.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<u64>::deserialize(deserializer).map(|span| span.map(Duration::from_millis))
    }
}
