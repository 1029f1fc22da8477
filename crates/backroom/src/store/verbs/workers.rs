//! Verbs for workers: heartbeats, liveness, and what workers counted.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use backroom_core::{
    Kinds, Timestamp,
    blame::{Threads, Trials},
    stats::StatsRow,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Error, Process,
    process::{self, Fate},
};

/// Registers workers, observes whether they live, and stores their statistics.
#[async_trait]
pub trait WorkerVerbs: Send + Sync {
    /// Writes a worker's heartbeat and report, unless the worker was declared dead or another worker has its name.
    async fn heartbeat(&self, worker: Arc<WorkerRow>) -> Result<Beaten, Error>;

    /// Deletes the row of a worker that stopped. Its leases are not touched.
    async fn deregister(&self, worker: &str) -> Result<(), Error>;

    /// Workers whose last heartbeat was at or after `since`, by name. For people; liveness is decided by
    /// [`holders`](Self::holders).
    async fn workers(&self, since: Timestamp) -> Result<Vec<WorkerRow>, Error>;

    /// Every worker that has a row, and every name without a row under which jobs run, by name.
    async fn holders(&self) -> Result<Vec<Holder>, Error>;

    /// Declares a worker dead, durably, unless its heartbeat count differs from `beats`; `None` stands for a name without a
    /// row. Answers whether the worker is dead now. From then on [`heartbeat`](Self::heartbeat) answers [`Beaten::Dead`] to
    /// it, and any process may rescue its jobs. Deletes the rows of workers that died a day before `now`.
    async fn declare_dead(&self, worker: &str, beats: Option<u64>, now: Timestamp) -> Result<bool, Error>;

    /// Writes what a worker counted within one minute, and replaces what it wrote for that minute before. Deletes some of the
    /// rows whose minute began longer than [`RETENTION`](backroom_core::stats::RETENTION) ago.
    async fn put_stats(&self, row: Arc<StatsRow>, now: Timestamp) -> Result<(), Error>;

    /// What workers counted in the minutes that began at or after `since`: at most `limit` rows, the newest minute first, and
    /// by worker within a minute.
    async fn stats(&self, since: Timestamp, limit: usize) -> Result<Vec<StatsRow>, Error>;
}

/// What became of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beaten {
    /// It is written: the worker lives.
    Alive,
    /// It is not written: a worker of this name was declared dead, or another worker has the name. All leases under this name
    /// are lost. The worker continues under a new name.
    Dead,
}

/// A name under which jobs run or may run: that of a worker with a row, or one that has running jobs and no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The worker's name.
    pub name: String,
    /// Its row.
    pub row: Option<WorkerRow>,
    /// Whether any job runs under the name.
    pub holds: bool,
}

/// What a worker reports of itself with each heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRow {
    /// Unique among workers: host, process and a random part.
    pub name: String,
    /// Distinguishes two workers of the same name. Random, and constant while the worker has the name.
    pub incarnation: Uuid,
    /// How many heartbeats there were. Observers check whether it changes; they compare no times.
    pub beats: u64,
    /// Another process declared it dead; its jobs are rescued. It never comes back under this name.
    pub dead: bool,
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// Since when.
    pub started_at: Timestamp,
    /// When its last heartbeat was. For people; nothing is decided by it.
    pub beat_at: Timestamp,
    /// How long it may send no heartbeat before it counts as dead: its lease, in milliseconds.
    pub lease_ms: u64,
    /// Each queue it serves with the slots that may serve it.
    pub queues: Vec<(String, u32)>,
    /// Kinds it has a handler for; with [`any_kind`](WorkerDetails::any_kind) those that it leaves out.
    pub kinds: Vec<String>,
    /// All its slots.
    pub slots: u32,
    /// Slots taken.
    pub running: u32,
    /// Slots whose handler still runs after a stop request.
    pub stuck: u32,
    /// It claims no more jobs.
    pub stopping: bool,
    /// Its jobs that are suspected of killing their worker and have begun.
    pub trials: Trials,
    /// What prevents it from claiming jobs or from writing the ends of its runs, and since when.
    #[serde(default)]
    pub trouble: Option<String>,
    /// What else it reports.
    #[serde(flatten)]
    pub details: WorkerDetails,
}

/// What a worker reports of itself beyond what stores read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerDetails {
    /// Which process it is, so that others on the same machine can see whether it is dead.
    pub process: Process,
    /// How far the wall clock of its machine is ahead of the store's time, in milliseconds (behind, if negative); none where
    /// both are the same clock.
    pub clock_ahead_ms: Option<i64>,
    /// Memory of its process that is in RAM at this heartbeat, in bytes: of all workers of one process together. None where the system does
    /// not say it, as outside of Linux.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The last time that its runtime was blocked since it started.
    pub blocked: Option<Blocked>,
    /// The threads that its blocking handlers share.
    pub threads: Threads,
    /// Who runs it, for a worker outside of the programs that use the library; none for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Whether it takes jobs of every kind that it does not name.
    #[serde(skip_serializing_if = "is_false")]
    pub any_kind: bool,
    /// The kinds that it does not claim for a while, because their endpoints failed again and again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub breakers: Vec<OpenBreaker>,
    /// The ids of the keys with which it opens sealed values. They are no secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

/// A kind whose circuit breaker is open at one worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenBreaker {
    /// The kind.
    pub kind: String,
    /// Since when.
    pub since: Timestamp,
    /// How many attempts failed in a row.
    pub failures: u32,
    /// What the last one failed with.
    pub why: String,
}

/// A runtime that could not run its tasks, because handlers blocked its threads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// When that was noticed.
    pub at: Timestamp,
    /// For how long it had been blocked at the last heartbeat of that time, in milliseconds.
    pub for_ms: u64,
    /// Whether it is still blocked.
    pub now: bool,
    /// The kinds of the handlers that blocked it, at most ten; none if no handler did.
    pub kinds: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl WorkerRow {
    /// Which kinds it takes.
    pub fn takes(&self) -> Kinds {
        if self.details.any_kind { Kinds::AnyBut(self.kinds.clone()) } else { Kinds::Of(self.kinds.clone()) }
    }

    /// Whether it takes jobs of a kind.
    pub fn handles(&self, kind: &str) -> bool {
        self.kinds.iter().any(|known| known == kind) != self.details.any_kind
    }

    /// What this process knows about the worker's.
    pub(crate) fn fate(&self) -> Fate {
        process::fate(&self.host, self.pid, &self.details.process)
    }
}

impl fmt::Display for Blocked {
    /// `blocked for 9 s by resize, upload`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = if self.kinds.is_empty() {
            "code that is no handler of this worker".into()
        } else {
            self.kinds.join(", ")
        };
        write!(f, "blocked for {} s by {by}", self.for_ms / 1000)
    }
}

/// How long the row of a dead worker is retained, for people to see it. A worker that comes back later finds its leases lost.
pub(crate) const DEAD_REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// The row of a worker that never wrote one, or whose row is gone, once it is declared dead.
pub(crate) fn dead_without_a_row(worker: &str, now: Timestamp) -> WorkerRow {
    WorkerRow { name: worker.to_owned(), dead: true, started_at: now, beat_at: now, ..WorkerRow::default() }
}
