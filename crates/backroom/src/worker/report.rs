//! Recording what became of the runs, in batches.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use backroom_core::{AttemptEnd, Change, Event, JobRow, Json, RetryPolicy, Timestamp, transition};
use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{
    active_runs::{Run, Stop},
    hand::count_within,
    notes,
    shared::Shared,
};
use crate::{Ended, Ending, Error, ErrorKind, Failure, handler::Outcome, store::Committed};

/// Most reports per commit.
const BATCH_MAX: usize = 1000;
/// Commits under way at once: the next batch is decided and sent while the last one is on its way to the disk.
const COMMITS_MAX: usize = 2;
/// The wait before what could not be written is tried again.
const PAUSE: Duration = Duration::from_millis(250);
/// Tries for one end that the store refuses for a reason that waiting does not mend. Then the worker records that instead.
const REFUSALS_MAX: u32 = 3;
/// Tries for that. Behind them the end waits, each time twice as long.
const FAILURES_MAX: u32 = 10;
/// The longest wait of an end that the store refuses.
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(60);
/// The longest wait while the store itself cannot be used: no jobs are claimed meanwhile.
const UNUSABLE_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Conditions that may be met for many runs.
const LOCKED: &str =
    "another transaction has locked a job's row for seconds, so the end of its run is not recorded";
const REFUSED: &str = "the store refuses the end of a run";
const UNRECORDED: &str = "the end of a run cannot be recorded";
const DROPPED: &str = "the result of a run is dropped";
const DELETED: &str = "a job was deleted while it ran";
/// A row that is found locked so often in a row, over about two seconds, is locked by a transaction that an application left
/// open. Our own end within milliseconds, and are not worth a line.
const LOCKED_REPORTED_AT: u32 = 8;

