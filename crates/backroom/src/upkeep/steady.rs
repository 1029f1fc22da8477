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

/// What one process knows of the store by its own looks.
#[derive(Debug)]
pub(super) struct Steady {
    /// The shortest lease that anybody holds: a silence in which it could have run out must not go unnoticed.
    shortest: Duration,
    last: Option<Timestamp>,
    /// Since when no silence was noticed.
    since: Timestamp,
    /// How long the store answered before that, with silences in between too short to renew in.
    before: Duration,
}

impl Steady {
    /// Knows nothing yet. `lease` is that of its own worker.
    pub(super) fn new(lease: Duration) -> Self {
        Self { shortest: lease, last: None, since: Timestamp::MIN, before: Duration::ZERO }
    }

    /// How long to wait between two looks, at most `usual`.
    pub(super) fn look_span(&self, usual: Duration) -> Duration {
        usual.min((self.shortest / 6).max(LOOK_MIN))
    }

    /// The store answered. A silence before it in which a lease could have run out begins everything anew: a third of the
    /// lease has passed when it is renewed at the latest, and who waits for the store waits on for as long again.
    pub(super) fn answered(&mut self, now: Timestamp) {
        let last = self.last.replace(now);
        if let Some(last) = last
            && span_until(last, now) <= (self.shortest / 3).max(LOOK_MIN * 2)
        {
            return;
        }
        let stretch = last.map_or(Duration::ZERO, |last| span_until(self.since, last));
        let is_whole = stretch >= recovery(self.shortest);
        self.before = if is_whole { Duration::ZERO } else { self.before.saturating_add(stretch) };
        self.since = now;
    }

    /// Hears of the leases of others. With one that is shorter than all known so far, the looks until now were too far
    /// apart to know of a silence.
    pub(super) fn hears_of(&mut self, leases: impl IntoIterator<Item = Duration>, now: Timestamp) {
        if let Some(shorter) = leases.into_iter().filter(|lease| *lease < self.shortest).min() {
            self.shortest = shorter;
            (self.since, self.before) = (now, Duration::ZERO);
        }
    }

    /// Whether a worker that lives would have renewed a lease of this length by now.
    pub(super) fn would_have_renewed(&self, lease: Duration, now: Timestamp) -> bool {
        let needed = recovery(lease);
        let all = self.before.saturating_add(span_until(self.since, now));
        later(self.since, needed) <= now || all >= needed.saturating_mul(PATIENCE)
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
    fn rescues(ranges: &[std::ops::Range<u64>]) -> Vec<u64> {
        let mut steady = Steady::new(LEASE);
        let mut firsts = Vec::new();
        for range in ranges {
            let mut first = None;
            for secs in range.clone().step_by(2) {
                steady.answered(at(secs));
                if first.is_none() && steady.would_have_renewed(LEASE, at(secs)) {
                    first = Some(secs);
                }
            }
            firsts.extend(first);
        }
        firsts
    }

    #[test]
    fn a_process_that_has_just_begun_waits_until_the_living_would_have_renewed() {
        assert_eq!(rescues(std::slice::from_ref(&(0..40))), [16]);
    }

    #[test]
    fn a_silence_that_leases_outlive_changes_nothing() {
        assert_eq!(rescues(&[0..40, 48..60]), [16, 48]);
    }

    #[test]
    fn a_silence_in_which_leases_run_out_begins_the_wait_anew() {
        assert_eq!(rescues(&[0..40, 80..120, 200..240]), [16, 96, 216]);
    }

    #[test]
    fn a_store_that_is_never_there_for_long_does_not_keep_the_dead_alive() {
        let flapping: Vec<_> = (0..10).map(|round| round * 30..round * 30 + 11).collect();
        // 10 s of every 30: three times 15 s are full in the fifth round.
        assert_eq!(rescues(&flapping)[0], 4 * 30 + 6);
    }

    #[test]
    fn a_shorter_lease_than_was_known_is_looked_after_more_often_and_from_anew() {
        let mut steady = Steady::new(LEASE);
        (0..40).step_by(2).for_each(|secs| steady.answered(at(secs)));
        let short = Duration::from_secs(2);
        assert!(steady.would_have_renewed(short, at(40)));
        steady.hears_of([LEASE, short], at(40));
        assert_eq!(steady.look_span(Duration::from_secs(2)), short / 6);
        assert!(!steady.would_have_renewed(short, at(45)));
        assert!(steady.would_have_renewed(short, at(46)));
    }
}
