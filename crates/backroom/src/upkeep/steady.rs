//! Whether the store has answered long enough for living workers to have renewed their leases.
//!
//! A lease runs out when its worker is dead, and also when nobody could reach the store for longer than a lease, or the
//! machine slept. Nothing in the row tells these apart. What does is time: a living worker renews as soon as it is
//! let, so whoever saw the store answer for that long knows that the silent ones are dead.

use std::time::Duration;

use backroom_core::{Timestamp, bounds::later, bounds::span_until};

/// Within this span after an outage a worker tries again: the longest wait of the store's decorator, and of a connection
/// that is made anew.
const RETRY: Duration = Duration::from_secs(5);
/// Most often that anybody looks, however short the leases.
const LOOK_MIN: Duration = Duration::from_millis(20);
/// So many times the usual patience is enough even if the store never answers for long without a break.
const PATIENCE: u32 = 3;
/// Of an answer after a silence, so much counts as time in which the store was there.
const CREDIT_MAX: Duration = Duration::from_secs(2);
/// Silences that are told apart. Each is longer than all that came after it, so there are few.
const SILENCES_MAX: usize = 64;

/// What one process knows of the store by its own looks.
#[derive(Debug)]
pub(super) struct Steady {
    /// Of the worker in this process.
    own: Duration,
    /// The shortest lease to look after: a silence in which it could have run out must not go unnoticed.
    shortest: Duration,
    last: Option<Timestamp>,
    /// How long the store was silent and when it answered again; the longest first, and each later than those before it.
    /// Which of them counts depends on the lease: a short one runs out in a silence that a long one outlives.
    silences: Vec<(Duration, Timestamp)>,
    /// For how long the store answered, in pieces, while there were jobs that might have been rescued but for a silence.
    waited: Duration,
    is_waiting: bool,
}

impl Steady {
    /// Knows nothing yet. `lease` is that of its own worker.
    pub(super) fn new(lease: Duration) -> Self {
        let (silences, waited) = (Vec::new(), Duration::ZERO);
        Self { own: lease, shortest: lease, last: None, silences, waited, is_waiting: false }
    }

    /// How long to wait between two looks, at most `usual`.
    pub(super) fn look_span(&self, usual: Duration) -> Duration {
        usual.min((self.shortest / 6).max(LOOK_MIN))
    }

    /// The store answered.
    pub(super) fn answered(&mut self, now: Timestamp) {
        // Whatever was before the first answer is unknown, so it may have been silence.
        let silence = self.last.replace(now).map_or(Duration::MAX, |last| span_until(last, now));
        while self.silences.last().is_some_and(|(shorter, _)| *shorter <= silence) {
            self.silences.pop();
        }
        let is_full = self.silences.len() >= SILENCES_MAX;
        match self.silences.last_mut() {
            // Counted as one with a longer one: that errs on the side of the living.
            Some((_, at)) if is_full => *at = now,
            _ => self.silences.push((silence, now)),
        }
        if self.is_waiting {
            self.waited = self.waited.saturating_add(silence.min(CREDIT_MAX));
        }
    }

    /// Hears of the leases that ran out: how often to look follows the shortest of them.
    pub(super) fn hears_of(&mut self, leases: impl IntoIterator<Item = Duration>) {
        self.shortest = leases.into_iter().fold(self.own, Duration::min);
    }

    /// Hears whether jobs wait for a rescue that [`would_have_renewed`](Self::would_have_renewed) put off.
    pub(super) fn waits(&mut self, is_waiting: bool) {
        self.is_waiting = is_waiting;
        if !is_waiting {
            self.waited = Duration::ZERO;
        }
    }

    /// Whether a worker that lives would have renewed a lease of this length by now. A silence in which it could have run
    /// out begins the wait anew: a third of the lease has passed when it is renewed at the latest, and who waits for the
    /// store waits on for as long again.
    pub(super) fn would_have_renewed(&self, lease: Duration, now: Timestamp) -> bool {
        let needed = recovery(lease);
        let third = (lease / 3).max(LOOK_MIN * 2);
        let since = self.silences.iter().rev().find(|(silence, _)| *silence > third).map(|(_, at)| *at);
        let has_answered = since.is_some_and(|since| later(since, needed) <= now);
        has_answered || self.waited >= needed.saturating_mul(PATIENCE)
    }
}

