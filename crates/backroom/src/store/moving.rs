//! Moving all that one store holds into another, of any kind.
//!
//! Nothing is taken from the source. What the target holds already is left alone unless it is an older copy. So a move
//! that was cut off is simply begun again. The target remembers which jobs came over live, for one that ran there and
//! was pruned looks missing and must not run again ([`Store::import`]). Both stores are read side by side from the
//! newest job to the oldest, a page at a time, so memory stays bounded whatever their size. Who may work meanwhile is
//! the caller's to see to.

mod batches;
mod journals;
mod schedules;
mod triggers;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use backroom_core::{
    JobId, JobRow, State,
    dependency::{Edge, EdgeState},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::{Deleted, EdgesOfJob, Filter, QueueSetting, Record, Side, Store};
use crate::{Error, ErrorKind};

pub use batches::copy_batches;
use journals::{JOURNAL_BYTES_MAX, is_older};
pub use schedules::copy_schedules;
pub use triggers::copy_triggers;

/// Jobs on the first page, before it is known how large they are.
const PAGE_JOBS_FIRST: usize = 50;
/// Most jobs on a page.
const PAGE_JOBS_MAX: usize = 1000;
/// Bytes of jobs on a page, about; and of records in one import.
const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Records in one import: one transaction at the target.
const IMPORT_RECORDS_MAX: usize = 1000;
/// Jobs whose attempts and logs are read at the same time.
const READS_AT_ONCE: usize = 8;
/// Edges in one read.
const EDGES_AT_ONCE: usize = 1000;
/// Log lines in one read.
const LINES_AT_ONCE: usize = 1000;

/// How far a copy has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// Jobs of the source looked at.
    pub seen: u64,
    /// Written to the target, with their attempts and logs; those of which it had an older copy included.
    pub written: u64,
    /// The target could not take them, or is running an older copy.
    pub refused: u64,
    /// Why the first of those was refused.
    pub refusal: Option<String>,
    /// Both sides by queue and state, once all was looked at.
    pub compared: Vec<Compared>,
}

/// What became of the source's jobs of one queue and state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Compared {
    /// The queue.
    pub queue: String,
    /// The state at the source.
    pub state: State,
    /// How many there are at the source.
    pub source: u64,
    /// How many of these the target holds, just as they are or further on.
    pub target: u64,
    /// How many of the latter went on at the target since they were copied.
    pub gone_on: u64,
    /// How many came over, ended at the target and were pruned there.
    pub pruned: u64,
    /// How many the target does not hold and never did.
    pub missing: u64,
    /// How many the target holds otherwise: an older copy, or a job that went another way.
    pub different: u64,
}

impl Compared {
    /// Whether the target holds them all.
    pub fn is_whole(&self) -> bool {
        self.missing == 0 && self.different == 0
    }
}

/// Gives the target the queues it has not heard of, with their settings. A queue it knows keeps its own. A pause that a move made
/// at the source is no setting of the queue, and is not copied.
pub async fn copy_queues(from: &dyn Store, to: &dyn Store) -> Result<u64, Error> {
    let known = to.queues().await?;
    let mut copied = 0;
    for queue in from.queues().await? {
        if known.iter().any(|other| other.name == queue.name) {
            continue;
        }
        // Whichever comes first creates the queue. A queue that is half set is still known next time, so what would do
        // harm if it lacked goes first: workers must not serve a queue that was paused.
        if let Some(at) = queue.paused_at.filter(|_| queue.paused_by.is_none()) {
            to.set_queue(&queue.name, QueueSetting::Pause(at)).await?;
        }
        to.set_queue(&queue.name, QueueSetting::Retain(queue.retention)).await?;
        to.set_queue(&queue.name, QueueSetting::DepthMax(queue.depth_max)).await?;
        copied += 1;
    }
    Ok(copied)
}

/// Copies every job that the target lacks or has an older copy of, with attempts and log, the newest first, and counts both
/// sides. Calls `progress` after every page.
///
/// Fails as the stores do; what was written until then stays and is not written again by the next call.
pub async fn copy_jobs(
    from: &dyn Store,
    to: &dyn Store,
    progress: &(dyn Fn(&Copied) + Send + Sync),
) -> Result<Copied, Error> {
    let (mut source, mut target) = (Descent::new(from), Descent::new(to));
    let (mut copied, mut sums) = (Copied::default(), Sums::default());
    while let Some(page) = source.page().await? {
        copied.seen += page.len() as u64;
        let mut wanted = Vec::new();
        for job in page {
            match target.find(job.id).await? {
                Some(there) if !is_older(from, to, &job, &there).await? => sums.of(&job).count(&job, &there),
                Some(there) => match to.delete_copy(job.id).await? {
                    Deleted::Yes | Deleted::NotFound => wanted.push(job),
                    Deleted::Moved | Deleted::Running | Deleted::RowLocked => {
                        copied.refuse(|| {
                            format!("job {}: an older copy of it is running at the target", job.id)
                        });
                        sums.of(&job).count(&job, &there);
                    }
                },
                None => wanted.push(job),
            }
        }
        write(from, to, wanted, &mut copied, &mut sums).await?;
        progress(&copied);
    }
    copied.compared = sums.0.into_values().collect();
    Ok(copied)
}

