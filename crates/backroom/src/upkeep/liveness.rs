//! Which workers are dead, as one process observes it.
//!
//! A worker is dead when its heartbeat has not moved for its lease, as the monotonic clock of the observer counts. No moment
//! from a row is read, so no difference between clocks matters. Only time counts in which the store demonstrably took writes,
//! because a worker that lives but cannot write is not dead: after an outage it needs time for a heartbeat. The proof is the
//! observer's own heartbeats. They are writes of the same kind, and every worker makes them anyway.

use std::{collections::HashMap, time::Duration};

use uuid::Uuid;

use crate::store::Holder;

/// The usual time between two observations.
const OBSERVE_SPAN: Duration = Duration::from_secs(2);
/// The least time between two observations, however short the leases.
const OBSERVE_MIN: Duration = Duration::from_millis(20);

/// What a heartbeat moves; none for a worker that has no row.
type Beats = Option<(Uuid, u64)>;

/// What one process has observed of the workers.
#[derive(Debug)]
pub(super) struct Liveness {
    /// The lease of the observer's own worker, for workers that have no row.
    own: Duration,
    seen: HashMap<String, Seen>,
    /// The reading at the observer's last heartbeat.
    last_beat: Option<Duration>,
}

#[derive(Debug)]
struct Seen {
    beats: Beats,
    lease: Duration,
    /// The reading when this heartbeat was seen first.
    since: Duration,
    /// For how long it has not moved, as far as the store took writes in that time.
    quiet: Duration,
}

impl Liveness {
    /// Has seen nothing yet.
    pub(super) fn new(own: Duration) -> Self {
        Self { own, seen: HashMap::new(), last_beat: None }
    }

    /// Takes the rows of all workers, read at the reading `now`, and the readings of the observer's own heartbeats since the last
    /// observation. Returns the names of the workers that are dead.
    pub(super) fn observe(
        &mut self,
        holders: &[Holder],
        own_beats: &[Duration],
        now: Duration,
    ) -> Vec<String> {
        for beat in own_beats {
            if let Some(before) = self.last_beat.replace(*beat) {
                self.seen.values_mut().for_each(|seen| seen.prove(before, *beat));
            }
        }
        let mut before = std::mem::take(&mut self.seen);
        let mut dead = Vec::new();
        for holder in holders {
            if holder.row.as_ref().is_some_and(|row| row.dead) {
                continue;
            }
            let beats = holder.row.as_ref().map(|row| (row.incarnation, row.beats));
            let lease = holder.row.as_ref().map_or(self.own, |row| Duration::from_millis(row.lease_ms));
            let seen = match before.remove(&holder.name) {
                Some(seen) if seen.beats == beats => seen,
                Some(_) | None => Seen { beats, lease, since: now, quiet: Duration::ZERO },
            };
            if seen.quiet >= seen.lease {
                dead.push(holder.name.clone());
            }
            self.seen.insert(holder.name.clone(), seen);
        }
        dead
    }

    /// Whether a worker has missed a heartbeat: it has been silent for half of its lease.
    pub(super) fn is_falling_silent(&self, worker: &str) -> bool {
        self.seen.get(worker).is_some_and(|seen| seen.quiet >= seen.lease / 2)
    }

    /// Whether only the proof that the store took writes is missing to find a worker dead. Then the observer's next heartbeat
    /// should not wait for its usual time.
    pub(super) fn wants_proof(&self, now: Duration) -> bool {
        self.silent(now).next().is_some()
    }

    /// How long to wait until the next observation.
    pub(super) fn rest(&self, now: Duration) -> Duration {
        let shortest = self.silent(now).map(|seen| seen.lease).min();
        shortest.map_or(OBSERVE_SPAN, |lease| OBSERVE_SPAN.min((lease / 6).max(OBSERVE_MIN)))
    }

    fn silent(&self, now: Duration) -> impl Iterator<Item = &Seen> {
        self.seen.values().filter(move |seen| now.saturating_sub(seen.since) >= seen.lease)
    }
}

