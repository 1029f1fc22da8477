//! What this process knows of its trays, and whether the next claim uses one.
//!
//! All of it is a hint: only the database knows where a tray is and what lies on it. How jobs ended lately decides whether a tray
//! pays. It saves about 4 µs of the server's time for each job that is ended from it, and costs about as much for each job
//! that is unloaded. Whenever any of its jobs end it is read whole, which costs a twelfth of that per job. So trays are for
//! jobs that succeed, write no progress, and end many at a time.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use backroom_core::{Change, LeaseId};
use uuid::Uuid;

/// Trays that are remembered. The ends of one that is forgotten take the slower way.
const TRAYS_MAX: usize = 256;
/// A tray that is read more often than that saves nothing, whatever its size.
const READS_MAX: usize = 10;
/// So many times as many jobs as a tray holds must have succeeded in a row before one is used. At such a low share of
/// failures most trays are never unloaded.
const UNDISTURBED: usize = 2;
/// How many commits the average is about.
const COMMITS: usize = 8;
/// Queues whose last claim is remembered. Beyond it all are forgotten.
const QUEUES_MAX: usize = 1000;

/// What is known of trays.
#[derive(Debug, Default)]
pub(in crate::store::postgres) struct Trays(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The newest last.
    trays: VecDeque<Tray>,
    /// How many jobs the last claim took, by the queue it asked first.
    taken: HashMap<String, usize>,
    /// Successes in a row, without any other end, progress, log line, or heartbeat of what is on a tray.
    undisturbed: usize,
    /// The sum over the last commits, about, of the changes of one claim in each.
    per_commits: usize,
}

#[derive(Debug)]
struct Tray {
    lease: LeaseId,
    left: usize,
}

