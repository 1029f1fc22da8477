//! What the model learns from each call.

use std::{any::Any, collections::BTreeSet};

use backroom::{
    JobId, JobRow,
    store::{
        Call, Committed, Deleted, Inserted, LeaseStatus, Moved,
        layer::{Answer, Request},
    },
};

use super::{Model, Place};

impl Model {
    /// A call took effect and was answered. `left` holds all rows after a prune.
    pub(crate) fn hear<T: Answer>(
        &mut self,
        place: &Place,
        (request, call): (&Request, Call),
        answer: &T,
        left: &[JobRow],
    ) {
        match request {
            Request::Insert { jobs, now } => {
                self.inserted(place, jobs, typed::<Vec<Inserted>>(answer), *now);
            }
            Request::Claim { claim, now } => {
                self.claimed(place, claim, call, typed::<Vec<JobRow>>(answer), *now)
            }
            Request::Commit { changes } => self.committed(place, changes, typed::<Vec<Committed>>(answer)),
            Request::LeaseStatus { leases } => {
                self.held(place, leases, typed::<Vec<LeaseStatus>>(answer));
            }
            Request::DeclareDead { worker, .. } => self.declared_dead(place, worker, *typed::<bool>(answer)),
            Request::Prune { prune, now } => {
                let left: BTreeSet<JobId> = left.iter().map(|job| job.id).collect();
                self.pruned(place, prune, *typed::<u64>(answer), &left, *now);
            }
            Request::Delete { id, .. } => self.deleted(place, *id, *typed::<Deleted>(answer)),
            Request::DeleteUnmoved { jobs, .. } => {
                let answers = typed::<Vec<Deleted>>(answer);
                jobs.iter().zip(answers).for_each(|((id, _), answer)| self.deleted(place, *id, *answer));
            }
            Request::MoveSchedules { moves } => {
                self.moved_schedules(place, moves, typed::<Vec<Moved>>(answer));
            }
            Request::DropMessages { .. } => self.dropped(*typed::<u64>(answer)),
            Request::SetQueue { name, setting } => self.queue_set(place, name, setting),
            _ => {}
        }
    }
}

/// The answer in the type that the verb of its request answers with.
fn typed<A: 'static>(answer: &dyn Any) -> &A {
    answer.downcast_ref().expect("each verb answers with one type")
}