/// The end of one run. No result means that the job is given back.
pub(crate) struct Report {
    pub(crate) run: Arc<Run>,
    pub(crate) result: Option<Result<Json, Failure>>,
    /// The room that its output takes until it is recorded; none for a small one.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

impl Report {
    fn bytes(&self) -> usize {
        let output = self.result.as_ref().and_then(|result| result.as_ref().ok());
        // The store writes the args again with the row, or moves them.
        self.run.job.bytes() + output.map_or(0, |output| output.as_str().len())
    }
}

/// Records reports until the last sender is gone and each is settled.
///
/// Ends whose row somebody's transaction keeps wait apart, because that transaction may stay open for long: they take no
/// place of a commit, and the runs stay held, so that their leases are renewed. If very many wait, no more reports are
/// taken; the slots fill up, and claiming stops by itself.
pub(crate) async fn keep_reporting(shared: Arc<Shared>, mut reports: mpsc::Receiver<Report>) {
    let (mut commits, mut repeats) = (FuturesUnordered::new(), FuturesUnordered::new());
    let bytes_max = shared.hand.call_max();
    let (mut batch, mut kept) = (Vec::new(), Vec::<Open>::new());
    let mut is_open = true;
    while is_open || !batch.is_empty() || !commits.is_empty() || !repeats.is_empty() {
        while !batch.is_empty() && commits.len() < COMMITS_MAX {
            let rest = batch.split_off(count_within(&batch, bytes_max, Report::bytes));
            commits.push(record(Arc::clone(&shared), std::mem::replace(&mut batch, rest)));
        }
        let takes_more = is_open && batch.is_empty() && commits.len() < COMMITS_MAX && kept.len() < BATCH_MAX;
        tokio::select! {
            biased;
            Some(still_kept) = commits.next(), if !commits.is_empty() => kept.extend(still_kept),
            Some(still_kept) = repeats.next(), if !repeats.is_empty() => kept.extend(still_kept),
            count = reports.recv_many(&mut batch, BATCH_MAX), if takes_more => {
                is_open = count > 0;
            }
        }
        if repeats.is_empty() && !kept.is_empty() {
            // The first in line; what stays kept goes to the end of it.
            let count = count_within(&kept, bytes_max, Open::bytes).min(BATCH_MAX);
            let first = kept.drain(..count).collect();
            repeats.push(record_later(Arc::clone(&shared), first));
        }
    }
}

/// Records the ends of a batch, and lets go of their leases. Answers with those whose row is kept.
async fn record(shared: Arc<Shared>, reports: Vec<Report>) -> Vec<Open> {
    notes::flush(&shared, reports.iter().map(|report| &report.run)).await;
    let open = reports.into_iter().map(|report| Open::new(&shared, report)).collect();
    write_and_let_go(&shared, open).await
}

/// Tries once more, after a while, to record ends whose row was kept.
async fn record_later(shared: Arc<Shared>, kept: Vec<Open>) -> Vec<Open> {
    shared.engine.clock.sleep(PAUSE.mul_f64(0.5 + shared.engine.ids.chance())).await;
    let now = shared.engine.clock.monotonic();
    // A worker that stops has no time to wait.
    let is_due = |open: &Open| open.again_at <= now || shared.stopping.is_cancelled();
    let (due, waiting): (Vec<_>, Vec<_>) = kept.into_iter().partition(is_due);
    let mut kept = write_and_let_go(&shared, due).await;
    for open in &mut kept {
        open.locked += 1;
        if open.locked == LOCKED_REPORTED_AT && open.unwritten == 0 && shared.is_news(LOCKED) {
            let job = &open.run.job;
            tracing::warn!(
                job = %job.id, kind = %job.kind, worker = %shared.name(),
                "{LOCKED}; the end is recorded when that transaction has ended"
            );
        }
    }
    kept.extend(waiting);
    kept
}

async fn write_and_let_go(shared: &Shared, open: Vec<Open>) -> Vec<Open> {
    let mut runs: Vec<_> = open.iter().map(|open| Arc::clone(&open.run)).collect();
    let kept = write(shared, open).await;
    let stay: HashSet<_> = kept.iter().map(|open| (open.run.job.id, open.run.lease)).collect();
    runs.retain(|run| !stay.contains(&(run.job.id, run.lease)));
    shared.strays.add(&runs);
    shared.held.remove(&runs);
    shared.settled.notify_waiters();
    kept
}

/// Writes, again and again until each end is written or refused, or its row is kept: with these it answers. A store that is
/// gone or full for a while holds the batch here; the slots behind it fill up, and claiming stops by itself.
async fn write(shared: &Shared, mut open: Vec<Open>) -> Vec<Open> {
    if open.is_empty() {
        return open;
    }
    // One that was given up on before has one try.
    let mut failures = if matches!(&*open, [one] if one.unwritten > 0) { FAILURES_MAX } else { 0 };
    let mut kept = Vec::new();
    loop {
        let changes = decide(shared, &mut open);
        if open.is_empty() {
            // Also where the leases of all that failed are lost by now: nothing is left that speaks against claiming.
            shared.trouble.reported();
            return kept;
        }
        let changes = Arc::new(changes);
        let error = match shared.engine.store.commit(Arc::clone(&changes)).await {
            Ok(answers) => {
                shared.trouble.reported();
                open = settle(shared, open, &changes, &answers, &mut kept).await;
                continue;
            }
            Err(error) => error,
        };
        shared.trouble.report_failed(&error, shared.engine.clock.now());
        match error.kind() {
            ErrorKind::Closed => {
                let jobs = open.len() + kept.len();
                tracing::error!(worker = %shared.name(), jobs, "the store was closed under the worker");
                return Vec::new();
            }
            // Outages and full disks are reported once by the store's decorator.
            ErrorKind::Unavailable | ErrorKind::NoSpace => {}
            ErrorKind::Invalid
            | ErrorKind::NotFound
            | ErrorKind::Refused
            | ErrorKind::KeyHeld { .. }
            | ErrorKind::Unsuccessful
            | ErrorKind::Unusable
            | ErrorKind::Internal => {
                // One row that cannot be written must not hold up its neighbours.
                if open.len() > 1 {
                    let alone = open.into_iter().map(|one| Box::pin(write(shared, vec![one])));
                    kept.extend(join_all(alone).await.into_iter().flatten());
                    return kept;
                }
                failures += 1;
                let Some(one) = open.first_mut() else { continue };
                let is_about_the_row = !matches!(error.kind(), ErrorKind::Unusable);
                if failures >= REFUSALS_MAX && is_about_the_row && !one.is_refused {
                    if shared.is_news(REFUSED) {
                        let job = &one.run.job;
                        tracing::error!(job = %job.id, kind = %job.kind, %error, worker = %shared.name(), "{REFUSED}; that is recorded instead");
                    }
                    one.refuse(&error);
                    failures = 0;
                } else if failures > FAILURES_MAX {
                    if shared.is_news(UNRECORDED) {
                        let job = &one.run.job;
                        tracing::error!(job = %job.id, kind = %job.kind, %error, worker = %shared.name(), "{UNRECORDED}; it is tried again");
                    }
                    let most = if is_about_the_row { REFUSED_PAUSE_MAX } else { UNUSABLE_PAUSE_MAX };
                    one.wait(shared.engine.clock.monotonic(), most);
                    kept.append(&mut open);
                    return kept;
                }
            }
        }
        shared.engine.clock.sleep(PAUSE).await;
    }
}

/// The end of one run on its way into the store.
struct Open {
    run: Arc<Run>,
    event: Event,
    ending: Ending,
    /// The job as read again; none as long as the decision rests on the job as it was claimed.
    job: Option<Box<JobRow>>,
    /// As of [`Report`].
    _room: Option<OwnedSemaphorePermit>,
    /// The store refused the end itself; the event says so.
    is_refused: bool,
    /// How often all tries for it were in vain.
    unwritten: u32,
    /// It is not tried before the monotonic clock reads this.
    again_at: Duration,
    /// How often its row was found locked.
    locked: u32,
}

impl Open {
    fn new(shared: &Shared, report: Report) -> Self {
        let Report { run, result, room } = report;
        let ending = match &result {
            None => Ending::Released,
            Some(Ok(_)) => Ending::Succeeded,
            Some(Err(failure)) if is_by_cancel(&run, failure) => Ending::Cancelled,
            Some(Err(failure)) => failure.ending(),
        };
        let event = event_of(shared, &run, result);
        Self {
            run,
            event,
            ending,
            job: None,
            _room: room,
            is_refused: false,
            unwritten: 0,
            again_at: Duration::ZERO,
            locked: 0,
        }
    }

