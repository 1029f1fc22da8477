//! What this process knows of the trays it took, and whether the next claim is to take one.
//!
//! Hints, all of it: where a tray is and what lies on it only the database tells. What a tray is worth is learned from those
//! before. One saves about 4 µs of the server's time for each job that is ended from it, and costs about as much for each
//! that is unloaded, and a third of that for each that lies on it while another one is ended. So jobs that fail, say how far
//! they are, take long, or end a few at a time, soon keep to their rows.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use backroom_core::LeaseId;
use uuid::Uuid;

/// Trays that are remembered. One that is forgotten is found by the slower way.
const TRAYS_MAX: usize = 256;
/// A tray that is read once for fewer jobs than this costs more than it saves.
const JOBS_PER_READ_MIN: usize = 100;
/// Claims that go without a tray after one that was not worth it; doubled with each further one up to the most.
const REST_FIRST: u32 = 8;
const REST_MOST: u32 = 256;

/// What is known of trays.
#[derive(Debug)]
pub(in crate::store::postgres) struct Trays(Mutex<Known>);

#[derive(Debug)]
struct Known {
    /// The newest last.
    trays: VecDeque<Tray>,
    /// How many jobs the last claim took.
    taken: usize,
    /// Claims that go without one after the next that is not worth it.
    rest: u32,
    /// Claims that go without one from now on.
    resting: u32,
}

#[derive(Debug)]
struct Tray {
    lease: LeaseId,
    jobs: usize,
    left: usize,
    reads: usize,
}

impl Tray {
    fn was_worth_it(&self) -> bool {
        self.left <= self.jobs / 2 && self.reads * JOBS_PER_READ_MIN <= self.jobs.max(JOBS_PER_READ_MIN)
    }
}

impl Default for Trays {
    fn default() -> Self {
        // Whoever asks for many at first expects a backlog.
        let known = Known { trays: VecDeque::new(), taken: usize::MAX, rest: REST_FIRST, resting: 0 };
        Self(Mutex::new(known))
    }
}

impl Trays {
    /// Whether a claim of at most `limit` jobs is to lay them on a tray: one that asks for many, and follows one that got
    /// many. A process that is told to take a tray for every claim (`trays_from` 1) learns nothing.
    pub(in crate::store::postgres) fn fits(&self, limit: usize, trays_from: usize) -> bool {
        let mut known = self.known();
        if limit.min(known.taken.saturating_add(1)) < trays_from {
            return false;
        }
        if known.resting > 0 && trays_from > 1 {
            known.resting -= 1;
            return false;
        }
        true
    }

    /// A claim took so many jobs.
    pub(in crate::store::postgres) fn claimed(&self, lease: LeaseId, jobs: usize, is_on_tray: bool) {
        let mut known = self.known();
        known.taken = jobs;
        if is_on_tray && jobs > 0 {
            if known.trays.len() >= TRAYS_MAX {
                known.trays.pop_front();
            }
            known.trays.push_back(Tray { lease, jobs, left: jobs, reads: 0 });
        }
    }

    /// Those of the leases that have a tray, as far as is known here; each once.
    pub(in crate::store::postgres) fn among(&self, leases: impl Iterator<Item = LeaseId>) -> Vec<Uuid> {
        let known = self.known();
        if known.trays.is_empty() {
            return Vec::new();
        }
        let has_tray = |lease: &LeaseId| known.trays.iter().any(|tray| tray.lease == *lease);
        let mut among: Vec<Uuid> = leases.filter(has_tray).map(|lease| lease.0).collect();
        among.sort_unstable();
        among.dedup();
        among
    }

    /// A tray was read, and so many of its jobs were ended.
    pub(super) fn ended(&self, lease: LeaseId, jobs: usize) {
        let mut known = self.known();
        let Some(tray) = known.trays.iter_mut().find(|tray| tray.lease == lease) else { return };
        tray.reads += 1;
        tray.left = tray.left.saturating_sub(jobs);
        if tray.left == 0 {
            known.gone(lease);
        }
    }

