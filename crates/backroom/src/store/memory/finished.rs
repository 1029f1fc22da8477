//! How jobs leave the memory store.

use std::{cmp::Reverse, collections::BTreeSet};

use backroom_core::{JobId, JobRow, State, Timestamp, unique::UniqueWhile};

use super::rows::{Ring, Rows};
use crate::{
    Error,
    store::{Deleted, Prune},
};

impl Rows {
    pub(super) fn prune(&mut self, prune: &Prune, now: Timestamp) -> u64 {
        let chosen = self.prunable(prune, now);
        for id in &chosen {
            self.forget(*id);
            self.forget_edges(*id);
        }
        chosen.len() as u64
    }

    /// Without a moment, nothing follows for other jobs.
    pub(super) fn delete(&mut self, id: JobId, now: Option<Timestamp>) -> Result<Deleted, Error> {
        match self.job(id).cloned() {
            None => Ok(Deleted::NotFound),
            Some(job) if job.state == State::Running => Ok(Deleted::Running),
            Some(job) => {
                self.forget(id);
                self.imported.remove(&id);
                self.forget_edges(id);
                if let Some(now) = now {
                    self.carry_out_deletion(&job, now)?;
                }
                Ok(Deleted::Yes)
            }
        }
    }

    pub(super) fn delete_unmoved(
        &mut self,
        id: JobId,
        revision: u64,
        now: Timestamp,
    ) -> Result<Deleted, Error> {
        match self.job(id) {
            Some(job) if job.revision != revision => Ok(Deleted::Moved),
            Some(_) | None => self.delete(id, Some(now)),
        }
    }

    /// The oldest first.
    fn prunable(&self, prune: &Prune, now: Timestamp) -> Vec<JobId> {
        let of_the_queue =
            |job: &&JobRow| job.queue == prune.queue && job.state == prune.state && job.state.is_finished();
        let mut finished: Vec<&JobRow> = self.jobs.values().filter(of_the_queue).collect();
        finished.sort_by_key(|job| Reverse((job.finished_at, job.id)));
        let retained =
            prune.beyond.map_or(finished.len(), |newest| usize::try_from(newest).unwrap_or(usize::MAX));
        let beyond: BTreeSet<JobId> = finished.iter().skip(retained).map(|job| job.id).collect();
        let too_old = |job: &JobRow| {
            let (Some(finished_at), Some(before)) = (job.finished_at, prune.finished_before) else {
                return false;
            };
            finished_at < before
        };
        finished
            .into_iter()
            .rev()
            .filter(|job| beyond.contains(&job.id) || too_old(job))
            .filter(|job| !holds_for_a_window(job, now) && !self.has_live_dependants(job.id))
            .take(prune.limit)
            .map(|job| job.id)
            .collect()
    }

    fn forget(&mut self, id: JobId) {
        self.jobs.remove(&id);
        self.attempts.remove(&id);
        self.lines.remove(&id);
        self.journals.remove(&id);
        self.ring(Ring::Job(id));
    }
}

/// Pruned before its window has passed, a throttled job could be enqueued again too early.
fn holds_for_a_window(job: &JobRow, now: Timestamp) -> bool {
    job.unique_held && matches!(job.unique_while, Some(UniqueWhile::Until(until)) if until > now)
}
