//! Verbs for the journals of workflows.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{
    JobId, JobRow, Json, LeaseId, Timestamp,
    draft::NewJob,
    links::{ChildCancel, LinkEffect},
    workflow::{Arrival, Entry, Header},
};
use uuid::Uuid;

use crate::Error;

/// Reads and writes journals, and what arrives for workflows.
#[async_trait]
pub trait JournalVerbs: Send + Sync {
    /// One page of what is stored of a workflow: the head, entries by key after `after.key`, and arrivals that no entry has taken by
    /// number after `after.n`, at most `limit` of each. A page that reaches [`JOURNAL_PAGE_BYTES`] ends there. A job that is no
    /// workflow, and one that has not begun and has no signal, has an empty page.
    async fn journal(
        &self,
        workflow: JobId,
        after: Option<Arc<JournalAfter>>,
        limit: usize,
    ) -> Result<JournalPage, Error>;

    /// Writes to journals, each under its guards and each whole or not at all: one answer per write, in order. Durable once it
    /// answers. At most one write per workflow. A write that is written already answers [`Wrote::Done`] again.
    async fn write_journals(&self, writes: Arc<Vec<JournalWrite>>) -> Result<Vec<Wrote>, Error>;

    /// Stores signals behind those that are there, each alone: one answer per signal, in order. A parked workflow is woken by it, a
    /// running one is marked and notified. A repeated call stores nothing a second time.
    async fn signal(&self, signals: Arc<Vec<Signal>>, now: Timestamp) -> Result<Vec<Signalled>, Error>;

    /// Workflows whose wake time has come, the longest ago first, at most `limit`; and when the next one comes.
    async fn due_wakes(&self, limit: usize, now: Timestamp) -> Result<DueWakes, Error>;

    /// Forgets wake times, of those workflows that still have them.
    async fn clear_wakes(&self, wakes: Arc<Vec<(JobId, Timestamp)>>) -> Result<(), Error>;

    /// Forgets which signals were taken before this moment, at most `limit`. A call of a signal that is repeated later than that
    /// stores the signal again. Answers how many were forgotten.
    async fn forget_taken(&self, before: Timestamp, limit: usize) -> Result<u64, Error>;
}

/// Bytes of entries and arrivals at which a page ends.
pub const JOURNAL_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Up to where a journal was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalAfter {
    /// The key of the last entry; empty for none.
    pub key: String,
    /// The number of the last arrival; 0 for none.
    pub n: u64,
}

/// A page of a journal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JournalPage {
    /// What is known of the workflow as a whole; none if nothing is stored.
    pub head: Option<JournalHead>,
    /// Entries by key.
    pub entries: Vec<Entry>,
    /// Arrivals by number.
    pub arrivals: Vec<Arrival>,
    /// The ids of the arrivals, side by side.
    pub arrival_ids: Vec<Uuid>,
    /// Whether there are more entries or arrivals.
    pub more: bool,
}

/// What is known of a journal as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalHead {
    /// How often the journal was written; 0 if only signals were stored.
    pub revision: u64,
    /// None exactly if the revision is 0.
    pub header: Option<Header>,
    /// When the workflow is woken.
    pub wake_at: Option<Timestamp>,
    /// How many signals and ends of children have arrived so far: the number of the last one.
    pub arrived: u64,
}

/// A whole journal, on its way to another store. Which signals were taken is not part of it: one that is sent once more under the same id
/// is a new one there.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalRecord {
    /// What is known of it as a whole.
    pub head: JournalHead,
    /// All entries.
    pub entries: Vec<Entry>,
    /// Arrivals that no entry has taken, with their ids.
    pub arrivals: Vec<(Uuid, Arrival)>,
}

impl JournalRecord {
    /// About how many bytes it has.
    pub fn bytes(&self) -> usize {
        let published = self.head.header.as_ref().and_then(|header| header.published.as_ref());
        self.entries.iter().map(Entry::bytes).sum::<usize>()
            + self.arrivals.iter().map(|(_, arrival)| arrival.bytes()).sum::<usize>()
            + published.map_or(0, |value| value.as_str().len())
    }
}

