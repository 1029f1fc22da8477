//! The runs of one worker: those whose leases it holds, and those whose handler outlived the lease.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backroom_core::JobId;

use super::run::{Run, StopReason};

/// Runs that ended for the store while their handler goes on. A thread cannot be stopped from outside, and a handler whose
/// lease is lost is only asked to stop.
#[derive(Default)]
pub(crate) struct DetachedRuns(Mutex<Vec<Arc<Run>>>);

impl DetachedRuns {
    /// Takes in those of the runs whose handler goes on.
    pub(crate) fn add<'a>(&self, ended: impl IntoIterator<Item = &'a Arc<Run>>) {
        let mut runs = self.runs();
        for run in ended.into_iter().filter(|run| run.goes_on()) {
            // A run can end twice: its lease is lost, and later its own end is dropped.
            if !runs.iter().any(|known| Arc::ptr_eq(known, run)) {
                runs.push(Arc::clone(run));
            }
        }
    }

    /// Those whose handler still runs.
    pub(crate) fn all(&self) -> Vec<Arc<Run>> {
        let mut runs = self.runs();
        runs.retain(|run| run.goes_on());
        runs.clone()
    }

    fn runs(&self) -> MutexGuard<'_, Vec<Arc<Run>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All runs whose leases this worker holds.
#[derive(Default)]
pub(crate) struct ActiveRuns {
    runs: Mutex<HashMap<JobId, Arc<Run>>>,
}

impl ActiveRuns {
    /// Adds newly claimed runs. A job that already has a run here was rescued without this worker's knowledge. The store is not
    /// asked about the earlier lease again, so the earlier handler is asked to stop now.
    pub(crate) fn add(&self, claimed: &[Arc<Run>], now: Duration) {
        let mut runs = self.runs();
        for run in claimed {
            if let Some(displaced) = runs.insert(run.job.id, Arc::clone(run)) {
                displaced.request_stop(StopReason::LeaseLost, now);
            }
        }
    }

    /// Removes runs. A later run of the same job stays.
    pub(crate) fn remove<'a>(&self, gone: impl IntoIterator<Item = &'a Arc<Run>>) {
        let mut runs = self.runs();
        for run in gone {
            if runs.get(&run.job.id).is_some_and(|active| active.lease == run.lease) {
                runs.remove(&run.job.id);
            }
        }
    }

    /// All runs, in the order of their job ids. The order of a map differs between processes, so a seed would not repeat.
    pub(crate) fn all(&self) -> Vec<Arc<Run>> {
        let mut all: Vec<_> = self.runs().values().cloned().collect();
        all.sort_unstable_by_key(|run| run.job.id);
        all
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs().is_empty()
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<JobId, Arc<Run>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use backroom_core::{Draft, Json, LeaseId, Timestamp};
    use uuid::Uuid;

    use super::{super::held_bytes::HeldBytes, *};

    fn run_under(lease: u128, job: u128) -> Arc<Run> {
        let id = JobId(Uuid::from_u128(job));
        let new = Draft::new("kind", Json::null()).check(id, Timestamp::UNIX_EPOCH, 100).expect("a draft");
        Arc::new(Run::new(
            new.job,
            LeaseId(Uuid::from_u128(lease)),
            HeldBytes::new(100).hold(0),
            Duration::ZERO,
        ))
    }

    #[test]
    fn a_run_whose_job_is_claimed_again_here_is_asked_to_stop() {
        let active = ActiveRuns::default();
        let (earlier, other, later) = (run_under(1, 7), run_under(1, 8), run_under(2, 7));
        active.add(&[Arc::clone(&earlier), Arc::clone(&other)], Duration::ZERO);
        assert!(earlier.stop_reason().is_none());
        active.add(std::slice::from_ref(&later), Duration::from_secs(9));
        assert_eq!(earlier.stop_reason(), Some(StopReason::LeaseLost));
        assert!(earlier.is_stuck(Duration::ZERO, Duration::from_secs(9)));
        assert!(!earlier.is_stuck(Duration::ZERO, Duration::from_secs(8)));
        assert!(earlier.lease_lost().is_set() && earlier.stop.is_cancelled());
        assert!(other.stop_reason().is_none() && later.stop_reason().is_none());
        assert_eq!(active.all().iter().map(|run| run.lease).collect::<Vec<_>>(), [later.lease, other.lease]);
        active.remove([&earlier]);
        assert_eq!(active.all().len(), 2, "the end of the earlier run does not take the later one away");
    }
}
