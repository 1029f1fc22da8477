//! What the verbs of the seam take and answer.

use std::{fmt, sync::Arc, time::Duration};

use backroom_core::{
    Attempt, Event, JobId, JobRow, LeaseId, LogLine, Progress, Shown, State, Timestamp,
    blame::{Threads, Trials},
    queue::{PausedBy, Queue},
    retention::Retention,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Process;

/// What became of one inserted job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is stored.
    Created,
    /// It was not stored: this job holds its unique key and stays.
    Kept(JobId),
    /// It was not stored: this job holds its unique key and took over its content.
    Replaced(JobId),
    /// It was not stored: this job holds its unique key.
    KeyHeld(JobId),
}

/// A worker's wish for jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The worker's name.
    pub worker: String,
    /// Queues in the order they are served. A queue may be named more than once: shares by weight first, then
    /// again for what is left.
    pub shares: Vec<Share>,
    /// Kinds the worker handles; jobs of other kinds stay where they are.
    pub kinds: Arc<Vec<String>>,
    /// Most jobs over all shares.
    pub limit: usize,
    /// The claim takes no more behind the job with which it holds this many bytes ([`JobRow::bytes`]). So it takes at least
    /// one job, however large.
    pub bytes_max: usize,
    /// Fresh and random for this call.
    pub lease: LeaseId,
    /// Until when the leases hold unless extended.
    pub until: Timestamp,
    /// Later than now only for a while after the store's clock was set back: see [`JobRow::is_due`].
    pub due: Timestamp,
    /// The same call was made before and its answer was lost: answer with the jobs that already run under this
    /// lease, and take no more. If there are none, take jobs as if it were the first call.
    pub repeat: bool,
}

impl Claim {
    /// What happens to each job that it takes.
    pub fn event(&self) -> Event {
        Event::Claim { lease: self.lease, until: self.until, due: self.due, worker: self.worker.clone() }
    }
}

/// How much of a claim one queue may fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The queue.
    pub queue: String,
    /// Most jobs from it.
    pub at_most: usize,
}

/// What became of one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// It is written.
    Done,
    /// The row has moved on since the decision was made (or is gone): read it again and decide anew.
    Stale,
    /// The change would take a unique key that this job holds.
    KeyHeld(JobId),
    /// It is not written: another transaction has locked the row, or is about to take the unique key that the change
    /// would take. The job itself may not have moved on. Read it again later and decide again then.
    RowLocked,
}

/// Whether a lease is still held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It is.
    Yes,
    /// It is, and the job is asked to stop.
    CancelRequested,
    /// The job runs elsewhere, is finished or gone. Stop the run and drop its result.
    Lost,
}

/// What a handler says of itself while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The job.
    pub job: JobId,
    /// The run.
    pub lease: LeaseId,
    /// Its progress, if it changed.
    pub progress: Option<Progress>,
    /// New log lines.
    pub lines: Vec<LogLine>,
}

/// Which finished jobs may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prune {
    /// Of this queue.
    pub queue: String,
    /// In this finished state.
    pub state: State,
    /// Those that finished before this moment.
    pub finished_before: Option<Timestamp>,
    /// Those beyond the newest this many.
    pub beyond: Option<u64>,
    /// Most jobs to delete in this call.
    pub limit: usize,
}

/// What became of a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Yes,
    /// It runs; cancel it first.
    Running,
    /// There is no such job.
    NotFound,
    /// It is no longer as it was read: its revision is another. Only a guarded delete answers it.
    Moved,
    /// Another transaction has locked its row, which may take long. Only a guarded delete answers it.
    RowLocked,
}

/// Which jobs to list; all conditions hold together, none lists all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// In one of these states; empty for any.
    pub states: Vec<State>,
    /// Of this queue.
    pub queue: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// Created at or after.
    pub created_from: Option<Timestamp>,
    /// Created before.
    pub created_before: Option<Timestamp>,
    /// Of the queued jobs only those that are shown in one of these ways; jobs in other states are not concerned.
    pub queued_as: Option<QueuedAs>,
}