    /// All tries were in vain: the next one comes after a wait, twice as long as the last, at most `most`.
    fn wait(&mut self, now: Duration, most: Duration) {
        let wait = PAUSE.saturating_mul(2u32.saturating_pow(self.unwritten.min(20))).min(most);
        self.unwritten = self.unwritten.saturating_add(1);
        self.again_at = now.saturating_add(wait);
    }

    /// The store takes this end never: from now on the end is that, in text which every store takes.
    fn refuse(&mut self, error: &Error) {
        self.is_refused = true;
        let refused = plain(&error.to_string());
        let lease = self.run.lease;
        self.event = match std::mem::replace(&mut self.event, Event::Release { lease }) {
            Event::Succeed { .. } => {
                let reason = format!("the handler succeeded, but the store refuses its output: {refused}");
                self.ending = Ending::Discarded;
                Event::Discard { lease, reason }
            }
            Event::Fail { lease, end, error, retry, chance, delay } => {
                Event::Fail { lease, end, error: plain(&error), retry, chance, delay }
            }
            Event::Discard { lease, reason } => Event::Discard { lease, reason: plain(&reason) },
            Event::Stop { lease, reason } => Event::Stop { lease, reason: plain(&reason) },
            // These carry no text: whatever the store has against them, it may have against every change but an end.
            Event::Snooze { .. } | Event::Release { .. } | Event::Suspend { .. } => {
                self.ending = Ending::Discarded;
                Event::Discard { lease, reason: format!("the store refuses to take the job back: {refused}") }
            }
            // No run ends by these.
            other @ (Event::Claim { .. }
            | Event::LeaseLost(_)
            | Event::Wake
            | Event::Amend { .. }
            | Event::Cancel { .. }
            | Event::Retry
            | Event::Expire) => other,
        };
    }

    fn bytes(&self) -> usize {
        let output = match &self.event {
            Event::Succeed { output, .. } => output.as_str().len(),
            _ => 0,
        };
        self.run.job.bytes() + output
    }

