//! The end of a workflow, and of a branch of it: what becomes of what it has begun.

use super::{Cause, Entry, EntryState, Opened, Phase, Run, Write};
use crate::{JobRow, State};

impl Run {
    /// Whether it undoes what it has done. From then on the code only runs for its compensations to be known again: whatever it returns
    /// does not count, not even an output.
    pub fn is_undoing(&self) -> bool {
        self.journal.header.phase != Phase::Forward
    }

    /// The code has returned its output: what is to be written with the end of the job.
    pub fn completed(&self) -> Vec<Write> {
        self.cancelled_children(State::Completed, "its workflow has completed")
    }

    /// The code goes on in the next generation, with an empty journal.
    pub fn continued(&self) -> Vec<Write> {
        let mut writes = self.cancelled_children(State::Completed, "its workflow has begun an empty journal");
        writes.push(Write::NextGeneration);
        writes
    }

    /// The code has failed, or a client has cancelled the workflow: from now on it undoes what it has done.
    pub fn fail(&self, cause: Cause) -> Vec<Write> {
        if self.is_undoing() {
            return Vec::new();
        }
        let mut writes = match &cause {
            Cause::Failed { .. } => self.cancelled_children(State::Discarded, "its workflow has failed"),
            Cause::Cancelled { .. } => {
                self.cancelled_children(State::Cancelled, "its workflow was cancelled")
            }
        };
        let failed = self.final_failures();
        if !failed.is_empty() {
            writes.push(Write::Failed(failed));
        }
        writes.push(Write::Phase(Phase::Undoing { cause }));
        writes
    }

    /// Ends what is open below a scope that has lost.
    pub(super) fn lost(&self, path: &str) -> Vec<Write> {
        let mut open: Vec<_> = self.journal.open().filter(|entry| entry.key.starts_with(path)).collect();
        open.sort_by(|one, other| one.key.cmp(&other.key));
        let mut writes = Vec::new();
        for entry in open {
            if let EntryState::Open(Opened::Child { job, policy }) = entry.state
                && policy.cancels(State::Cancelled)
            {
                writes.push(Write::CancelChild { job, reason: "its branch has lost a race".into() });
            }
            writes.push(Write::Entry(Entry { state: EntryState::Lost, ..entry.clone() }));
        }
        writes
    }

    fn cancelled_children(&self, end: State, reason: &str) -> Vec<Write> {
        let mut jobs: Vec<_> = self
            .journal
            .open()
            .filter_map(|entry| match entry.state {
                EntryState::Open(Opened::Child { job, policy }) if policy.cancels(end) => Some(job),
                EntryState::Open(_)
                | EntryState::Closed { .. }
                | EntryState::Lost
                | EntryState::Superseded { .. } => None,
            })
            .collect();
        jobs.sort();
        jobs.into_iter().map(|job| Write::CancelChild { job, reason: reason.into() }).collect()
    }
}

/// The workflow has moved on since its job was charged: the running attempt counts as its first, and no crash counts. A store writes this
/// with the write to the journal.
pub fn moved_on(job: &mut JobRow) {
    (job.attempt, job.crashes, job.suspicion) = (1, 0, None);
    job.revision += 1;
}