/// Messages in one import.
const MESSAGES_AT_ONCE: usize = 500;

/// Copies every message that the target lacks, in order. Answers how many were new. To be called before [`copy_jobs`], so that what
/// the jobs report at the target stands behind it. Where takers of the target have acknowledged a message of an earlier copy,
/// it comes again.
pub async fn copy_messages(from: &dyn Store, to: &dyn Store) -> Result<u64, Error> {
    let (mut after, mut copied) = (0, 0);
    loop {
        let page = from.messages(None, after, MESSAGES_AT_ONCE).await?;
        let Some(last) = page.last() else { return Ok(copied) };
        after = last.seq;
        let messages = page.into_iter().map(|row| row.message).collect();
        copied += to.import_messages(Arc::new(messages)).await?;
    }
}

/// One sum for each queue and state of the source.
#[derive(Default)]
struct Sums(BTreeMap<(String, &'static str), Compared>);

impl Sums {
    fn of(&mut self, job: &JobRow) -> &mut Compared {
        let sum = self.0.entry((job.queue.clone(), job.state.as_str()));
        sum.or_insert_with(|| Compared::none(job))
    }
}

impl Compared {
    fn none(job: &JobRow) -> Self {
        let (queue, state) = (job.queue.clone(), job.state);
        Self { queue, state, source: 0, target: 0, gone_on: 0, pruned: 0, missing: 0, different: 0 }
    }

    /// A job that the target holds.
    fn count(&mut self, job: &JobRow, there: &JobRow) {
        self.source += 1;
        // A run extends its lease and tells its progress under one revision.
        if there == job || (there.revision == job.revision && both_run(there, job)) {
            self.target += 1;
        } else if there.revision > job.revision {
            self.target += 1;
            self.gone_on += 1;
        } else {
            self.different += 1;
        }
    }

    /// A job that the target did not hold.
    fn count_brought(&mut self, brought: Brought) {
        self.source += 1;
        match brought {
            Brought::Written => self.target += 1,
            Brought::Pruned => self.pruned += 1,
            Brought::Refused => self.missing += 1,
        }
    }
}

/// What became of a job that the target did not hold.
#[derive(Debug, Clone, Copy)]
enum Brought {
    Written,
    Pruned,
    Refused,
}

fn both_run(one: &JobRow, other: &JobRow) -> bool {
    one.state == State::Running && other.state == State::Running && one.lease_id == other.lease_id
}

impl Copied {
    fn refuse(&mut self, why: impl FnOnce() -> String) {
        self.refused += 1;
        self.refusal.get_or_insert_with(why);
    }
}

/// A store's jobs from the newest to the oldest.
struct Descent<'a> {
    store: &'a dyn Store,
    below: Option<JobId>,
    limit: usize,
    has_ended: bool,
    /// Read and not yet passed, for [`Descent::find`].
    ahead: VecDeque<JobRow>,
}

impl<'a> Descent<'a> {
    fn new(store: &'a dyn Store) -> Self {
        Self { store, below: None, limit: PAGE_JOBS_FIRST, has_ended: false, ahead: VecDeque::new() }
    }

    /// The next page; none after the last. As many jobs as have room, going by the size of those before.
    async fn page(&mut self) -> Result<Option<Vec<JobRow>>, Error> {
        if self.has_ended {
            return Ok(None);
        }
        let page = self.store.list(Arc::new(Filter::default()), self.below, self.limit).await?;
        // A page that is not full may have been cut because of its bytes.
        self.has_ended = page.is_empty();
        self.below = page.last().map(|job| job.id).or(self.below);
        let each = page.iter().map(bytes_of_job).sum::<usize>() / page.len().max(1);
        // No faster than double: one page of small jobs says little about the next.
        self.limit = (PAGE_BYTES / each.max(1)).clamp(1, PAGE_JOBS_MAX).min(self.limit * 2);
        Ok(if page.is_empty() { None } else { Some(page) })
    }

    /// The job with this id, if there is one. Ids must be asked for from the newest to the oldest.
    async fn find(&mut self, id: JobId) -> Result<Option<JobRow>, Error> {
        loop {
            while self.ahead.front().is_some_and(|job| job.id > id) {
                self.ahead.pop_front();
            }
            if let Some(job) = self.ahead.front() {
                return Ok(if job.id == id { self.ahead.pop_front() } else { None });
            }
            match self.page().await? {
                Some(page) => self.ahead = page.into(),
                None => return Ok(None),
            }
        }
    }
}

/// Reads what belongs to the jobs and writes all of it to the target.
async fn write(
    from: &dyn Store,
    to: &dyn Store,
    jobs: Vec<JobRow>,
    copied: &mut Copied,
    sums: &mut Sums,
) -> Result<(), Error> {
    let mut records = stream::iter(jobs.into_iter().map(|job| record(from, job))).buffered(READS_AT_ONCE);
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while let Some(record) = records.try_next().await? {
        let of_journal = record.journal.as_ref().map_or(0, |journal| journal.bytes());
        if of_journal > JOURNAL_BYTES_MAX {
            let id = record.job.id;
            copied.refuse(|| {
                format!(
                    "job {id}: the journal of its workflow and the signals that wait for it have {of_journal} bytes, and at most \
                     {JOURNAL_BYTES_MAX} are moved; let it end at the source, or cancel it there"
                )
            });
            sums.of(&record.job).count_brought(Brought::Refused);
            continue;
        }
        bytes += bytes_of(&record);
        batch.push(record);
        if bytes >= PAGE_BYTES || batch.len() >= IMPORT_RECORDS_MAX {
            import(to, std::mem::take(&mut batch), copied, sums).await?;
            bytes = 0;
        }
    }
    import(to, batch, copied, sums).await
}

/// Writes records in one transaction; or each alone where one of them is not taken, so that it does not keep the others
/// back.
async fn import(
    to: &dyn Store,
    records: Vec<Record>,
    copied: &mut Copied,
    sums: &mut Sums,
) -> Result<(), Error> {
    if records.is_empty() {
        return Ok(());
    }
    let records = Arc::new(records);
    match to.import(Arc::clone(&records)).await {
        Ok(new) => {
            let all_new = new == records.len() as u64;
            for record in records.iter() {
                let brought = if all_new { Brought::Written } else { brought(to, record).await? };
                copied.written += u64::from(matches!(brought, Brought::Written));
                sums.of(&record.job).count_brought(brought);
            }
        }
        Err(error) if !is_about_a_record(&error) => return Err(error),
        Err(_) => {
            for record in records.iter() {
                let brought = match to.import(Arc::new(vec![record.clone()])).await {
                    Ok(1) => Brought::Written,
                    Ok(_) => brought(to, record).await?,
                    Err(error) if is_about_a_record(&error) => {
                        copied.refuse(|| format!("job {}: {error}", record.job.id));
                        Brought::Refused
                    }
                    Err(error) => return Err(error),
                };
                copied.written += u64::from(matches!(brought, Brought::Written));
                sums.of(&record.job).count_brought(brought);
            }
        }
    }
    Ok(())
}

/// What became of a record that an import did not count as new. Either its answer was lost once and the record is
/// stored, or the job ran at the target and is gone.
async fn brought(to: &dyn Store, record: &Record) -> Result<Brought, Error> {
    let is_there = to.job(record.job.id).await?.is_some();
    Ok(if is_there { Brought::Written } else { Brought::Pruned })
}

fn is_about_a_record(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::KeyHeld { .. } | ErrorKind::Invalid)
}

