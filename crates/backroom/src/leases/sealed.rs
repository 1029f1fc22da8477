//! Keeps what remote workers say of sealed kinds out of the store unless it is sealed: a worker that lacks the settings, or an endpoint
//! that reports later, would write it in the clear.

use backroom_core::{JobRow, sealed::Sealed};

use super::{Report, RunOutcome};
use crate::{
    sealed::Seals,
    worker::{UNUSABLE, WAITS},
};

/// The outcome as it may be stored.
pub(super) fn checked(seals: &Seals, job: &JobRow, outcome: RunOutcome) -> RunOutcome {
    if seals.of_kind(&job.kind).is_none() {
        return outcome;
    }
    match outcome {
        RunOutcome::Succeed(output) if Sealed::of(output.as_str()).is_none() => {
            let why = format!("the output of kind {:?} must be sealed by its worker, and is not", job.kind);
            RunOutcome::Discard(why)
        }
        RunOutcome::Fail { error, timed_out, delay, retry } => {
            RunOutcome::Fail { error: text(error), timed_out, delay, retry }
        }
        RunOutcome::Discard(reason) => RunOutcome::Discard(text(reason)),
        RunOutcome::Cancel(reason) => RunOutcome::Cancel(text(reason)),
        other @ (RunOutcome::Succeed(_) | RunOutcome::Snooze(_) | RunOutcome::Park | RunOutcome::Release) => {
            other
        }
    }
}

/// The report as it may be stored.
pub(super) fn checked_report(seals: &Seals, job: &JobRow, mut report: Report) -> Report {
    if seals.of_kind(&job.kind).is_some() {
        for line in &mut report.lines {
            *line = text(std::mem::take(line));
        }
        if let Some((_, message)) = &mut report.progress
            && !message.is_empty()
        {
            *message = text(std::mem::take(message));
        }
    }
    report
}

/// A sealed text, or one that a worker writes before it has opened anything.
fn text(text: String) -> String {
    if Sealed::of(&text).is_some() || text.starts_with(UNUSABLE) || text.starts_with(WAITS) {
        return text;
    }
    "(left out: it was not sealed)".into()
}