/// How queued jobs are shown at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedAs {
    /// Some of [`Shown::Scheduled`], [`Shown::Retrying`] and [`Shown::Available`].
    pub shown: Vec<Shown>,
    /// The moment.
    pub now: Timestamp,
}

impl Filter {
    /// Jobs that are shown in one of these ways at `now`.
    pub fn shown(shown: &[Shown], now: Timestamp) -> Self {
        let mut states: Vec<State> = shown.iter().map(|shown| shown.stored()).collect();
        states.sort_unstable();
        states.dedup();
        let mut queued: Vec<_> =
            shown.iter().copied().filter(|shown| shown.stored() == State::Queued).collect();
        queued.sort_unstable();
        queued.dedup();
        // All three ways are the stored state itself.
        let queued_as = matches!(queued.len(), 1 | 2).then_some(QueuedAs { shown: queued, now });
        Self { states, queued_as, ..Self::default() }
    }

    /// Whether a job matches.
    pub fn matches(&self, job: &JobRow) -> bool {
        (self.states.is_empty() || self.states.contains(&job.state))
            && self.queue.as_ref().is_none_or(|queue| job.queue == *queue)
            && self.kind.as_ref().is_none_or(|kind| job.kind == *kind)
            && self.tag.as_ref().is_none_or(|tag| job.tags.contains(tag))
            && self.created_from.is_none_or(|from| job.created_at >= from)
            && self.created_before.is_none_or(|before| job.created_at < before)
            && self.queued_as.as_ref().is_none_or(|wanted| {
                job.state != State::Queued || wanted.shown.contains(&job.shown(wanted.now))
            })
    }
}

impl QueuedAs {
    /// The same in SQL, over the columns of a job; `now` is the parameter that holds the moment. Where only queued jobs are
    /// asked for, the condition does not name the state, so that an index without that column can answer.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn sql(&self, states: &[State], now: &str) -> String {
        let ways = self.shown.iter().filter_map(|shown| match shown {
            Shown::Available => Some(format!("scheduled_at <= {now}")),
            Shown::Retrying => Some(format!("(scheduled_at > {now} AND (attempt > 0 OR crashes > 0))")),
            Shown::Scheduled => Some(format!("(scheduled_at > {now} AND attempt = 0 AND crashes = 0)")),
            Shown::Running | Shown::Waiting | Shown::Completed | Shown::Cancelled | Shown::Discarded => None,
        });
        let ways: Vec<_> = ways.collect();
        let ways = if ways.is_empty() { "false".into() } else { ways.join(" OR ") };
        if states == [State::Queued] { format!("({ways})") } else { format!("(state <> 'queued' OR {ways})") }
    }
}

/// How many jobs of one queue are shown in one state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Count {
    /// The queue.
    pub queue: String,
    /// The state as shown.
    pub state: Shown,
    /// How many.
    pub jobs: u64,
}

/// One setting of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueSetting {
    /// Claimed from no more, from this moment on. A paused queue keeps its first moment.
    Pause(Timestamp),
    /// Claimed from again, whatever paused it.
    Resume,
    /// Paused while its jobs are moved to another store. A queue that is paused already stays as it is.
    PauseToMove(Timestamp),
    /// The move is done: what it paused stays paused.
    Moved,
    /// The move did not come about: what it paused is claimed from again.
    NotMoved,
    /// The jobs are moved here: what an earlier move away from here paused is claimed from again.
    MovedHere,
    /// How long finished jobs are kept.
    Retain(Retention),
}

/// What became of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beaten {
    /// It is written: the worker lives.
    Alive,
    /// It is not written: a worker of this name was declared dead, or another one has the name. All leases under this name are
    /// lost. The worker goes on under a fresh name.
    Dead,
}

