//! What is answered as JSON: the shapes that programs may rely on.
//!
//! One document per command. A job has the fields and the order of the library's `JobRow`, with `shown` at its end;
//! lists are objects with one named array, so that something can be added beside it.

use backroom::{
    Attempt, Count, DisplayState, JobId, JobRow, LogLine, PausedBy, Queue, Retention, Timestamp, WorkerRow,
};
use serde::Serialize;

use crate::target::Why;

/// A job.
#[derive(Serialize)]
pub(super) struct JobView<'a> {
    #[serde(flatten)]
    job: &'a JobRow,
    shown: DisplayState,
}

impl<'a> JobView<'a> {
    pub(super) fn new(job: &'a JobRow, now: Timestamp) -> Self {
        Self { job, shown: job.shown(now) }
    }
}

/// A page of jobs.
#[derive(Serialize)]
pub(super) struct JobsView<'a> {
    pub(super) jobs: Vec<JobView<'a>>,
    /// Pass it as `--before` for the next page.
    pub(super) next: Option<JobId>,
}

/// Everything about one job.
#[derive(Serialize)]
pub(super) struct WholeJobView<'a> {
    #[serde(flatten)]
    pub(super) job: JobView<'a>,
    pub(super) reasons: &'a [Why],
    pub(super) attempts: &'a [Attempt],
    pub(super) log: &'a [LogLine],
}

/// A queue and how many of its jobs are shown in which state.
#[derive(Serialize)]
pub(super) struct QueueView<'a> {
    pub(super) name: &'a str,
    pub(super) paused_at: Option<Timestamp>,
    pub(super) paused_by: Option<PausedBy>,
    pub(super) retention: Retention,
    pub(super) depth_max: Option<u64>,
    pub(super) counts: CountsView,
}

impl<'a> QueueView<'a> {
    pub(super) fn new(queue: &'a Queue, counts: &[Count]) -> Self {
        let of = |state: DisplayState| {
            let found = counts.iter().find(|count| count.queue == queue.name && count.state == state);
            found.map_or(0, |count| count.jobs)
        };
        Self {
            name: &queue.name,
            paused_at: queue.paused_at,
            paused_by: queue.paused_by,
            retention: queue.retention,
            depth_max: queue.depth_max,
            counts: CountsView(DisplayState::ALL.map(|state| (state, of(state)))),
        }
    }
}

/// A number for each state, in the order of a job's life.
pub(super) struct CountsView(pub(super) [(DisplayState, u64); DisplayState::ALL.len()]);

impl Serialize for CountsView {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(state, jobs)| (state.as_str(), jobs)))
    }
}

/// All queues.
#[derive(Serialize)]
pub(super) struct QueuesView<'a> {
    pub(super) queues: Vec<QueueView<'a>>,
}

/// All living workers.
#[derive(Serialize)]
pub(super) struct WorkersView<'a> {
    pub(super) workers: &'a [WorkerRow],
}