/// What one run writes to its journal at once.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalWrite {
    /// Whose journal.
    pub workflow: JobId,
    /// Guard: the job runs under this lease.
    pub lease: LeaseId,
    /// Guard: the revision that the run knows; 0 for a journal that was not written.
    pub revision_before: u64,
    /// The header after the write.
    pub header: Header,
    /// Whether what is published changes. Otherwise it stays as it is stored.
    pub publishes: bool,
    /// Whether all entries are deleted first.
    pub clears: bool,
    /// Entries to add, or to put in the place of those with the same keys.
    pub entries: Vec<Entry>,
    /// Arrivals that entries have taken, by number.
    pub taken: Vec<u64>,
    /// The moment, for what is taken.
    pub at: Timestamp,
    /// Jobs of children to insert. One that is stored already stays as it is.
    pub children: Vec<NewJob>,
    /// Children to cancel, with what follows from that for other jobs. One that has ended, or is no child of the workflow, stays as it is.
    pub cancels: Vec<ChildCancel>,
    /// New args of the workflow's job.
    pub args: Option<Json>,
    /// When the workflow is woken, once it is parked.
    pub wake_at: Option<Timestamp>,
    /// The workflow has moved on since it was charged: the running attempt counts as its first, and no crash counts. The revision of
    /// the job counts up.
    pub forgives: bool,
    /// The workflow has its first child, or its first step that can be undone: the links of the job say so from now on. The revision of
    /// the job counts up.
    pub ties: bool,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    /// It is written.
    Done,
    /// The lease is no longer current: stop the run.
    Fenced,
    /// The journal has another revision: read it again, and begin the run again.
    Moved,
}

/// A signal on its way to a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// The job.
    pub workflow: JobId,
    /// Made by the caller. A second signal of the same id is the same signal.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// What it carries.
    pub value: Json,
}

/// What became of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signalled {
    /// It is stored.
    Done,
    /// The job has ended.
    Ended,
    /// There is no such job.
    NotFound,
    /// As many signals wait as may.
    Full,
}

/// Workflows to wake.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DueWakes {
    /// The workflow, its wake time, and its job; no job if it is gone.
    pub due: Vec<(JobId, Timestamp, Option<JobRow>)>,
    /// The earliest wake time that has not come.
    pub next_at: Option<Timestamp>,
}

impl JournalWrite {
    /// About how many bytes it writes.
    pub fn bytes(&self) -> usize {
        let published = self.header.published.as_ref().filter(|_| self.publishes);
        let children = self.children.iter().map(|new| new.job.bytes());
        let cancels = self.cancels.iter().map(|cancel| cancel.reason.len());
        self.entries.iter().map(Entry::bytes).sum::<usize>()
            + children.sum::<usize>()
            + cancels.sum::<usize>()
            + published.map_or(0, |value| value.as_str().len())
            + self.args.as_ref().map_or(0, |args| args.as_str().len())
    }

    /// Roughly how many rows it writes.
    pub fn rows(&self) -> usize {
        1 + self.entries.len() + self.taken.len() + self.children.len() + self.cancels.len()
    }

    /// What follows for other jobs.
    pub(crate) fn effects(&self) -> Vec<(Timestamp, LinkEffect)> {
        self.cancels.iter().map(|cancel| (self.at, LinkEffect::Cancel(cancel.clone()))).collect()
    }

    /// The header as it is stored.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn stored_header(&self) -> Result<String, Error> {
        stored_header(&self.header)
    }
}

/// A header as it is stored: without what is published, which has a place of its own.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn stored_header(header: &Header) -> Result<String, Error> {
    let Header {
        generation,
        version,
        began_at,
        phase,
        progress,
        published: _,
        failed,
        resumed,
        resumes,
        blocked,
    } = header;
    let header = Header {
        generation: *generation,
        version: version.clone(),
        began_at: *began_at,
        phase: phase.clone(),
        progress: *progress,
        published: None,
        failed: failed.clone(),
        resumed: *resumed,
        resumes: *resumes,
        blocked: blocked.clone(),
    };
    Ok(header.stored()?)
}

/// Adds what is published to the header of a store.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn header_of(header: Option<&str>, published: Option<String>) -> Result<Option<Header>, Error> {
    let Some(header) = header else { return Ok(None) };
    let published = published.map(Json::stored).transpose()?;
    Ok(Some(Header { published, ..Header::from_stored(header)? }))
}
