//! What a cancel does to a workflow: one that has something to undo does not end at once.

use super::{Journal, Undo};
use crate::State;

/// What a cancel does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cancelling {
    /// The job ends as cancelled, as any other job does.
    End,
    /// The cancel is marked and the job is queued: its next run calls [`Run::fail`](super::Run::fail) and undoes what was done.
    Undo,
    /// The cancel is marked, and the worker that runs it is notified. The run calls [`Run::fail`](super::Run::fail), also if nothing is to be
    /// undone, because it may do something meanwhile.
    Mark,
    /// It has ended, was cancelled before, or undoes what it has done already.
    Nothing,
}

impl Journal {
    /// Whether a step was done whose compensation has not succeeded.
    pub fn has_to_undo(&self) -> bool {
        self.answered().any(|entry| matches!(entry.undo, Some(Undo::Due | Undo::Trying { .. })))
    }
}

/// What a cancel does to a workflow in this state. `has_to_undo` is [`Journal::has_to_undo`]; `was_cancelled` says that a cancel is
/// marked, or that the phase is no longer forward.
pub const fn cancelling(state: State, has_to_undo: bool, was_cancelled: bool) -> Cancelling {
    match (state, has_to_undo, was_cancelled) {
        (State::Completed | State::Cancelled | State::Discarded, _, _) => Cancelling::Nothing,
        (State::Queued | State::Running | State::Waiting, _, true) => Cancelling::Nothing,
        (State::Running, _, false) => Cancelling::Mark,
        (State::Queued | State::Waiting, true, false) => Cancelling::Undo,
        (State::Queued | State::Waiting, false, false) => Cancelling::End,
    }
}
