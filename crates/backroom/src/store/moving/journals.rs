//! Journals of workflows on their way from one store to another. Each goes with its job, in the same transaction.

use std::sync::Arc;

use backroom_core::{JobRow, links::ChildEnded};

use crate::{
    Error,
    store::{JournalAfter, JournalRecord, Store},
};

/// Most bytes of one journal with the signals that wait for it: more would not fit into one transaction of the target.
pub(super) const JOURNAL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Entries and arrivals in one read.
const PAGE: usize = 1000;

/// The journal of a job; none if it is no workflow, or has not begun and has no signal. It is read no further than one that is too large.
pub(super) async fn read(from: &dyn Store, job: &JobRow) -> Result<Option<Box<JournalRecord>>, Error> {
    if !may_have_one(job) {
        return Ok(None);
    }
    let mut page = from.journal(job.id, None, PAGE).await?;
    let Some(head) = page.head.take() else { return Ok(None) };
    let mut record = JournalRecord { head, entries: Vec::new(), arrivals: Vec::new() };
    loop {
        record.entries.append(&mut page.entries);
        record.arrivals.extend(page.arrival_ids.drain(..).zip(page.arrivals.drain(..)));
        if !page.more || record.bytes() > JOURNAL_BYTES_MAX {
            return Ok(Some(Box::new(record)));
        }
        let after = JournalAfter {
            key: record.entries.last().map(|entry| entry.key.clone()).unwrap_or_default(),
            n: record.arrivals.last().map_or(0, |(_, arrival)| arrival.n),
        };
        page = from.journal(job.id, Some(Arc::new(after)), PAGE).await?;
    }
}

/// Whether the target has an older copy of the job, or of its journal: a run, or the end of a child, writes to that and leaves the job as
/// it is. Once the job has completed, nothing does.
pub(super) async fn is_older(
    from: &dyn Store,
    to: &dyn Store,
    job: &JobRow,
    there: &JobRow,
) -> Result<bool, Error> {
    let may_differ = there.revision == job.revision && ChildEnded::arrives_at(job.state) && may_have_one(job);
    if !may_differ {
        return Ok(there.revision < job.revision);
    }
    let Some(source) = from.journal(job.id, None, 1).await?.head else { return Ok(false) };
    let target = to.journal(job.id, None, 1).await?.head;
    let place = target.map_or((0, 0), |head| (head.revision, head.arrived));
    Ok(source.revision > place.0 || source.arrived > place.1)
}

/// A job that was never claimed and never got a signal has the revision with which it was stored.
const fn may_have_one(job: &JobRow) -> bool {
    job.revision > 0
}
