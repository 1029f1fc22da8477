//! Records what became of a job under a lease.
//!
//! An [`Entry`] is a job, a lease and an event. [`Recorder::record`] decides what the event means, commits the change, and
//! reads the job again if its row has changed in between; then it decides again. The lease is named in every write, so a
//! holder that lost it changes nothing. The recorder does not know who holds the lease: a worker in this process, or a
//! caller from outside.
//!
//! `record` waits as long as the store needs, for callers that must not lose the entry. A caller that waits for one answer
//! and wants the error instead calls [`Engine::apply`]. Start reading at `record`.

mod apply;
mod entry;
mod failing;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backroom_core::Change;
use futures_util::future::join_all;

pub(crate) use self::{
    entry::{Entry, LeaseLost, Verdict},
    failing::Failing,
};
use crate::{
    Ended, Error, ErrorKind,
    ends::Ends,
    engine::Engine,
    repeated::Repeats,
    store::{Committed, is_outage},
};

/// The wait before an entry that could not be written is tried again.
const PAUSE: Duration = Duration::from_millis(250);
/// Tries of an entry that the store refuses for a reason that waiting does not change. Then the refusal itself is recorded.
const REFUSALS_MAX: u32 = 3;
/// Tries of that. After them the entry waits, each time twice as long.
const FAILURES_MAX: u32 = 10;
/// The longest wait of an entry that the store refuses.
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(60);
/// The longest wait while the store itself cannot be used: a worker claims no jobs in that time.
const UNUSABLE_PAUSE_MAX: Duration = Duration::from_secs(5);
/// A row that is found locked so often in a row, over about two seconds, is locked by a transaction that an application left
/// open. Our own transactions end within milliseconds and need no log line.
const LOCKED_REPORTED_AT: u32 = 8;

// Conditions that can be met for many entries.
const LOCKED: &str =
    "another transaction has locked a job's row for seconds, so the end of its run is not recorded";
const REFUSED: &str = "the store refuses the end of a run";
const UNRECORDED: &str = "the end of a run cannot be recorded";
const UNREADABLE: &str = "the row of a job cannot be read, so the end of its run is not recorded";
const DROPPED: &str = "the result of a run is dropped";
const DELETED: &str = "a job was deleted while it ran";

/// Writes entries to one store.
pub(crate) struct Recorder {
    engine: Engine,
    /// Where each recorded end is reported.
    ends: Arc<Ends>,
    repeats: Arc<Repeats>,
    failing: Mutex<Option<Failing>>,
}

impl Recorder {
    pub(crate) fn new(engine: Engine, ends: Arc<Ends>, repeats: Arc<Repeats>) -> Self {
        Self { engine, ends, repeats, failing: Mutex::default() }
    }

    /// Why entries cannot be written at the moment; none if the last write succeeded.
    pub(crate) fn failing(&self) -> MutexGuard<'_, Option<Failing>> {
        // Whole after every statement; a panic elsewhere does not damage it.
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the store itself cannot be used, so that the end of a job that is claimed now could not be recorded.
    pub(crate) fn is_stopped_by_store(&self) -> bool {
        self.failing().as_ref().is_some_and(|failing| failing.is_of_store)
    }

    /// Records entries. Returns those that must wait, because another transaction has locked the job's row, the row cannot be read,
    /// or the store refused them too often; pass these to [`record_again`](Self::record_again).
    ///
    /// While the store is away or its disk is full, this waits and tries again. Each entry is recorded by itself: one that
    /// the store refuses does not hold up the others. An entry whose lease is lost, or whose job was deleted, is dropped.
    pub(crate) async fn record(&self, mut open: Vec<Entry>) -> Vec<Entry> {
        if open.is_empty() {
            return open;
        }
        // An entry that waited before has one try.
        let mut failures = if matches!(&*open, [one] if one.unwritten > 0) { FAILURES_MAX } else { 0 };
        let mut waiting = Vec::new();
        loop {
            let jobs = open.len() + waiting.len();
            let Some(known) = self.read_unknown(open, &mut waiting).await else { return Self::closed(jobs) };
            open = known;
            let changes = self.decide(&mut open);
            if open.is_empty() {
                // The leases of all entries that failed may be lost by now: then nothing fails any more.
                *self.failing() = None;
                return waiting;
            }
            let changes = Arc::new(changes);
            let error = match self.engine.store.commit(Arc::clone(&changes)).await {
                Ok(answers) => {
                    *self.failing() = None;
                    open = self.settle(open, &changes, &answers, &mut waiting);
                    continue;
                }
                Err(error) => error,
            };
            Failing::note(&mut self.failing(), &error, self.engine.clock.now());
            match error.kind() {
                ErrorKind::Closed => return Self::closed(open.len() + waiting.len()),
                // The store's decorator logs outages and full disks.
                ErrorKind::Unavailable | ErrorKind::NoSpace => {}
                ErrorKind::Invalid
                | ErrorKind::NotFound
                | ErrorKind::Refused
                | ErrorKind::KeyHeld { .. }
                | ErrorKind::QueueFull { .. }
                | ErrorKind::Unsuccessful
                | ErrorKind::Unusable
                | ErrorKind::Internal => {
                    // One row that cannot be written must not hold up the others.
                    if open.len() > 1 {
                        let alone = open.into_iter().map(|one| Box::pin(self.record(vec![one])));
                        waiting.extend(join_all(alone).await.into_iter().flatten());
                        return waiting;
                    }
                    failures += 1;
                    let Some(one) = open.first_mut() else { continue };
                    let is_about_the_row = !matches!(error.kind(), ErrorKind::Unusable);
                    if failures >= REFUSALS_MAX && is_about_the_row && !one.is_refused {
                        self.log_failure(REFUSED, "that is recorded instead", one, &error);
                        one.refuse(&error);
                        failures = 0;
                    } else if failures > FAILURES_MAX {
                        self.log_failure(UNRECORDED, "it is tried again", one, &error);
                        let most = if is_about_the_row { REFUSED_PAUSE_MAX } else { UNUSABLE_PAUSE_MAX };
                        one.wait(self.engine.clock.monotonic(), PAUSE, most);
                        waiting.append(&mut open);
                        return waiting;
                    }
                }
            }
            self.engine.clock.sleep(PAUSE).await;
        }
    }