/// A job with all that belongs to it.
async fn record(from: &dyn Store, job: JobRow) -> Result<Record, Error> {
    let edges = if job.links.is_some() { edges_to(from, job.id).await? } else { Vec::new() };
    let journal = journals::read(from, &job).await?;
    // Only a run leaves attempts and lines, and it leaves its lease's id; most queued jobs never ran.
    if job.lease_id.is_none() && job.attempt == 0 && job.crashes == 0 {
        return Ok(Record { job, attempts: Vec::new(), lines: Vec::new(), edges, journal });
    }
    let attempts = from.attempts(job.id).await?;
    let mut lines = Vec::new();
    loop {
        let more = from.logs(job.id, lines.len(), LINES_AT_ONCE).await?;
        // A page may end at a bound in bytes, so only an empty one is known to be the last.
        if more.is_empty() {
            return Ok(Record { job, attempts, lines, edges, journal });
        }
        lines.extend(more);
    }
}

/// All edges that lead to a job.
async fn edges_to(from: &dyn Store, job: JobId) -> Result<Vec<(Edge, EdgeState)>, Error> {
    let of = EdgesOfJob { job, side: Side::Predecessors, only_open: false };
    let (mut edges, mut after) = (Vec::new(), None);
    loop {
        let page = from.edges(of, after, EDGES_AT_ONCE).await?;
        after = page.last().map(|neighbour| neighbour.job);
        let is_last = page.len() < EDGES_AT_ONCE;
        edges.extend(page.into_iter().map(|neighbour| {
            (Edge { predecessor: neighbour.job, on_failure: neighbour.on_failure }, neighbour.edge)
        }));
        if is_last {
            return Ok(edges);
        }
    }
}

fn bytes_of(record: &Record) -> usize {
    let attempts: usize = record.attempts.iter().map(|attempt| attempt.error.len() + 100).sum();
    let lines: usize = record.lines.iter().map(|line| line.line.len() + 60).sum();
    let journal = record.journal.as_ref().map_or(0, |journal| journal.bytes());
    bytes_of_job(&record.job) + attempts + lines + journal
}

fn bytes_of_job(job: &JobRow) -> usize {
    500 + job.args.as_str().len() + job.output.as_ref().map_or(0, |output| output.as_str().len())
}
