//! The reference model: what the store must hold. Its only sources are the effects of calls, the answers to callers, and what
//! handlers say.
//!
//! It shares no decision with the library: whether a change was right is judged here by rules of its own, written
//! down a second time. What is wrong is collected; the driver stops at the first.

mod commits;
mod hear;
mod inserts;
mod leaves;
mod replies;
mod row;
mod runs;
mod schedules;

use std::collections::{BTreeMap, BTreeSet};

use backroom::{JobId, JobRow, LeaseId, Timestamp, store::QueueSetting};

pub use commits::machine_of;
use replies::Messages;
pub use row::Row;
pub use runs::{RunRecord, Said};
use schedules::Fired;
pub use schedules::args as schedule_args;

/// From where, and when, something was seen.
#[derive(Debug, Clone)]
pub struct Place {
    /// The machine's name.
    pub machine: String,
    /// The latest moment that its clock ever showed.
    pub machine_latest: Timestamp,
    /// True time.
    pub world_now: Timestamp,
}

/// How often what happened: to see that a run was not empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Jobs stored.
    pub stored: u64,
    /// Jobs claimed, each claim counted.
    pub claimed: u64,
    /// Jobs completed.
    pub completed: u64,
    /// Runs that ended otherwise.
    pub unsuccessful: u64,
    /// Jobs taken from a worker.
    pub rescued: u64,
    /// Jobs that went: pruned or deleted.
    pub gone: u64,
    /// Reports that came too late and were refused.
    pub stale: u64,
    /// Enqueues answered with another job.
    pub duplicates: u64,
    /// Messages handed to takers, each time counted.
    pub delivered: u64,
    /// Workflows that ended.
    pub flows: u64,
    /// Steps of them that were undone.
    pub undone: u64,
    /// How often one went on after a retry.
    pub resumed: u64,
    /// Children that they started.
    pub children: u64,
    /// Batches that ended.
    pub batches: u64,
}

/// What is known of one job.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The row as it must be; none once it is pruned or deleted.
    pub row: Option<Row>,
    /// A caller was answered that it is stored, or that it stands for the caller's own job.
    pub acknowledged: bool,
    /// The caller that enqueued it was answered: its enqueue is over, and nothing may store the job again.
    pub answered: bool,
    /// A caller asked to cancel it.
    pub asked_cancel: bool,
    /// A caller asked to retry it.
    pub asked_retry: bool,
    /// A caller asked to delete it.
    pub asked_delete: bool,
    /// Leases whose end was accepted.
    pub ended: BTreeSet<LeaseId>,
}

/// What the store must hold, and what was seen to be wrong.
#[derive(Debug, Default)]
pub struct Model {
    /// Every job ever stored.
    pub jobs: BTreeMap<JobId, Known>,
    /// Everything that handlers did.
    pub runs: BTreeMap<(JobId, LeaseId), RunRecord>,
    /// How often what happened.
    pub tally: Tally,
    paused: BTreeMap<String, bool>,
    /// Which worker claims under a lease.
    leases: BTreeMap<LeaseId, String>,
    /// Workers that were declared dead.
    dead: BTreeSet<String>,
    /// Those of them that are not judged yet.
    declared: Vec<String>,
    stopping: BTreeSet<String>,
    claims: BTreeMap<String, Vec<Timestamp>>,
    wrong: Vec<String>,
    trace: Vec<String>,
    /// Of jobs that ask for them.
    messages: BTreeMap<JobId, Messages>,
    /// Messages were dropped.
    dropped: bool,
    fired: Fired,
    touched: bool,
}

impl Model {
    /// Notes something that must not happen.
    pub fn wrong(&mut self, what: String) {
        self.trace.push(format!("WRONG: {what}"));
        self.wrong.push(what);
    }

    /// The first thing that went wrong.
    pub fn first_wrong(&self) -> Option<&str> {
        self.wrong.first().map(String::as_str)
    }

    /// Adds a line to the trace.
    pub fn tell(&mut self, line: String) {
        self.trace.push(line);
    }

    /// Adds a line to the trace about something seen at a place.
    pub(crate) fn saw(&mut self, place: &Place, line: &str) {
        self.touched = true;
        let at = place.world_now.as_microsecond() - 1_767_225_600_000_000;
        self.trace.push(format!("{at:>12} {:<6} {line}", place.machine));
    }

    /// Everything that happened, in order.
    pub fn trace(&self) -> &[String] {
        &self.trace
    }

    /// Whether anything was seen since this was last asked.
    pub fn take_touched(&mut self) -> bool {
        std::mem::take(&mut self.touched)
    }

    /// Every job that must be in the store.
    pub fn rows(&self) -> impl Iterator<Item = (JobId, &Known, &Row)> {
        self.jobs.iter().filter_map(|(id, known)| Some((*id, known, known.row.as_ref()?)))
    }

    /// Whether a queue is paused.
    pub fn is_paused(&self, queue: &str) -> bool {
        self.paused.get(queue).copied().unwrap_or(false)
    }

    /// This worker was asked to stop: from now on it may give jobs back.
    pub fn stops(&mut self, worker: &str) {
        self.stopping.insert(worker.to_owned());
    }

    /// Whether a worker was declared dead.
    pub fn is_dead(&self, worker: &str) -> bool {
        self.dead.contains(worker)
    }

    /// Workers that were declared dead since this was asked last.
    pub fn take_declared(&mut self) -> Vec<String> {
        std::mem::take(&mut self.declared)
    }

    /// A caller was answered that its job is stored (`is_its`), or that `id` stands for it.
    pub fn acknowledged(&mut self, id: JobId, is_its: bool) {
        match self.jobs.get_mut(&id) {
            Some(known) => {
                known.acknowledged = true;
                known.answered |= is_its;
            }
            None => self.wrong(format!("job {id} was acknowledged and never stored")),
        }
    }

    /// A caller is about to ask something of a job.
    pub fn asked(&mut self, id: JobId, set: impl FnOnce(&mut Known)) {
        if let Some(known) = self.jobs.get_mut(&id) {
            set(known);
        }
    }

    pub(crate) fn queue_set(&mut self, place: &Place, queue: &str, setting: &QueueSetting) {
        match setting {
            QueueSetting::Pause(_) => self.paused.insert(queue.to_owned(), true),
            QueueSetting::Resume => self.paused.insert(queue.to_owned(), false),
            // No program of the simulator moves a store or limits a queue.
            QueueSetting::Retain(_)
            | QueueSetting::DepthMax(_)
            | QueueSetting::PauseToMove(_)
            | QueueSetting::Moved
            | QueueSetting::NotMoved
            | QueueSetting::MovedHere => None,
        };
        self.saw(place, &format!("queue {queue}: {setting:?}"));
    }

    fn row(&self, id: JobId) -> Option<&Row> {
        self.jobs.get(&id)?.row.as_ref()
    }

    fn row_mut(&mut self, id: JobId) -> Option<&mut Row> {
        self.jobs.get_mut(&id)?.row.as_mut()
    }

    /// The last digits of an id: enough to tell jobs apart in a trace.
    pub(crate) fn short(id: JobId) -> String {
        let text = id.to_string();
        text[text.len() - 6..].to_owned()
    }
}

/// What differs between the row as it must be and the row as it is.
pub(crate) fn difference(must: &Row, is: &JobRow) -> Option<String> {
    let is = Row::of(is);
    (*must != is).then(|| format!("the model holds {must:?}, the store {is:?}"))
}