    /// Tries entries once more that [`record`](Self::record) returned, after a pause. Returns those that must wait further.
    /// `is_last_chance` says at the end of the pause whether also those are tried whose wait is not over.
    pub(crate) async fn record_again(
        &self,
        waiting: Vec<Entry>,
        is_last_chance: impl Fn() -> bool,
    ) -> Vec<Entry> {
        self.engine.clock.sleep(PAUSE.mul_f64(0.5 + self.engine.ids.chance())).await;
        let (now, all) = (self.engine.clock.monotonic(), is_last_chance());
        let (due, early): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|entry| all || entry.again_at <= now);
        let mut waiting = self.record(due).await;
        for entry in &mut waiting {
            entry.locked += 1;
            if entry.locked == LOCKED_REPORTED_AT && entry.unwritten == 0 && self.is_news(LOCKED) {
                let (kind, worker) = (entry.kind(), entry.worker());
                tracing::warn!(
                    job = %entry.job, kind, worker,
                    "{LOCKED}; the end is recorded when that transaction has ended"
                );
            }
        }
        waiting.extend(early);
        waiting
    }

    /// Reads the rows that entries do not have. An entry whose job was deleted is dropped; one whose row cannot be read goes to
    /// `waiting`. None if the store is closed.
    async fn read_unknown(&self, open: Vec<Entry>, waiting: &mut Vec<Entry>) -> Option<Vec<Entry>> {
        if open.iter().all(|entry| entry.row.is_some()) {
            return Some(open);
        }
        let mut known = Vec::with_capacity(open.len());
        for mut entry in open {
            let (mut is_deleted, mut is_unreadable) = (false, false);
            while entry.row.is_none() && !entry.is_lease_lost() && !is_deleted && !is_unreadable {
                match self.engine.store.job(entry.job).await {
                    Ok(Some(row)) => entry.row = Some(Arc::new(row)),
                    Ok(None) => is_deleted = true,
                    Err(error) if error.kind() == ErrorKind::Closed => return None,
                    // The store's decorator logs outages.
                    Err(error) if is_outage(&error) => {
                        Failing::note(&mut self.failing(), &error, self.engine.clock.now());
                        self.engine.clock.sleep(PAUSE).await;
                    }
                    // If it is not only this row, the next commit fails as well.
                    Err(error) => {
                        self.log_failure(UNREADABLE, "it is tried again", &entry, &error);
                        is_unreadable = true;
                    }
                }
            }
            if is_unreadable {
                entry.wait(self.engine.clock.monotonic(), PAUSE, REFUSED_PAUSE_MAX);
                waiting.push(entry);
            } else if !is_deleted {
                known.push(entry);
            } else if self.is_news(DELETED) {
                tracing::warn!(job = %entry.job, "{DELETED}; the result of the run is dropped");
            }
        }
        Some(known)
    }

    /// The changes to write, one for each entry that stays open.
    fn decide(&self, open: &mut Vec<Entry>) -> Vec<Change> {
        let now = self.engine.clock.now();
        let mut changes = Vec::with_capacity(open.len());
        open.retain(|entry| {
            let why: String = match entry.decide(now) {
                Ok(Some(change)) => {
                    changes.push(change);
                    return true;
                }
                // The event changes nothing.
                Ok(None) => return false,
                Err(why) => why,
            };
            if self.is_news(DROPPED) {
                let (kind, worker) = (entry.kind(), entry.worker());
                tracing::warn!(job = %entry.job, kind, worker, why, "{DROPPED}");
            }
            false
        });
        changes
    }

    /// Reports the entries that are written and sets apart those whose row is locked. Returns those whose row has changed since
    /// it was read, to be read again: another process has marked the job as cancelled, or woken it.
    fn settle(
        &self,
        open: Vec<Entry>,
        changes: &[Change],
        answers: &[Committed],
        locked: &mut Vec<Entry>,
    ) -> Vec<Entry> {
        let now = self.engine.clock.now();
        let mut again = Vec::new();
        for ((mut entry, change), answer) in open.into_iter().zip(changes).zip(answers) {
            match answer {
                Committed::Done => {
                    if let Some(verdict) = &entry.verdict {
                        verdict.is(change.state);
                    }
                    if let (Some(row), Some(ending)) = (&entry.row, entry.ending) {
                        self.ends.report(&Ended::new(row, ending, change, entry.times, now));
                    }
                }
                Committed::RowLocked => locked.push(entry),
                Committed::Stale | Committed::KeyHeld(_) => {
                    entry.row = None;
                    again.push(entry);
                }
            }
        }
        again
    }

    fn closed(jobs: usize) -> Vec<Entry> {
        tracing::error!(jobs, "the store was closed before the ends of these jobs were recorded");
        Vec::new()
    }

    fn log_failure(&self, condition: &'static str, what_follows: &str, entry: &Entry, error: &Error) {
        if self.is_news(condition) {
            let (kind, worker) = (entry.kind(), entry.worker());
            tracing::error!(job = %entry.job, kind, worker, %error, "{condition}; {what_follows}");
        }
    }

    fn is_news(&self, condition: &'static str) -> bool {
        self.repeats.met(condition, self.engine.clock.monotonic())
    }
}
