//! Queues, and how many jobs are in them.

use backroom::{Count, DisplayState, PausedBy, Queue, Retention, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rows::{CountSchema, PausedByWord, RetentionSchema};

/// Queues by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct QueueList {
    /// All that the caller sees.
    pub(crate) queues: Vec<QueueView>,
}

impl QueueList {
    pub(crate) fn new(queues: Vec<Queue>, counts: &[Count]) -> Self {
        Self { queues: queues.into_iter().map(|queue| QueueView::new(queue, counts)).collect() }
    }
}

/// A queue and how many of its jobs are shown in which state.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Queue)]
pub(crate) struct QueueView {
    /// Its name.
    pub(crate) name: String,
    /// Since when its jobs are not claimed; null while it is served.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) paused_at: Option<Timestamp>,
    /// Set if a move to another store paused it.
    #[schema(value_type = Option<PausedByWord>)]
    pub(crate) paused_by: Option<PausedBy>,
    /// How long its finished jobs are retained.
    #[schema(value_type = RetentionSchema)]
    pub(crate) retention: Retention,
    /// Most jobs that may wait in it; null for any number.
    pub(crate) depth_max: Option<u64>,
    /// Jobs by the state that they are shown in.
    pub(crate) counts: StateCounts,
}

impl QueueView {
    pub(crate) fn new(queue: Queue, counts: &[Count]) -> Self {
        let of_this = counts.iter().filter(|count| count.queue == queue.name);
        Self {
            counts: of_this.collect(),
            name: queue.name,
            paused_at: queue.paused_at,
            paused_by: queue.paused_by,
            retention: queue.retention,
            depth_max: queue.depth_max,
        }
    }
}

/// Jobs by the state that they are shown in, in the order of a job's life.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct StateCounts {
    scheduled: u64,
    retrying: u64,
    available: u64,
    running: u64,
    waiting: u64,
    completed: u64,
    cancelled: u64,
    discarded: u64,
}

impl StateCounts {
    /// How many are shown in this state.
    pub(crate) fn get(&self, state: DisplayState) -> u64 {
        match state {
            DisplayState::Scheduled => self.scheduled,
            DisplayState::Retrying => self.retrying,
            DisplayState::Available => self.available,
            DisplayState::Running => self.running,
            DisplayState::Waiting => self.waiting,
            DisplayState::Completed => self.completed,
            DisplayState::Cancelled => self.cancelled,
            DisplayState::Discarded => self.discarded,
        }
    }
}

impl<'a> FromIterator<&'a Count> for StateCounts {
    fn from_iter<I: IntoIterator<Item = &'a Count>>(counts: I) -> Self {
        let mut all = Self::default();
        for count in counts {
            let jobs = match count.state {
                DisplayState::Scheduled => &mut all.scheduled,
                DisplayState::Retrying => &mut all.retrying,
                DisplayState::Available => &mut all.available,
                DisplayState::Running => &mut all.running,
                DisplayState::Waiting => &mut all.waiting,
                DisplayState::Completed => &mut all.completed,
                DisplayState::Cancelled => &mut all.cancelled,
                DisplayState::Discarded => &mut all.discarded,
            };
            *jobs += count.jobs;
        }
        all
    }
}

/// How many jobs there are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CountList {
    /// By queue and by state as shown; zeros are left out.
    #[schema(value_type = Vec<CountSchema>)]
    pub(crate) counts: Vec<Count>,
}