/// Who holds running jobs, or may do so: a worker that has a row, or a name that running jobs have and no row.
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
    /// Tells two workers apart that were given one name. Random, and the same for as long as the worker has the name.
    pub incarnation: Uuid,
    /// How many heartbeats there were. Observers look whether it moves; they compare no times.
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
    /// How long it may be silent before it counts as gone: its lease, in milliseconds.
    pub lease_ms: u64,
    /// Each queue it serves with the slots that may serve it.
    pub queues: Vec<(String, u32)>,
    /// Kinds it has a handler for.
    pub kinds: Vec<String>,
    /// All its slots.
    pub slots: u32,
    /// Slots taken.
    pub running: u32,
    /// Slots whose handler goes on after it was told to stop.
    pub stuck: u32,
    /// It takes no more jobs.
    pub stopping: bool,
    /// Its jobs that are suspected of killing their worker and have begun.
    pub trials: Trials,
    /// What keeps it from claiming jobs or from writing the ends of its runs, and since when; none while all is well.
    #[serde(default)]
    pub trouble: Option<String>,
    /// What else it reports.
    #[serde(flatten)]
    pub details: WorkerDetails,
}

/// What a worker reports of itself beyond what stores look at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerDetails {
    /// Which process it is, so that others on the same machine can see whether it is dead.
    pub process: Process,
    /// How far the wall clock of its machine is ahead of the store's time, in milliseconds (behind, if negative); none where
    /// both are the same clock.
    pub clock_ahead_ms: Option<i64>,
    /// The last time that its runtime was blocked, since it started.
    pub blocked: Option<Blocked>,
    /// The threads that its blocking handlers share.
    pub threads: Threads,
}

/// A runtime that could not run its tasks, because handlers blocked its threads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// When that was noticed.
    pub at: Timestamp,
    /// For how long it had been blocked at the last heartbeat in that time, in milliseconds.
    pub for_ms: u64,
    /// Whether it is blocked still.
    pub now: bool,
    /// The kinds of the handlers that blocked it, at most ten; none if no handler did.
    pub kinds: Vec<String>,
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

/// A job with all that belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The job, as it is.
    pub job: JobRow,
    /// Its unsuccessful attempts.
    pub attempts: Vec<Attempt>,
    /// Its log.
    pub lines: Vec<LogLine>,
}

/// How safe an acknowledged write is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// It survives the death of the process and the loss of power.
    #[default]
    Full,
    /// It survives the death of the process; power loss may take the last moments with it.
    Relaxed,
}

/// What an operator wants to know of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `memory`, `sqlite` or `postgres`, and where.
    pub store: String,
    /// Version of the engine behind it.
    pub engine: String,
    /// Version of our schema.
    pub schema: u32,
    /// How safe an acknowledged write is.
    pub durability: Durability,
    /// Size of all files or tables.
    pub bytes: Option<u64>,
    /// What was looked at.
    pub checks: Vec<HealthCheck>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found and, if it is not as it should be, what to do.
    pub found: String,
}

/// The queue after one setting was changed: said once for every store.
pub(crate) fn apply_setting(queue: &mut Queue, setting: &QueueSetting) {
    match setting {
        QueueSetting::Pause(at) => {
            queue.paused_at = queue.paused_at.or(Some(*at));
            queue.paused_by = None;
        }
        QueueSetting::Resume => resume(queue),
        QueueSetting::PauseToMove(at) if queue.paused_at.is_none() => {
            queue.paused_at = Some(*at);
            queue.paused_by = Some(PausedBy::Moving);
        }
        QueueSetting::PauseToMove(_) => {}
        QueueSetting::Moved if queue.paused_by == Some(PausedBy::Moving) => {
            queue.paused_by = Some(PausedBy::Moved);
        }
        QueueSetting::NotMoved if queue.paused_by == Some(PausedBy::Moving) => resume(queue),
        QueueSetting::MovedHere if queue.paused_by.is_some() => resume(queue),
        QueueSetting::Moved | QueueSetting::NotMoved | QueueSetting::MovedHere => {}
        QueueSetting::Retain(retention) => queue.retention = *retention,
    }
}

fn resume(queue: &mut Queue) {
    queue.paused_at = None;
    queue.paused_by = None;
}

/// How long a dead worker is remembered: long enough for people to see it. One that comes back later finds its leases lost.
pub(crate) const DEAD_REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// The row of a worker that never wrote one, or whose row is gone, once it is declared dead.
pub(crate) fn dead_without_a_row(worker: &str, now: Timestamp) -> WorkerRow {
    WorkerRow { name: worker.to_owned(), dead: true, started_at: now, beat_at: now, ..WorkerRow::default() }
}