impl Trays {
    /// Whether a claim of at most `limit` jobs, of this queue first, lays them on a tray. It does if it asks for many,
    /// the claim before got many, and trays pay. Where `trays_from` is 1 every claim does, where it is 0 none.
    pub(in crate::store::postgres) fn fits(&self, queue: &str, limit: usize, trays_from: usize) -> bool {
        if trays_from <= 1 {
            return trays_from == 1;
        }
        let known = self.known();
        let jobs = limit.min(known.taken.get(queue).copied().unwrap_or_default());
        jobs >= trays_from
            && known.undisturbed >= jobs.saturating_mul(UNDISTURBED)
            && known.per_commits.saturating_mul(READS_MAX) >= jobs.saturating_mul(COMMITS)
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
            known.trays.push_back(Tray { lease, left: jobs });
        }
    }

    /// A commit has these changes, and whether all are runs that succeeded.
    pub(in crate::store::postgres) fn committed(&self, changes: &[&Change], are_successes: bool) {
        let claims: HashSet<Option<LeaseId>> = changes.iter().map(|change| change.lease).collect();
        self.wrote(changes.len(), claims.len(), are_successes);
    }

    fn wrote(&self, changes: usize, claims: usize, are_successes: bool) {
        let mut known = self.known();
        known.per_commits += changes / claims.max(1);
        known.per_commits -= known.per_commits.div_ceil(COMMITS + 1);
        known.undisturbed = if are_successes { known.undisturbed.saturating_add(changes) } else { 0 };
    }

    /// A handler wrote progress or a log line.
    pub(in crate::store::postgres) fn disturbed(&self) {
        self.known().undisturbed = 0;
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

    /// So many jobs of a tray were ended.
    pub(super) fn ended(&self, lease: LeaseId, jobs: usize) {
        let mut known = self.known();
        if let Some(tray) = known.trays.iter_mut().find(|tray| tray.lease == lease) {
            tray.left = tray.left.saturating_sub(jobs);
        }
        known.trays.retain(|tray| tray.left > 0);
    }

    /// These leases, in order, have no tray any more.
    pub(super) fn unloaded(&self, leases: &[Uuid]) {
        let mut known = self.known();
        let before = known.trays.len();
        known.trays.retain(|tray| leases.binary_search(&tray.lease.0).is_err());
        if known.trays.len() < before {
            known.undisturbed = 0;
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: usize = 1000;
    const FROM: usize = 64;

    fn lease(number: u128) -> LeaseId {
        LeaseId(Uuid::from_u128(number))
    }

    /// After a claim and commits in which all went well.
    fn busy() -> Trays {
        let trays = Trays::default();
        trays.took("q", MANY);
        (0..10).for_each(|_| trays.wrote(500, 1, true));
        trays
    }

    #[test]
    fn claims_of_few_jobs_and_claims_behind_one_that_got_few_go_without() {
        let trays = busy();
        assert!(!trays.fits("q", FROM - 1, FROM));
        assert!(trays.fits("q", FROM, FROM));
        assert!(!trays.fits("another", MANY, FROM));
        trays.took("q", FROM - 1);
        assert!(!trays.fits("q", MANY, FROM));
        trays.took("q", FROM);
        assert!(trays.fits("q", MANY, FROM));
    }

    #[test]
    fn jobs_that_fail_or_speak_or_are_unloaded_keep_to_their_rows_for_a_while() {
        let disturbances: [fn(&Trays); 3] = [
            |trays| trays.wrote(500, 1, false),
            |trays| trays.disturbed(),
            |trays| {
                trays.laid(lease(1), MANY);
                trays.unloaded(&[lease(1).0]);
            },
        ];
        for disturb in disturbances {
            let trays = busy();
            assert!(trays.fits("q", MANY, FROM));
            disturb(&trays);
            trays.wrote(UNDISTURBED * MANY - 1, 1, true);
            assert!(!trays.fits("q", MANY, FROM));
            trays.wrote(1, 1, true);
            assert!(trays.fits("q", MANY, FROM));
        }
    }

    #[test]
    fn jobs_that_end_a_few_at_a_time_keep_to_their_rows() {
        let trays = busy();
        // As many as a tenth of a tray, less, more, and many of many claims.
        for (jobs, changes, claims, fits) in [
            (MANY, 50, 1, false),
            (MANY, 200, 1, true),
            (MANY, 500, 10, false),
            (80, 1, 1, false),
            (80, 10, 1, true),
        ] {
            trays.took("q", jobs);
            (0..200).for_each(|_| trays.wrote(changes, claims, true));
            assert_eq!(trays.fits("q", MANY, FROM), fits, "{jobs} {changes} {claims}");
        }
    }

    #[test]
    fn a_tray_is_known_until_its_last_job_has_ended_or_it_is_unloaded() {
        let trays = Trays::default();
        trays.laid(lease(1), MANY);
        trays.laid(lease(2), MANY);
        trays.laid(lease(3), 0);
        let asked = || [lease(1), lease(3), lease(2), lease(1)].into_iter();
        assert_eq!(trays.among(asked()), [lease(1).0, lease(2).0]);
        trays.ended(lease(1), 900);
        assert_eq!(trays.among(asked()), [lease(1).0, lease(2).0]);
        trays.ended(lease(1), 100);
        assert_eq!(trays.among(asked()), [lease(2).0]);
        trays.unloaded(&[lease(2).0]);
        assert!(trays.among(asked()).is_empty());
    }

    #[test]
    fn the_oldest_of_very_many_is_forgotten() {
        let trays = Trays::default();
        (0..=TRAYS_MAX as u128).for_each(|number| trays.laid(lease(number), MANY));
        assert!(trays.among([lease(0)].into_iter()).is_empty());
        assert_eq!(trays.among([lease(1)].into_iter()), [lease(1).0]);
    }

    #[test]
    fn always_and_never_are_settings_and_not_learned() {
        assert!(Trays::default().fits("q", 1, 1));
        assert!(!busy().fits("q", MANY, 0));
    }
}
