//! What the end of a run means for its schedule.

use jiff::Timestamp;

use super::{
    Schedule, State,
    policy::OnFailure,
    state::{Pause, PausedBy, Success},
};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// Its job completed.
    Completed,
    /// Its job was discarded: a failure.
    Discarded,
    /// Its job was cancelled; neither a success nor a failure.
    Cancelled,
}

/// What follows from the end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AfterRun {
    /// The state to store.
    pub state: State,
    /// The schedule was paused by this failure.
    pub has_paused: bool,
    /// The schedule was overdue since this moment, and this success ended that.
    pub was_overdue_since: Option<Timestamp>,
    /// An occurrence waits for this end: plan again at once.
    pub plan_again: bool,
}

/// The run of the nominal time `nominal` ended at `at`.
pub fn ended(schedule: &Schedule, state: &State, nominal: Timestamp, end: RunEnd, at: Timestamp) -> AfterRun {
    let mut state = state.clone();
    let mut was_overdue_since = None;
    let mut has_paused = false;
    match end {
        RunEnd::Completed => {
            // Runs may end in another order than they began.
            if state.last_success.is_none_or(|last| last.nominal <= nominal) {
                state.last_success = Some(Success { nominal, at });
            } else if let Some(last) = &mut state.last_success {
                last.at = last.at.max(at);
            }
            was_overdue_since = state.overdue_since.take();
        }
        RunEnd::Discarded => {
            if schedule.policies.on_failure == OnFailure::Pause && state.paused.is_none() {
                state.paused = Some(Pause { at, by: PausedBy::Failure(nominal) });
                has_paused = true;
            }
        }
        RunEnd::Cancelled => {}
    }
    let plan_again = !state.buffer.is_empty() && state.paused.is_none();
    AfterRun { state, has_paused, was_overdue_since, plan_again }
}
