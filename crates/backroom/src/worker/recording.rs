//! Turns the answers of handlers into events, and passes them to the recorder in batches.

use std::{collections::HashSet, sync::Arc};

use backroom_core::{AttemptEnd, Event, Json, RetryPolicy};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{
    held_bytes::count_within,
    report::Report,
    run::{Run, StopReason},
    shared::Shared,
};
use crate::{Ending, Failure, failure::Outcome, recorder::Entry};

/// Most reports per commit.
const BATCH_MAX: usize = 1000;
/// Commits under way at once: the next batch is sent while the disk syncs the last one.
const COMMITS_MAX: usize = 2;

/// Records reports until the last sender is gone and each report is settled.
///
/// Ends that must wait, for example because another transaction has locked their row, wait apart: they take no place of a
/// commit, and their runs stay active. If very many wait, no more reports are taken. Then the slots fill up, and claiming
/// stops.
pub(super) async fn keep_recording(shared: Arc<Shared>, mut reports: mpsc::Receiver<Report>) {
    let (mut commits, mut repeats) = (FuturesUnordered::new(), FuturesUnordered::new());
    let bytes_max = shared.work.bytes.call_max();
    let (mut batch, mut waiting) = (Vec::new(), Vec::<Open>::new());
    let mut is_open = true;
    while is_open || !batch.is_empty() || !commits.is_empty() || !repeats.is_empty() {
        while !batch.is_empty() && commits.len() < COMMITS_MAX {
            let rest = batch.split_off(count_within(&batch, bytes_max, Report::bytes));
            commits.push(record(Arc::clone(&shared), std::mem::replace(&mut batch, rest)));
        }
        let takes_more =
            is_open && batch.is_empty() && commits.len() < COMMITS_MAX && waiting.len() < BATCH_MAX;
        tokio::select! {
            biased;
            Some(still_waiting) = commits.next(), if !commits.is_empty() => waiting.extend(still_waiting),
            Some(still_waiting) = repeats.next(), if !repeats.is_empty() => waiting.extend(still_waiting),
            count = reports.recv_many(&mut batch, BATCH_MAX), if takes_more => {
                is_open = count > 0;
            }
        }
        if repeats.is_empty() && !waiting.is_empty() {
            // The first in line; what must wait further goes to the end of it.
            let count = count_within(&waiting, bytes_max, |open| open.entry.bytes()).min(BATCH_MAX);
            let first = waiting.drain(..count).collect();
            repeats.push(record_again(Arc::clone(&shared), first));
        }
    }
}

/// One end on its way into the store.
struct Open {
    entry: Entry,
    holder: Holder,
}

/// What is released when the end is settled.
struct Holder {
    run: Arc<Run>,
    _output_bytes: Option<OwnedSemaphorePermit>,
}

/// Records the ends of a batch. Returns those that must wait.
async fn record(shared: Arc<Shared>, reports: Vec<Report>) -> Vec<Open> {
    let (notes, runs) = (&shared.resources.notes, reports.iter().map(|report| &report.run));
    notes.flush(&shared.engine, &shared.repeats, runs).await;
    let (reported, reports): (Vec<_>, Vec<_>) = reports.into_iter().partition(is_recorded);
    let open = reports.into_iter().map(|report| open(&shared, report));
    let (entries, mut holders): (Vec<_>, Vec<_>) = open.map(|open| (open.entry, open.holder)).unzip();
    holders.extend(
        reported.into_iter().map(|report| Holder { run: report.run, _output_bytes: report.output_bytes }),
    );
    let waiting = shared.recorder.record(entries).await;
    release(&shared, waiting, holders)
}

/// Whether another caller has recorded the end of the run.
fn is_recorded(report: &Report) -> bool {
    matches!(&report.result, Some(Err(failure)) if failure.is_reported())
}

/// Tries ends once more that had to wait. A worker that stops does not wait.
async fn record_again(shared: Arc<Shared>, waiting: Vec<Open>) -> Vec<Open> {
    let (entries, holders): (Vec<_>, Vec<_>) =
        waiting.into_iter().map(|open| (open.entry, open.holder)).unzip();
    let is_stopping = || shared.signals.stopping.is_cancelled();
    let waiting = shared.recorder.record_again(entries, is_stopping).await;
    release(&shared, waiting, holders)
}

