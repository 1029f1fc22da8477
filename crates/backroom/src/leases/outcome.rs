//! What a remote worker says about the end of a run.

use std::time::Duration;

use backroom_core::{Attempt, AttemptEnd, Event, JobRow, Json, LeaseId, RetryPolicy, State};

/// In which way a run ended, as its worker says.
#[derive(Debug, Clone, PartialEq)]
pub enum RunOutcome {
    /// It is done, with this output.
    Succeed(Json),
    /// It failed: tried again after its back-off, or after `delay`.
    Fail {
        /// What to show people.
        error: String,
        /// Whether it ran out of time.
        timed_out: bool,
        /// The wait until the next attempt instead of the back-off.
        delay: Option<Duration>,
        /// How long to wait where the job has no policy of its own and there is no `delay`.
        retry: RetryPolicy,
    },
    /// It is never tried again.
    Discard(String),
    /// It ended because its job is no longer wanted.
    Cancel(String),
    /// It is to run again later; no attempt is charged.
    Snooze(Duration),
    /// It did not run, or was not finished because its worker stops. It may run elsewhere at once; no attempt is charged.
    Release,
    /// It is a workflow that waits: the store wakes it. No attempt is charged.
    Park,
}

impl RunOutcome {
    /// The event of it.
    pub(super) fn event(self, lease: LeaseId, job: Option<&JobRow>, chance: f64) -> Event {
        match self {
            Self::Succeed(output) => Event::Succeed { lease, output },
            Self::Fail { error, timed_out, delay, retry } => {
                let end = if timed_out { AttemptEnd::TimedOut } else { AttemptEnd::Failed };
                let retry = job.and_then(|job| job.extras.retry.clone()).unwrap_or(retry);
                Event::Fail { lease, end, error, delay, retry, chance }
            }
            Self::Discard(reason) => Event::Discard { lease, reason },
            Self::Cancel(reason) => Event::Stop { lease, reason },
            Self::Snooze(delay) => Event::Snooze { lease, delay },
            Self::Release => Event::Release { lease },
            Self::Park => Event::Suspend { lease },
        }
    }

    /// Whether this very outcome was recorded before, as far as the row and its attempts show: the answer of an earlier call was
    /// lost. `job` does not run under the lease any more.
    pub(super) fn was_recorded(&self, lease: LeaseId, job: &JobRow, attempts: &[Attempt]) -> bool {
        let is_last = job.lease_id == Some(lease);
        let ended = attempts.iter().find(|attempt| attempt.lease_id == lease).map(|attempt| attempt.end);
        match self {
            Self::Succeed(output) => {
                is_last && job.state == State::Completed && job.output.as_ref() == Some(output)
            }
            Self::Fail { timed_out: false, .. } => ended == Some(AttemptEnd::Failed),
            Self::Fail { timed_out: true, .. } => ended == Some(AttemptEnd::TimedOut),
            Self::Discard(_) => ended == Some(AttemptEnd::Discarded),
            Self::Cancel(_) => ended == Some(AttemptEnd::Cancelled),
            Self::Park => is_last && ended.is_none() && job.state != State::Running,
            // These leave no record of their own. The job waits, or was cancelled meanwhile.
            Self::Snooze(_) | Self::Release => {
                is_last && ended.is_none() && matches!(job.state, State::Queued | State::Cancelled)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use backroom_core::{Draft, JobId, Timestamp};
    use uuid::Uuid;

    use super::*;

    fn lease(number: u128) -> LeaseId {
        LeaseId(Uuid::from_u128(number))
    }

    #[test]
    fn an_outcome_counts_as_recorded_only_where_the_row_shows_the_same_one() {
        let new = Draft::new("work", Json::null())
            .check(JobId(Uuid::nil()), Timestamp::UNIX_EPOCH, 99)
            .expect("allowed");
        let row = |state, output: Option<&str>| JobRow {
            state,
            lease_id: Some(lease(1)),
            output: output.map(|text| Json::parse(text).expect("JSON")),
            ..new.job.clone()
        };
        let succeed = |text: &str| RunOutcome::Succeed(Json::parse(text).expect("JSON"));
        let completed = row(State::Completed, Some("1"));
        assert!(succeed("1").was_recorded(lease(1), &completed, &[]));
        assert!(!succeed("2").was_recorded(lease(1), &completed, &[]), "another output");
        assert!(!succeed("1").was_recorded(lease(2), &completed, &[]), "another lease");
        assert!(!succeed("1").was_recorded(lease(1), &row(State::Queued, None), &[]), "rescued");
        let attempt = Attempt {
            lease_id: lease(1),
            attempt: 1,
            end: AttemptEnd::Failed,
            error: "no".into(),
            worker: None,
            started_at: None,
            ended_at: Timestamp::UNIX_EPOCH,
        };
        let fail = |timed_out| RunOutcome::Fail {
            error: "no".into(),
            timed_out,
            delay: None,
            retry: RetryPolicy::DEFAULT,
        };
        let queued = row(State::Queued, None);
        assert!(fail(false).was_recorded(lease(1), &queued, std::slice::from_ref(&attempt)));
        assert!(!fail(true).was_recorded(lease(1), &queued, std::slice::from_ref(&attempt)));
        assert!(!fail(false).was_recorded(lease(1), &queued, &[]));
        assert!(RunOutcome::Release.was_recorded(lease(1), &queued, &[]));
        let crashed = Attempt { end: AttemptEnd::Crashed, ..attempt };
        assert!(!RunOutcome::Release.was_recorded(lease(1), &queued, &[crashed]));
        assert!(!RunOutcome::Discard("no".into()).was_recorded(lease(1), &completed, &[]));
    }
}
