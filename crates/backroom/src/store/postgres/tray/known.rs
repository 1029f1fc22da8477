//! What this process knows of the trays it took, and whether the next claim is to take one.
//!
//! Hints, all of it: where a tray is and what lies on it only the database tells. What a tray is worth is learned from those
//! before. One saves about 4 µs of the server's time for each job that is ended from it, and costs about as much for each
//! that is unloaded; and it is read whole, in a twelfth of that per job, whenever any of its jobs end. So jobs that fail, say
//! how far they are, take long, or end a few at a time, soon keep to their rows.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use backroom_core::LeaseId;
use uuid::Uuid;

/// Trays that are remembered. One that is forgotten is found by the slower way.
const TRAYS_MAX: usize = 256;
/// A tray that is read more often than that saves nothing, whatever its size.
const READS_MAX: usize = 10;
/// Queues whose last claim is remembered. Beyond it all are forgotten, which costs each one tray.
const QUEUES_MAX: usize = 1000;
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
    /// How many jobs the last claim took, by the queue it asked first.
    taken: HashMap<String, usize>,
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
        self.left <= self.jobs / 2 && self.reads <= READS_MAX
    }
}

impl Default for Trays {
    fn default() -> Self {
        let (trays, taken) = (VecDeque::new(), HashMap::new());
        Self(Mutex::new(Known { trays, taken, rest: REST_FIRST, resting: 0 }))
    }
}

impl Trays {
    /// Whether a claim of at most `limit` jobs, of this queue first, is to lay them on a tray: one that asks for many, and
    /// follows one that got many. A process that is told to do so for every claim learns nothing.
    pub(in crate::store::postgres) fn fits(&self, queue: &str, limit: usize, trays_from: usize) -> bool {
        if trays_from <= 1 {
            return trays_from == 1;
        }
        let mut known = self.known();
        // Whoever asks for many at first expects a backlog.
        let taken = known.taken.get(queue).copied().unwrap_or(usize::MAX);
        if limit.min(taken) < trays_from {
            return false;
        }
        let rests = known.resting > 0;
        known.resting = known.resting.saturating_sub(1);
        !rests
    }

    /// A claim took so many jobs.
    pub(in crate::store::postgres) fn took(&self, queue: &str, jobs: usize) {
        let mut known = self.known();
        match known.taken.get_mut(queue) {
            Some(taken) => *taken = jobs,
            None => {
                if known.taken.len() >= QUEUES_MAX {
                    known.taken.clear();
                }
                known.taken.insert(queue.to_owned(), jobs);
            }
        }
    }

    /// So many jobs lie on a new tray.
    pub(in crate::store::postgres) fn laid(&self, lease: LeaseId, jobs: usize) {
        if jobs > 0 {
            let mut known = self.known();
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
            (self.rest, self.resting) = (REST_FIRST, 0);
        } else if self.resting == 0 {
            // Those that were taken before the first one told its worth tell nothing new.
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
        (0..10_000).take_while(|_| !trays.fits("q", MANY, 64)).count()
    }

    #[test]
    fn claims_of_few_jobs_and_claims_behind_one_that_got_few_go_without() {
        let trays = Trays::default();
        assert!(!trays.fits("q", 63, 64));
        assert!(trays.fits("q", 64, 64));
        trays.took("q", 63);
        assert!(!trays.fits("q", MANY, 64));
        assert!(trays.fits("another", MANY, 64));
        trays.took("q", 64);
        assert!(trays.fits("q", MANY, 64));
    }

    #[test]
    fn a_tray_is_known_until_its_last_job_has_ended() {
        let trays = Trays::default();
        trays.laid(lease(1), MANY);
        trays.laid(lease(2), MANY);
        trays.laid(lease(3), 0);
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
            trays.laid(lease(1), MANY);
            trays.laid(lease(2), MANY);
            trays.ended(lease(1), 100);
            trays.unloaded(&[lease(1).0, lease(2).0]);
            assert_eq!(rest(&trays), expected);
        }
        trays.laid(lease(3), MANY);
        trays.ended(lease(3), MANY);
        trays.laid(lease(4), MANY);
        trays.unloaded(&[lease(4).0]);
        assert_eq!(rest(&trays), 8, "one that was worth it makes up for all before");
    }

    #[test]
    fn trays_whose_jobs_end_a_few_at_a_time_are_not_worth_it() {
        let trays = Trays::default();
        trays.laid(lease(1), 100);
        (0..20).for_each(|_| trays.ended(lease(1), 5));
        assert_eq!(rest(&trays), 8);
        trays.laid(lease(2), 100);
        (0..5).for_each(|_| trays.ended(lease(2), 20));
        assert_eq!(rest(&trays), 0);
    }

    #[test]
    fn the_oldest_of_very_many_is_forgotten() {
        let trays = Trays::default();
        (0..=TRAYS_MAX as u128).for_each(|number| trays.laid(lease(number), MANY));
        assert!(trays.among([lease(0)].into_iter()).is_empty());
        assert_eq!(trays.among([lease(1)].into_iter()), [lease(1).0]);
    }

    #[test]
    fn always_and_never_are_told_and_not_learned() {
        let trays = Trays::default();
        trays.took("q", 0);
        trays.laid(lease(1), 1);
        trays.unloaded(&[lease(1).0]);
        assert!(trays.fits("q", 1, 1));
        assert!(!trays.fits("another", MANY, 0));
    }
}