/// How long a worker may take to renew a lease of this length once the store answers: it renews three times within a
/// lease, and tries again a little later when that fails.
fn recovery(lease: Duration) -> Duration {
    (lease / 3).saturating_add(RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    fn at(secs: u64) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, Duration::from_secs(secs))
    }

    /// The moments at which it would first rescue, after answers every two seconds in these ranges.
    fn rescues(lease: Duration, ranges: &[std::ops::Range<u64>]) -> Vec<u64> {
        let mut steady = Steady::new(lease);
        steady.waits(true);
        let mut firsts = Vec::new();
        for range in ranges {
            let mut first = None;
            for secs in range.clone().step_by(2) {
                steady.answered(at(secs));
                if first.is_none() && steady.would_have_renewed(LEASE, at(secs)) {
                    first = Some(secs);
                    steady.waits(false);
                }
            }
            steady.waits(true);
            firsts.extend(first);
        }
        firsts
    }

    #[test]
    fn a_process_that_has_just_begun_waits_until_the_living_would_have_renewed() {
        assert_eq!(rescues(LEASE, std::slice::from_ref(&(0..40))), [16]);
    }

    #[test]
    fn a_silence_that_leases_outlive_changes_nothing() {
        assert_eq!(rescues(LEASE, &[0..40, 48..60]), [16, 48]);
    }

    #[test]
    fn a_silence_in_which_leases_run_out_begins_the_wait_anew() {
        assert_eq!(rescues(LEASE, &[0..40, 80..120, 200..240]), [16, 96, 216]);
    }

    #[test]
    fn a_silence_counts_for_the_leases_that_it_outlasts_and_for_no_others() {
        // Each look is late for a lease of two seconds, none for one of thirty.
        let own = Duration::from_secs(2);
        assert_eq!(rescues(own, &[0..8, 11..19, 22..30, 33..41]), [15, 22, 33]);
        let mut steady = Steady::new(own);
        (0..40).step_by(2).for_each(|secs| steady.answered(at(secs)));
        assert!(steady.would_have_renewed(LEASE, at(38)));
        assert!(!steady.would_have_renewed(own, at(38)));
    }

    #[test]
    fn a_store_that_is_never_there_for_long_does_not_keep_the_dead_alive() {
        let flapping: Vec<_> = (0..10).map(|round| round * 30..round * 30 + 11).collect();
        // 10 s of every 30, and 2 s for each answer after a silence: three times 15 s are full in the fourth round.
        assert_eq!(rescues(LEASE, &flapping)[0], 3 * 30 + 8);
    }

    #[test]
    fn looks_that_are_always_late_do_not_keep_the_dead_alive() {
        let short = Duration::from_millis(300);
        let mut steady = Steady::new(short);
        steady.waits(true);
        let first = (0..60).step_by(2).find(|secs| {
            steady.answered(at(*secs));
            steady.would_have_renewed(short, at(*secs))
        });
        // Three times 5.1 s, at 2 s for the first answer and for each that follows.
        assert_eq!(first, Some(14));
    }

    #[test]
    fn a_shorter_lease_is_looked_after_more_often_while_it_is_lapsed() {
        let usual = Duration::from_secs(2);
        let mut steady = Steady::new(LEASE);
        steady.hears_of([LEASE, Duration::from_millis(600)]);
        assert_eq!(steady.look_span(usual), Duration::from_millis(100));
        steady.hears_of([]);
        assert_eq!(steady.look_span(usual), usual);
    }

    #[test]
    fn silences_are_remembered_in_bounded_room() {
        let mut steady = Steady::new(LEASE);
        let mut now = at(0);
        steady.answered(now);
        for millis in (1..1000).rev() {
            now = later(now, Duration::from_millis(millis));
            steady.answered(now);
        }
        assert_eq!(steady.silences.len(), SILENCES_MAX);
        assert!(!steady.would_have_renewed(LEASE, at(14)));
    }
}
