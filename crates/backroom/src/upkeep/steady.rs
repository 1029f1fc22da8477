//! Whether the store has answered long enough for living workers to have renewed their leases.
//!
//! A lease runs out when its worker is dead, and also when nobody could reach the store for longer than a lease, or the
//! machine slept. Nothing in the row tells these apart. What does is time: a living worker renews as soon as it is
//! let, so whoever saw the store answer for that long knows that the silent ones are dead. Two kinds of answer are
//! watched, each by a `Steady` of its own: those to upkeep's looks, and those to the worker's beats.

use std::time::Duration;

/// Within this span after an outage a worker tries again: the longest wait of the store's decorator, and of a connection
/// that is made anew.
const RETRY: Duration = Duration::from_secs(5);
/// Most often that anybody looks, however short the leases.
const LOOK_MIN: Duration = Duration::from_millis(20);
/// So many times the usual patience is enough even if the store never answers for long without a break.
const PATIENCE: u32 = 3;
/// The usual time between two looks.
pub(super) const LOOK_SPAN: Duration = Duration::from_secs(2);
/// Silences that are told apart. Each is longer than all that came after it, so there are few.
const SILENCES_MAX: usize = 64;

/// What one process knows of the store by the answers it gets.
#[derive(Debug)]
pub(super) struct Steady {
    /// Of the worker in this process.
    own: Duration,
    /// A silence longer than this part of a lease is one in which it may have run out.
    part: u32,
    /// Of an answer after a silence, so much counts as time in which the store was there: the usual time between two.
    credit_max: Duration,
    /// The shortest lease to look after: a silence in which it could have run out must not go unnoticed.
    shortest: Duration,
    last: Option<Duration>,
    /// How long the store was silent and when it answered again; the longest first, and each later than those before it.
    /// Which of them counts depends on the lease: a short one runs out in a silence that a long one outlives.
    silences: Vec<(Duration, Duration)>,
    /// For how long the store answered, in pieces, while there were jobs that might have been rescued but for a silence.
    waited: Duration,
    is_waiting: bool,
}

impl Steady {
    /// Knows nothing yet. `lease` is that of its own worker.
    pub(super) fn of_looks(lease: Duration) -> Self {
        Self::new(lease, 3, LOOK_SPAN)
    }

    /// The same for beats, which come every `span`: three times within a lease. So silences of a third are usual, and only
    /// one of two thirds lets a lease run out.
    pub(super) fn of_beats(lease: Duration, span: Duration) -> Self {
        Self::new(lease, 2, span)
    }

    fn new(lease: Duration, part: u32, credit_max: Duration) -> Self {
        let (silences, waited) = (Vec::new(), Duration::ZERO);
        Self {
            own: lease,
            part,
            credit_max,
            shortest: lease,
            last: None,
            silences,
            waited,
            is_waiting: false,
        }
    }

    /// How long to wait between two looks.
    pub(super) fn look_span(&self) -> Duration {
        LOOK_SPAN.min((self.shortest / 6).max(LOOK_MIN))
    }

    /// Whether leases ran out that are shorter than that of its own worker.
    pub(super) fn hears_of_shorter(&self) -> bool {
        self.shortest < self.own
    }

    /// The store answered.
    pub(super) fn answered(&mut self, now: Duration) {
        // Whatever was before the first answer is unknown, so it may have been silence.
        let silence = self.last.replace(now).map_or(Duration::MAX, |last| now.saturating_sub(last));
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
            self.waited = self.waited.saturating_add(silence.min(self.credit_max));
        }
    }

    /// Hears of the leases that ran out, all of them: how often to look follows the shortest.
    pub(super) fn hears_of(&mut self, leases: impl IntoIterator<Item = Duration>) {
        self.shortest = leases.into_iter().fold(self.own, Duration::min);
    }

    /// Hears of a lease that ran out, before it has heard of all.
    pub(super) fn hears_also_of(&mut self, lease: Duration) {
        self.shortest = self.shortest.min(lease);
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
    pub(super) fn would_have_renewed(&self, lease: Duration, now: Duration) -> bool {
        let needed = recovery(lease);
        let tolerated = (lease / self.part).max(LOOK_MIN * 2);
        let since = self.silences.iter().rev().find(|(silence, _)| *silence > tolerated).map(|(_, at)| *at);
        // One that has not ended yet counts as well.
        let answers = self.last.is_some_and(|last| now.saturating_sub(last) <= tolerated);
        let has_answered = answers && since.is_some_and(|since| since.saturating_add(needed) <= now);
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

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// The moments at which it would first rescue, after answers every two seconds in these ranges.
    fn rescues(lease: Duration, ranges: &[std::ops::Range<u64>]) -> Vec<u64> {
        let mut steady = Steady::of_looks(lease);
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
        let mut steady = Steady::of_looks(own);
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
        let mut steady = Steady::of_looks(short);
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
        let mut steady = Steady::of_looks(LEASE);
        steady.hears_of([LEASE, Duration::from_millis(600)]);
        assert_eq!(steady.look_span(), Duration::from_millis(100));
        steady.hears_of([]);
        assert_eq!(steady.look_span(), LOOK_SPAN);
    }

    #[test]
    fn silences_are_remembered_in_bounded_room() {
        let mut steady = Steady::of_looks(LEASE);
        let mut now = at(0);
        steady.answered(now);
        for millis in (1..1000).rev() {
            now += Duration::from_millis(millis);
            steady.answered(now);
        }
        assert_eq!(steady.silences.len(), SILENCES_MAX);
        assert!(!steady.would_have_renewed(LEASE, at(14)));
    }

    /// Beaten every ten seconds within these ranges: whether a lease would have been renewed by then.
    fn by_beats(ranges: &[std::ops::Range<u64>], lease: Duration, now: u64) -> bool {
        let mut steady = Steady::of_beats(LEASE, LEASE / 3);
        for range in ranges {
            range.clone().step_by(10).for_each(|secs| steady.answered(at(secs)));
        }
        steady.would_have_renewed(lease, at(now))
    }

    #[test]
    fn beats_at_the_usual_pace_show_a_store_that_takes_writes() {
        assert!(!by_beats(std::slice::from_ref(&(0..11)), LEASE, 14));
        assert!(by_beats(std::slice::from_ref(&(0..11)), LEASE, 15));
        assert!(by_beats(std::slice::from_ref(&(0..91)), LEASE, 99));
    }

    #[test]
    fn a_beat_that_is_overdue_is_a_silence_before_it_has_ended() {
        assert!(by_beats(std::slice::from_ref(&(0..91)), LEASE, 105));
        assert!(!by_beats(std::slice::from_ref(&(0..91)), LEASE, 106));
        // Twenty seconds without a beat; the next one begins the wait anew.
        assert!(!by_beats(&[0..91, 110..121], LEASE, 124));
        assert!(by_beats(&[0..91, 110..121], LEASE, 125));
    }

    #[test]
    fn beats_at_the_usual_pace_say_nothing_of_shorter_leases() {
        assert!(!by_beats(std::slice::from_ref(&(0..91)), Duration::from_secs(15), 99));
        assert!(by_beats(std::slice::from_ref(&(0..91)), Duration::from_secs(60), 99));
    }
}