impl Seen {
    /// The observer's heartbeats were written at these readings, one after the other. If the time between them is no longer than
    /// usual, the store took writes in all of it. Otherwise the store may have been away for most of it, or the observer was
    /// frozen, and only a part counts. A part must count: otherwise the dead would never be found on a store that is often away.
    fn prove(&mut self, before: Duration, beat: Duration) {
        let passed = beat.saturating_sub(before.max(self.since));
        // Heartbeats come three times within a lease.
        let is_usual = beat.saturating_sub(before) <= self.lease * 5 / 12;
        let counts = if is_usual { passed } else { passed.min(self.lease / 6) };
        self.quiet = self.quiet.saturating_add(counts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::WorkerRow;

    const LEASE: Duration = Duration::from_secs(30);

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn worker(beats: u64, lease: Duration) -> Holder {
        let lease_ms = u64::try_from(lease.as_millis()).unwrap();
        let row = WorkerRow { name: "a".into(), beats, lease_ms, ..WorkerRow::default() };
        Holder { name: "a".into(), row: Some(row), holds: true }
    }

    /// Observes every two seconds. The heartbeat of the worker is what `beats` says at a moment; the observer writes one at each
    /// of `own`. Returns when the worker is found dead.
    fn found_dead(
        own: &[u64],
        beats: impl Fn(u64) -> Option<u64>,
        lease: Duration,
        until: u64,
    ) -> Option<u64> {
        let mut liveness = Liveness::new(LEASE);
        (0..until).step_by(2).find(|now| {
            let since = now.saturating_sub(2);
            let new: Vec<_> = own
                .iter()
                .filter(|at| (**at > since || *now == 0) && **at <= *now)
                .map(|at| secs(*at))
                .collect();
            let holder = beats(*now).map_or_else(
                || Holder { name: "a".into(), row: None, holds: true },
                |beats| worker(beats, lease),
            );
            !liveness.observe(&[holder], &new, secs(*now)).is_empty()
        })
    }

    fn every(span: u64, range: std::ops::Range<u64>) -> Vec<u64> {
        range.step_by(usize::try_from(span).unwrap()).collect()
    }

    #[test]
    fn a_worker_that_does_not_move_for_its_lease_is_dead() {
        assert_eq!(found_dead(&every(10, 0..100), |_| Some(1), LEASE, 100), Some(30));
        // It moved last between the observations at 20 and at 22.
        let beats = |now: u64| Some((now.min(21)) / 7);
        assert_eq!(found_dead(&every(2, 0..100), beats, LEASE, 100), Some(52));
    }

    #[test]
    fn a_worker_whose_heartbeat_moves_is_alive_whatever_the_clocks_say() {
        assert_eq!(found_dead(&every(10, 0..900), |now| Some(now / 25), LEASE, 900), None);
    }

    #[test]
    fn a_worker_without_a_row_is_observed_for_the_lease_of_the_observer() {
        assert_eq!(found_dead(&every(10, 0..100), |_| None, LEASE, 100), Some(30));
    }

    #[test]
    fn without_heartbeats_of_its_own_an_observer_finds_no_worker_dead() {
        assert_eq!(found_dead(&[], |_| Some(1), LEASE, 900), None);
    }

    #[test]
    fn an_outage_of_any_length_is_no_silence() {
        for away in [60, 600, 36_000] {
            // The worker is away as well, and writes again 8 s after the store is back.
            let own = [every(10, 0..21), every(10, 20 + away..20 + away + 100)].concat();
            let beats = |now: u64| Some(if now < 28 + away { now.min(12) / 12 } else { now });
            assert_eq!(found_dead(&own, beats, LEASE, away + 100), None, "away for {away} s");
        }
    }

    #[test]
    fn after_an_outage_the_dead_are_found_within_a_lease() {
        let own = [every(10, 0..21), every(10, 620..720)].concat();
        assert_eq!(found_dead(&own, |now| Some(u64::from(now > 14)), LEASE, 800), Some(650));
    }

    #[test]
    fn the_dead_are_found_although_the_store_is_never_there_for_long() {
        assert_eq!(found_dead(&every(30, 0..900), |_| Some(1), LEASE, 900), Some(180));
    }

    #[test]
    fn a_short_lease_is_proven_by_more_heartbeats_and_observed_more_often() {
        let mut liveness = Liveness::new(LEASE);
        let short = secs(3);
        liveness.observe(&[worker(1, short)], &[secs(0)], secs(0));
        assert!(!liveness.wants_proof(secs(2)));
        assert_eq!(liveness.rest(secs(2)), OBSERVE_SPAN);
        assert!(liveness.wants_proof(secs(3)));
        assert_eq!(liveness.rest(secs(3)), Duration::from_millis(500));
        // The usual heartbeat alone counts for little: the store may have been away for most of it.
        assert_eq!(liveness.observe(&[worker(1, short)], &[secs(10)], secs(10)), Vec::<String>::new());
        let quick: Vec<_> = (1..=6).map(|beat| secs(10) + beat * Duration::from_millis(500)).collect();
        assert_eq!(liveness.observe(&[worker(1, short)], &quick, secs(13)), ["a"]);
    }

    #[test]
    fn another_worker_under_the_same_name_is_seen_as_another() {
        let mut liveness = Liveness::new(LEASE);
        liveness.observe(&[worker(1, LEASE)], &[secs(0)], secs(0));
        let mut other = worker(1, LEASE);
        other.row.as_mut().unwrap().incarnation = Uuid::from_u128(1);
        let beats: Vec<_> = (1..=4).map(|beat| secs(beat * 10)).collect();
        assert_eq!(liveness.observe(&[other], &beats, secs(40)), Vec::<String>::new());
    }

    #[test]
    fn a_worker_that_left_is_forgotten() {
        let mut liveness = Liveness::new(LEASE);
        liveness.observe(&[worker(1, LEASE)], &[], secs(0));
        liveness.observe(&[], &[], secs(2));
        assert!(liveness.seen.is_empty());
    }
}