    fn decide(&self, shared: &Shared, now: Timestamp) -> Option<Change> {
        let (run, job) = (&self.run, self.job.as_deref().unwrap_or(&self.run.job));
        if run.is_lost() {
            if shared.is_news(DROPPED) {
                tracing::warn!(
                    job = %job.id, kind = %job.kind, worker = %shared.name(),
                    "{DROPPED}, because its lease was lost; the job runs elsewhere or is finished"
                );
            }
            return None;
        }
        match transition::apply(job, self.event.clone(), now) {
            Ok(change) => change,
            Err(refused) => {
                if shared.is_news(DROPPED) {
                    tracing::warn!(job = %job.id, kind = %job.kind, worker = %shared.name(), %refused, "{DROPPED}");
                }
                None
            }
        }
    }
}

/// The text in ASCII, which every encoding of a database has.
fn plain(text: &str) -> String {
    let escaped = |c: char| if c.is_ascii() { c.to_string() } else { c.escape_unicode().to_string() };
    text.chars().map(escaped).collect()
}

/// The changes to write, one for each that stays open.
fn decide(shared: &Shared, open: &mut Vec<Open>) -> Vec<Change> {
    let now = shared.engine.clock.now();
    let mut changes = Vec::with_capacity(open.len());
    open.retain(|open| match open.decide(shared, now) {
        Some(change) => {
            changes.push(change);
            true
        }
        None => false,
    });
    changes
}

/// Drops what is written, sets apart what is kept, and reads again what moved on in between (a cancel mark, a wake).
async fn settle(
    shared: &Shared,
    open: Vec<Open>,
    changes: &[Change],
    answers: &[Committed],
    kept: &mut Vec<Open>,
) -> Vec<Open> {
    let now = shared.engine.clock.now();
    let mut again = Vec::new();
    for ((mut open, change), answer) in open.into_iter().zip(changes).zip(answers) {
        match answer {
            Committed::Done => {
                let job = open.job.as_deref().unwrap_or(&open.run.job);
                shared.ends.report(&Ended::new(job, open.ending, change, open.run.times(), now));
            }
            Committed::RowLocked => kept.push(open),
            Committed::Stale | Committed::KeyHeld(_) => {
                match shared.engine.store.job(open.run.job.id).await {
                    Ok(Some(job)) => {
                        open.job = Some(Box::new(job));
                        again.push(open);
                    }
                    Ok(None) => {
                        if shared.is_news(DELETED) {
                            tracing::warn!(
                                job = %open.run.job.id, worker = %shared.name(),
                                "{DELETED}; the result of the run is dropped"
                            );
                        }
                    }
                    // The store is away: the same decision is refused once more and comes back here.
                    Err(_) => {
                        shared.engine.clock.sleep(PAUSE).await;
                        again.push(open);
                    }
                }
            }
        }
    }
    again
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
    }
}

/// Whether a handler answered with an error because it was asked to stop, its job being cancelled: nothing failed then.
fn is_by_cancel(run: &Run, failure: &Failure) -> bool {
    matches!(failure.outcome, Outcome::Retry | Outcome::RetryAfter(_))
        && matches!(run.told(), Some((Stop::Cancelled, _)))
}

/// The job's own policy, else its kind's.
fn policy(shared: &Shared, run: &Run) -> RetryPolicy {
    let of_kind = || shared.handlers.get(&run.job.kind).map(|handler| handler.retry.clone());
    run.job.retry.clone().or_else(of_kind).unwrap_or_default()
}

/// Reports that a run has not begun and its job should wait a moment.
pub(crate) async fn put_off(shared: &Shared, run: Arc<Run>, wait: Duration) {
    if run.end() {
        let result = Some(Err(Failure::not_begun(wait)));
        let _ = shared.reports.send(Report { run, result, room: None }).await;
    }
}

/// Reports runs that end without a result of their own.
pub(crate) async fn give_back(shared: &Shared, runs: Vec<Arc<Run>>) {
    for run in runs {
        if run.end() {
            if shared.stopping.is_cancelled() {
                shared.released.fetch_add(1, Ordering::Relaxed);
            }
            // The reporter is gone only when the worker was dropped; then the lease runs out by itself.
            let _ = shared.reports.send(Report { run, result: None, room: None }).await;
        }
    }
}