/// Releases the runs of all ends that are settled. Returns the others.
fn release(shared: &Shared, waiting: Vec<Entry>, holders: Vec<Holder>) -> Vec<Open> {
    let waiting_keys: HashSet<_> = waiting.iter().map(Entry::key).collect();
    let (mut stay, settled): (Vec<_>, Vec<_>) =
        holders.into_iter().partition(|holder| waiting_keys.contains(&key(holder)));
    let runs: Vec<_> = settled.iter().map(|holder| Arc::clone(&holder.run)).collect();
    shared.work.detached.add(&runs);
    shared.work.active.remove(&runs);
    shared.signals.settled.notify_waiters();
    let open = |entry: Entry| {
        let at = stay.iter().position(|holder| key(holder) == entry.key())?;
        Some(Open { entry, holder: stay.swap_remove(at) })
    };
    waiting.into_iter().filter_map(open).collect()
}

fn key(holder: &Holder) -> (backroom_core::JobId, backroom_core::LeaseId) {
    (holder.run.job.id, holder.run.lease)
}

fn open(shared: &Shared, report: Report) -> Open {
    let Report { run, result, output_bytes } = report;
    let ending = match &result {
        None => Ending::Released,
        Some(Ok(_)) => Ending::Succeeded,
        Some(Err(failure)) if is_by_cancel(&run, failure) => Ending::Cancelled,
        Some(Err(failure)) => failure.ending(),
    };
    let event = event_of(shared, &run, result);
    let (row, lease_lost) = (Arc::clone(&run.job), run.lease_lost().clone());
    let entry = Entry::new(row.id, run.lease, event).known_as(row, ending, run.times(), lease_lost);
    Open { entry, holder: Holder { run, _output_bytes: output_bytes } }
}

/// What the answer of a handler means.
fn event_of(shared: &Shared, run: &Run, result: Option<Result<Json, Failure>>) -> Event {
    let lease = run.lease;
    let failure = match result {
        None => return Event::Release { lease },
        Some(Ok(output)) => return Event::Succeed { lease, output },
        Some(Err(failure)) => failure,
    };
    if is_by_cancel(run, &failure) {
        return Event::Stop { lease, reason: failure.message };
    }
    let error = failure.message;
    let fail_after = |delay, end, error| Event::Fail {
        lease,
        end,
        error,
        delay,
        retry: policy(shared, run),
        chance: shared.engine.ids.chance(),
    };
    let fail = |end, error| fail_after(None, end, error);
    match failure.outcome {
        Outcome::RetryAfter(delay) => fail_after(Some(delay), AttemptEnd::Failed, error),
        Outcome::Retry | Outcome::Undecoded => fail(AttemptEnd::Failed, error),
        Outcome::Panicked => fail(AttemptEnd::Panicked, error),
        Outcome::TimedOut => fail(AttemptEnd::TimedOut, error),
        Outcome::Discard | Outcome::UndecodedForGood => Event::Discard { lease, reason: error },
        Outcome::Cancel => Event::Stop { lease, reason: error },
        Outcome::Snooze(delay) | Outcome::NotBegun(delay) => Event::Snooze { lease, delay },
        Outcome::Park => Event::Suspend { lease },
        // It is sorted out before, and would be refused by the store.
        #[cfg(feature = "callbacks")]
        Outcome::Reported => Event::Release { lease },
    }
}

/// Whether a handler returned an error because it was asked to stop after its job was cancelled. Then nothing failed.
fn is_by_cancel(run: &Run, failure: &Failure) -> bool {
    matches!(failure.outcome, Outcome::Retry | Outcome::RetryAfter(_))
        && run.stop_reason() == Some(StopReason::Cancelled)
}

/// The job's own policy, or that of its kind.
fn policy(shared: &Shared, run: &Run) -> RetryPolicy {
    let of_kind = || shared.handlers.by_kind.get(&run.job.kind).map(|handler| handler.retry.clone());
    run.job.extras.retry.clone().or_else(of_kind).unwrap_or_default()
}
