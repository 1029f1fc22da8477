//! What a change says about the end of a run, in the words of the API. The library decides changes; a server takes outcomes and decides
//! again, because it may know that the job was cancelled.

use backroom::{
    AttemptEnd, State, Timestamp,
    core::{Change, bounds::span_until},
};

use super::wire::CommitBody;

/// The outcome of a change that ends a run; none if it ends none.
pub(super) fn of(change: &Change, now: Timestamp) -> Option<CommitBody<'_>> {
    let lease = change.lease?;
    let body =
        CommitBody { job: change.id, lease, outcome: "release", output: None, error: None, delay_ms: None };
    let ended = change.attempt_ended();
    let error = ended.map(|attempt| attempt.error.as_str()).or(change.reason.as_deref());
    let wait = span_until(now, change.scheduled_at);
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    Some(match (change.state, ended.map(|attempt| attempt.end)) {
        (State::Completed, _) => CommitBody { outcome: "done", output: change.output.as_ref(), ..body },
        (State::Queued, Some(AttemptEnd::TimedOut)) => {
            CommitBody { outcome: "timed_out", error, delay_ms: Some(wait_ms), ..body }
        }
        (State::Queued, Some(_)) => CommitBody { outcome: "failed", error, delay_ms: Some(wait_ms), ..body },
        (State::Queued, None) if wait_ms > 0 => {
            CommitBody { outcome: "snooze", delay_ms: Some(wait_ms), ..body }
        }
        (State::Queued, None) => body,
        (State::Discarded, Some(AttemptEnd::Failed | AttemptEnd::Panicked)) => {
            CommitBody { outcome: "failed", error, ..body }
        }
        (State::Discarded, Some(AttemptEnd::TimedOut)) => CommitBody { outcome: "timed_out", error, ..body },
        (State::Discarded, _) => CommitBody { outcome: "discard", error, ..body },
        (State::Cancelled, _) => CommitBody { outcome: "cancel", error, ..body },
        // No kind of the settings waits for a signal.
        (State::Waiting | State::Running, _) => body,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use backroom::{
        Draft, JobId, JobRow, Json, LeaseId, RetryPolicy,
        core::{Event, transition},
    };
    use uuid::Uuid;

    use super::*;

    const LEASE: LeaseId = LeaseId(Uuid::nil());

    fn sent(event: Event, attempt: u32) -> (String, Option<String>, Option<u64>) {
        let now = Timestamp::UNIX_EPOCH;
        let new = Draft::new("work", Json::null()).check(JobId(Uuid::nil()), now, 99).expect("allowed");
        let job = JobRow {
            state: State::Running,
            attempt,
            lease_id: Some(LEASE),
            lease_until: Some(now),
            worker: Some("w".into()),
            ..new.job
        };
        let change = transition::apply(&job, event, now).expect("allowed").expect("a change");
        let body = of(&change, now).expect("an end");
        (body.outcome.into(), body.error.map(Into::into), body.delay_ms)
    }

    fn fail(end: AttemptEnd) -> Event {
        let delay = Some(Duration::from_secs(7));
        Event::Fail { lease: LEASE, end, error: "no".into(), delay, retry: RetryPolicy::DEFAULT, chance: 0.5 }
    }

    #[test]
    fn every_end_of_a_run_is_sent_as_the_outcome_that_made_it() {
        let no = || Some("no".to_owned());
        let cases = [
            (Event::Succeed { lease: LEASE, output: Json::null() }, 1, ("done", None, None)),
            (fail(AttemptEnd::Failed), 1, ("failed", no(), Some(7000))),
            (fail(AttemptEnd::TimedOut), 1, ("timed_out", no(), Some(7000))),
            (fail(AttemptEnd::Failed), 20, ("failed", no(), None)),
            (fail(AttemptEnd::TimedOut), 20, ("timed_out", no(), None)),
            (Event::Discard { lease: LEASE, reason: "no".into() }, 1, ("discard", no(), None)),
            (Event::Stop { lease: LEASE, reason: "no".into() }, 1, ("cancel", no(), None)),
            (Event::Snooze { lease: LEASE, delay: Duration::from_secs(3) }, 1, ("snooze", None, Some(3000))),
            (Event::Release { lease: LEASE }, 1, ("release", None, None)),
        ];
        for (event, attempt, (outcome, error, delay)) in cases {
            assert_eq!(sent(event.clone(), attempt), (outcome.to_owned(), error, delay), "{event:?}");
        }
    }
}