    /// These leases have no tray any more.
    pub(super) fn unloaded(&self, leases: &[Uuid]) {
        let mut known = self.known();
        leases.iter().for_each(|lease| known.gone(LeaseId(*lease)));
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn gone(&mut self, lease: LeaseId) {
        let place = self.trays.iter().position(|tray| tray.lease == lease);
        let Some(tray) = place.and_then(|place| self.trays.remove(place)) else { return };
        if tray.was_worth_it() {
            self.rest = REST_FIRST;
        } else {
            self.resting = self.rest;
            self.rest = (self.rest * 2).min(REST_MOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: usize = 1000;

    fn lease(number: u128) -> LeaseId {
        LeaseId(Uuid::from_u128(number))
    }

    /// How many of the next claims go without a tray.
    fn rest(trays: &Trays) -> usize {
        (0..10_000).take_while(|_| !trays.fits(MANY, 64)).count()
    }

    #[test]
    fn claims_of_few_jobs_and_claims_behind_one_that_got_few_go_without() {
        let trays = Trays::default();
        assert!(!trays.fits(63, 64));
        assert!(trays.fits(64, 64));
        trays.claimed(lease(1), 10, false);
        assert!(!trays.fits(MANY, 64));
        trays.claimed(lease(2), MANY, false);
        assert!(trays.fits(MANY, 64));
    }

    #[test]
    fn a_tray_is_known_until_its_last_job_has_ended() {
        let trays = Trays::default();
        trays.claimed(lease(1), MANY, true);
        trays.claimed(lease(2), MANY, true);
        let asked = || [lease(1), lease(3), lease(1)].into_iter();
        assert_eq!(trays.among(asked()), [lease(1).0]);
        trays.ended(lease(1), 900);
        assert_eq!(trays.among(asked()), [lease(1).0]);
        trays.ended(lease(1), 100);
        assert!(trays.among(asked()).is_empty());
        assert_eq!(rest(&trays), 0, "it was worth it");
    }

    #[test]
    fn trays_that_are_unloaded_early_are_taken_more_and_more_rarely() {
        let trays = Trays::default();
        for expected in [8, 16, 32, 64, 128, 256, 256] {
            trays.claimed(lease(1), MANY, true);
            trays.ended(lease(1), 100);
            trays.unloaded(&[lease(1).0]);
            assert_eq!(rest(&trays), expected);
        }
        trays.claimed(lease(2), MANY, true);
        trays.ended(lease(2), MANY);
        trays.claimed(lease(3), MANY, true);
        trays.unloaded(&[lease(3).0]);
        assert_eq!(rest(&trays), 8, "one that was worth it makes up for all before");
    }

    #[test]
    fn trays_whose_jobs_end_a_few_at_a_time_are_not_worth_it() {
        let trays = Trays::default();
        trays.claimed(lease(1), MANY, true);
        (0..20).for_each(|_| trays.ended(lease(1), 50));
        assert_eq!(rest(&trays), 8);
        trays.claimed(lease(2), MANY, true);
        (0..5).for_each(|_| trays.ended(lease(2), 200));
        assert_eq!(rest(&trays), 0);
    }

    #[test]
    fn the_oldest_of_very_many_is_forgotten() {
        let trays = Trays::default();
        (0..=TRAYS_MAX as u128).for_each(|number| trays.claimed(lease(number), MANY, true));
        assert!(trays.among([lease(0)].into_iter()).is_empty());
        assert_eq!(trays.among([lease(1)].into_iter()), [lease(1).0]);
    }

    #[test]
    fn whoever_is_told_to_take_one_for_every_claim_learns_nothing() {
        let trays = Trays::default();
        trays.claimed(lease(1), 1, true);
        trays.unloaded(&[lease(1).0]);
        assert!(trays.fits(1, 1));
    }
}
