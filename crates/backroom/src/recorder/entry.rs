//! One event for the run of a job, until it is recorded.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use backroom_core::{Change, Event, JobId, JobRow, LeaseId, State, Timestamp, transition};

use crate::{Ending, Error, ended::Times};

/// Set by the holder of a lease when it learns that the lease is lost. An entry under that lease is then dropped, even if the
/// store would still take it.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeaseLost(Arc<AtomicBool>);

impl LeaseLost {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What became of an entry, for a caller that must know: the state of the job after it, once it is recorded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict(Arc<OnceLock<State>>);

impl Verdict {
    /// The state of the job after the entry was recorded; none if it was dropped.
    pub(crate) fn state(&self) -> Option<State> {
        self.0.get().copied()
    }

    pub(super) fn is(&self, state: State) {
        // An entry is recorded once.
        let _ = self.0.set(state);
    }
}

/// A job, a lease and an event.
pub(crate) struct Entry {
    pub(super) job: JobId,
    lease: LeaseId,
    event: Event,
    /// What the end is reported as; none for an event that ends no run.
    pub(super) ending: Option<Ending>,
    /// How long the run waited and ran.
    pub(super) times: Times,
    /// The row that the decision rests on; none if it must be read.
    pub(super) row: Option<Arc<JobRow>>,
    lease_lost: LeaseLost,
    /// Where the caller reads what became of it, if it wants to know.
    pub(super) verdict: Option<Verdict>,
    /// The store refused the event, and this entry now says so.
    pub(super) is_refused: bool,
    /// How often all tries of it failed.
    pub(super) unwritten: u32,
    /// It is not tried before the monotonic clock reads this.
    pub(super) again_at: Duration,
    /// How often its row was found locked.
    pub(super) locked: u32,
}

impl Entry {
    pub(crate) fn new(job: JobId, lease: LeaseId, event: Event) -> Self {
        Self {
            job,
            lease,
            ending: Ending::of(&event),
            event,
            times: Times::default(),
            row: None,
            lease_lost: LeaseLost::default(),
            verdict: None,
            is_refused: false,
            unwritten: 0,
            again_at: Duration::ZERO,
            locked: 0,
        }
    }

    /// What the holder of the lease knows: the row as it claimed it, how the run ended, how long it waited and ran, and
    /// whether the lease is lost.
    pub(crate) fn known_as(
        self,
        row: Arc<JobRow>,
        ending: Ending,
        times: Times,
        lease_lost: LeaseLost,
    ) -> Self {
        Self { row: Some(row), ending: Some(ending), times, lease_lost, ..self }
    }

    /// What becomes of it is written there.
    pub(crate) fn answering(self, verdict: Verdict) -> Self {
        Self { verdict: Some(verdict), ..self }
    }

    /// The job and the lease.
    pub(crate) fn key(&self) -> (JobId, LeaseId) {
        (self.job, self.lease)
    }

    /// About how many bytes its write has. The store writes the args again with the row, or moves them.
    pub(crate) fn bytes(&self) -> usize {
        let output = match &self.event {
            Event::Succeed { output, .. } => output.as_str().len(),
            _ => 0,
        };
        self.row.as_ref().map_or(0, |row| row.bytes()) + output
    }

    pub(super) fn is_lease_lost(&self) -> bool {
        self.lease_lost.is_set()
    }

    pub(super) fn kind(&self) -> &str {
        self.row.as_ref().map_or("", |row| &row.kind)
    }

    pub(super) fn worker(&self) -> &str {
        self.row.as_ref().and_then(|row| row.worker.as_deref()).unwrap_or_default()
    }

    /// The change to write; none if the event changes nothing. Fails with the reason why the entry is to be dropped.
    pub(super) fn decide(&self, now: Timestamp) -> Result<Option<Change>, String> {
        if self.is_lease_lost() {
            return Err("its lease was lost; the job runs elsewhere or is finished".into());
        }
        let Some(row) = &self.row else { return Ok(None) };
        transition::apply(row, self.event.clone(), now).map_err(|refused| refused.to_string())
    }

    /// All tries failed: the next one comes after a wait, twice as long as the last, at most `most`.
    pub(super) fn wait(&mut self, now: Duration, first: Duration, most: Duration) {
        let wait = first.saturating_mul(2u32.saturating_pow(self.unwritten.min(20))).min(most);
        self.unwritten = self.unwritten.saturating_add(1);
        self.again_at = now.saturating_add(wait);
    }

    /// The store will never take this event. From now on the entry says so, in text that every store takes.
    pub(super) fn refuse(&mut self, error: &Error) {
        self.is_refused = true;
        let refused = ascii(&error.to_string());
        let lease = self.lease;
        self.event = match std::mem::replace(&mut self.event, Event::Release { lease }) {
            Event::Succeed { .. } => {
                let reason = format!("the handler succeeded, but the store refuses its output: {refused}");
                self.ending = Some(Ending::Discarded);
                Event::Discard { lease, reason }
            }
            Event::Fail { lease, end, error, retry, chance, delay } => {
                Event::Fail { lease, end, error: ascii(&error), retry, chance, delay }
            }
            Event::Discard { lease, reason } => Event::Discard { lease, reason: ascii(&reason) },
            Event::Stop { lease, reason } => Event::Stop { lease, reason: ascii(&reason) },
            // These carry no text. The store may refuse any change of the row that is not an end.
            Event::Snooze { .. } | Event::Release { .. } | Event::Suspend { .. } => {
                self.ending = Some(Ending::Discarded);
                Event::Discard { lease, reason: format!("the store refuses to take the job back: {refused}") }
            }
            // No run ends by these.
            other @ (Event::Claim { .. }
            | Event::LeaseLost(_)
            | Event::Wake
            | Event::Amend { .. }
            | Event::Cancel { .. }
            | Event::Retry
            | Event::GiveUp { .. }
            | Event::Expire) => other,
        };
    }
}

/// The text in ASCII, which every database encoding can hold.
fn ascii(text: &str) -> String {
    let escaped = |c: char| if c.is_ascii() { c.to_string() } else { c.escape_unicode().to_string() };
    text.chars().map(escaped).collect()
}
