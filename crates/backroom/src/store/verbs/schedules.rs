//! Verbs for schedules. Reports about their runs are written by the verbs that write changes of jobs.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{
    JobId, Timestamp,
    draft::NewJob,
    schedule::{EndOfRun, Entry, RunReport, ScheduleRow, turn::OpenRun},
};
use uuid::Uuid;

use crate::Error;

/// Reads, moves and deletes schedules.
#[async_trait]
pub trait ScheduleVerbs: Send + Sync {
    /// The schedule of this name.
    async fn schedule(&self, name: &str) -> Result<Option<ScheduleRow>, Error>;

    /// Schedules by name, after `after` when given, at most `limit`.
    async fn schedules(&self, after: Option<&str>, limit: usize) -> Result<Vec<ScheduleRow>, Error>;

    /// Writes moves, each under its guard and each whole or not at all: one answer per move, in order. Durable once it answers. An
    /// entry whose job has an entry already is left out, and its job with it. A move that is written already
    /// answers [`Moved::Done`] again.
    async fn move_schedules(&self, moves: Arc<Vec<ScheduleMove>>) -> Result<Vec<Moved>, Error>;

    /// Deletes a schedule with its history, if it is at this revision; none stands for any. Its jobs stay. Answers [`Moved::Done`] if it
    /// is gone, also if it was gone before.
    async fn delete_schedule(&self, name: &str, revision: Option<u64>) -> Result<Moved, Error>;

    /// Schedules whose next turn is due, by the moment of that and by name, after `after` when given; and those with reports
    /// that no turn has taken over. At most `limit` of each.
    async fn due_schedules(
        &self,
        after: Option<Arc<DueAfter>>,
        limit: usize,
        now: Timestamp,
    ) -> Result<DueSchedules, Error>;

    /// Entries of a schedule's history, the newest first, those before the number `before` when given, at most `limit`.
    async fn entries(&self, schedule: &str, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, Error>;

    /// The entry of a schedule whose trigger had this idempotency key.
    async fn entry_of_key(&self, schedule: &str, key: &str) -> Result<Option<Entry>, Error>;
}

/// A schedule goes from one revision to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleMove {
    /// Guard: the revision that the decision was made on; none for a schedule that must not exist yet.
    pub revision_before: Option<u64>,
    /// The schedule after the move, with the next revision.
    pub row: ScheduleRow,
    /// Jobs to insert. Each has an entry in `entries`. A depth limit of their queue does not hold them up.
    pub jobs: Vec<NewJob>,
    /// Jobs to insert that are no runs of the schedule: callbacks that report about it. One that is stored already stays as it is.
    pub notices: Vec<NewJob>,
    /// Entries to write. One whose number exists already takes the place of that.
    pub entries: Vec<Entry>,
    /// How runs ended, by job; none for one that goes on again.
    pub ends: Vec<(JobId, Option<EndOfRun>)>,
    /// Reports that were taken over, by their numbers.
    pub taken_over: Vec<u64>,
    /// Entries up to this number are deleted, unless their run is going or their key is remembered.
    pub forget_up_to: u64,
    /// Keys of entries that were decided before this moment are not remembered.
    pub forget_keys_before: Timestamp,
    /// Processes that wait for the next turn are notified: it may be earlier than they know.
    pub notify: bool,
}

/// What became of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It is written.
    Done,
    /// The schedule has changed since the decision was made, or was deleted or created: read it again and decide again.
    Stale,
    /// Another transaction has locked its row. Try again later, and decide again then.
    Locked,
}

/// Up to where due schedules were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueAfter {
    /// The moment of the last one's next turn.
    pub next_at: Timestamp,
    /// Its name.
    pub name: String,
}

/// Schedules whose turn it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueSchedules {
    /// Those whose next turn is due, in order.
    pub due: Vec<DueSchedule>,
    /// Those with reports that no turn has taken over.
    pub reported: Vec<DueSchedule>,
    /// Whether there are more of either.
    pub more: bool,
    /// When the next turn of any schedule is due that is not due now.
    pub next_at: Option<Timestamp>,
}

/// A schedule whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueSchedule {
    /// The schedule.
    pub row: ScheduleRow,
    /// Its runs whose entries are open, at most [`OPEN_MAX`].
    pub runs: Vec<OpenRun>,
    /// What was reported of its runs since its last turn, in order, with the number of each report.
    pub reports: Vec<(u64, RunReport)>,
}

/// Most runs of a schedule that are read for one turn.
pub const OPEN_MAX: usize = 1000;
/// Most reports of a schedule that one turn takes over.
pub const REPORTS_MAX: usize = 1000;

impl ScheduleMove {
    /// A move that writes the row alone.
    pub fn new(revision_before: Option<u64>, row: ScheduleRow) -> Self {
        Self {
            revision_before,
            row,
            jobs: Vec::new(),
            notices: Vec::new(),
            entries: Vec::new(),
            ends: Vec::new(),
            taken_over: Vec::new(),
            forget_up_to: 0,
            forget_keys_before: Timestamp::MIN,
            notify: true,
        }
    }

    /// How many rows it writes.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn rows(&self) -> usize {
        1 + self.jobs.len()
            + self.notices.len()
            + self.entries.len()
            + self.ends.len()
            + self.taken_over.len()
    }

    /// Whether the schedule is as this move leaves it: its answer was lost.
    pub(crate) fn is_written(&self, moved_by: Uuid) -> bool {
        self.row.moved_by == moved_by
    }
}
