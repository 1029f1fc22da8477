//! The state machine, in one function.
//!
//! [`apply`] matches on (state, event) and answers with data. It writes nothing and no store repeats it: stores
//! compare-and-swap the [`Change`]. `docs/state-machine.md` is printed by the test that walks every pair.

use std::time::Duration;

use crate::{
    Attempt, AttemptEnd, Change, Event, JobRow, LeaseId, State, Timestamp,
    bounds::{CRASHES_MAX, ERROR_BYTES_MAX, MESSAGE_BYTES_MAX, SPAN_MAX, clip, later},
    unique::UniqueWhile,
};

/// Why an event does not apply to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The state has no room for the event: a finished job cannot fail.
    #[error("a {state} job does not take the event {event:?}")]
    NotInState {
        /// The event's name.
        event: &'static str,
        /// Where the job stands.
        state: State,
    },
    /// The report comes from a lease that is no longer current: the job was rescued, or given back. Stop the run
    /// and drop its result; somebody else owns the job.
    #[error("the lease is no longer current")]
    Fenced,
    /// The job is claimed before `scheduled_at`.
    #[error("the job is not due")]
    NotDue,
    /// The job is claimed after `expires_at`.
    #[error("the job has expired")]
    Expired,
    /// A lease is declared expired before its time.
    #[error("the lease still holds")]
    LeaseHolds,
    /// A job is declared expired before its time, or has no such time.
    #[error("the job has not expired")]
    NotExpired,
}

/// Decides what `event` does to `job` at `now`. `Ok(None)` means that nothing is left to do (cancelling what is
/// finished).
pub fn apply(job: &JobRow, event: Event, now: Timestamp) -> Result<Option<Change>, Refused> {
    if let Some(lease) = event.lease() {
        fence(job, &event, lease)?;
    }
    let name = event.name();
    let refuse = Err(Refused::NotInState { event: name, state: job.state });
    let change = match (job.state, event) {
        (State::Queued, Event::Claim { lease, until, worker }) => claim(job, lease, until, worker, now)?,
        (State::Queued, Event::Cancel { reason }) => finish(job, State::Cancelled, Some(reason), now),
        (State::Queued, Event::Retry) => match hurry(job, now) {
            Some(change) => change,
            None => return Ok(None),
        },
        (State::Queued, Event::Expire) => expire(job, now)?,
        // It runs anyway when it is due: there is nothing to wake it from.
        (State::Queued, Event::Wake) => return Ok(None),
        // Leases end with the running state; this one was given back a moment ago.
        (State::Queued, Event::LeaseExpired) => return Ok(None),

        (State::Running, Event::Succeed { lease, output }) => {
            let completed = finish(job, State::Completed, None, now);
            Change { output: Some(output), lease: Some(lease), ..completed }
        }
        (State::Running, Event::Fail { lease, end, error, delay, retry, chance }) => {
            // A handler's number is outside input, like that of a snooze.
            let asked = delay.map(|delay| delay.min(SPAN_MAX));
            let delay = asked.unwrap_or_else(|| retry.delay(job.attempt, chance));
            fail(job, lease, (end, error), delay, now)
        }
        (State::Running, Event::Discard { lease, reason }) => {
            let ended = ended(job, lease, AttemptEnd::Discarded, &reason, now);
            Change { lease: Some(lease), ended, ..finish(job, State::Discarded, Some(reason), now) }
        }
        (State::Running, Event::Stop { lease, reason }) => {
            let ended = ended(job, lease, AttemptEnd::Cancelled, &reason, now);
            Change { lease: Some(lease), ended, ..finish(job, State::Cancelled, Some(reason), now) }
        }
        (State::Running, Event::Snooze { lease, delay }) => {
            // A handler's number is outside input: unbounded, one slip would put the job off for ever.
            let due = later(now, delay.min(SPAN_MAX));
            or_cancelled(job, Some(lease), uncharged(requeue(job, due)), now)
        }
        (State::Running, Event::Release { lease }) => {
            or_cancelled(job, Some(lease), uncharged(requeue(job, job.scheduled_at)), now)
        }
        (State::Running, Event::Suspend { lease }) => {
            // A wake that came while it ran must not be lost between its last look and its parking.
            let parked = if job.woken { requeue(job, now) } else { park(job) };
            or_cancelled(job, Some(lease), uncharged(parked), now)
        }
        (State::Running, Event::LeaseExpired) => crash(job, now)?,
        (State::Running, Event::Wake) if job.woken => return Ok(None),
        (State::Running, Event::Wake) => Change { woken: true, ..Change::keeping(job) },
        (State::Running, Event::Cancel { .. }) if job.cancel_requested_at.is_some() => return Ok(None),
        (State::Running, Event::Cancel { reason }) => {
            Change { cancel_requested_at: Some(now), reason: Some(short(&reason)), ..Change::keeping(job) }
        }

        (State::Waiting, Event::Wake) => requeue(job, now),
        (State::Waiting, Event::Cancel { reason }) => finish(job, State::Cancelled, Some(reason), now),

        (State::Completed | State::Cancelled | State::Discarded, Event::Retry) => revive(job, now),
        // Finished is finished: whoever wanted it stopped or awake has come too late, and need not hear of it.
        (State::Completed | State::Cancelled | State::Discarded, Event::Cancel { .. } | Event::Wake) => {
            return Ok(None);
        }

        // Every other pair is a misunderstanding, and answered as one.
        (State::Queued, Event::Succeed { .. } | Event::Fail { .. } | Event::Discard { .. }) => return refuse,
        (State::Queued, Event::Stop { .. } | Event::Snooze { .. }) => return refuse,
        (State::Queued, Event::Release { .. } | Event::Suspend { .. }) => return refuse,
        (State::Running, Event::Claim { .. } | Event::Retry | Event::Expire) => return refuse,
        (State::Waiting, Event::Claim { .. } | Event::Succeed { .. } | Event::Fail { .. }) => return refuse,
        (State::Waiting, Event::Discard { .. } | Event::Stop { .. } | Event::Snooze { .. }) => return refuse,
        (State::Waiting, Event::Release { .. } | Event::Suspend { .. }) => return refuse,
        (State::Waiting, Event::LeaseExpired | Event::Retry | Event::Expire) => return refuse,
        (
            State::Completed | State::Cancelled | State::Discarded,
            Event::Claim { .. }
            | Event::Succeed { .. }
            | Event::Fail { .. }
            | Event::Discard { .. }
            | Event::Stop { .. }
            | Event::Snooze { .. }
            | Event::Release { .. }
            | Event::Suspend { .. }
            | Event::LeaseExpired
            | Event::Expire,
        ) => return refuse,
    };
    Ok(Some(change))
}

/// Refuses a report whose lease is not the one the job runs under. The state is looked at first, so that a
/// finished job answers that it is finished.
fn fence(job: &JobRow, event: &Event, lease: LeaseId) -> Result<(), Refused> {
    if job.state != State::Running {
        return Err(Refused::NotInState { event: event.name(), state: job.state });
    }
    if job.lease_id == Some(lease) { Ok(()) } else { Err(Refused::Fenced) }
}

fn claim(
    job: &JobRow,
    lease: LeaseId,
    until: Timestamp,
    worker: String,
    now: Timestamp,
) -> Result<Change, Refused> {
    if job.scheduled_at > now {
        return Err(Refused::NotDue);
    }
    if job.expires_at.is_some_and(|at| at <= now) {
        return Err(Refused::Expired);
    }
    Ok(Change {
        state: State::Running,
        attempt: job.attempt + 1,
        // From its first claim on, a key held "while queued" is free for the next job.
        unique_held: job.unique_held && job.unique_while != Some(UniqueWhile::Queued),
        lease_id: Some(lease),
        lease_until: Some(until),
        worker: Some(worker),
        progress: Some(None),
        started_at: Some(now),
        ..Change::keeping(job)
    })
}

fn fail(
    job: &JobRow,
    lease: LeaseId,
    (end, error): (AttemptEnd, String),
    delay: Duration,
    now: Timestamp,
) -> Change {
    let ended = ended(job, lease, end, &error, now);
    let after = if job.attempt < job.max_attempts {
        requeue(job, later(now, delay))
    } else {
        let reason = format!("gave up after {} attempts: {error}", job.attempt);
        finish(job, State::Discarded, Some(reason), now)
    };
    Change { ended, ..or_cancelled(job, Some(lease), after, now) }
}

/// The worker is gone. The job runs elsewhere at once and no attempt is charged, unless it keeps killing its
/// workers: then it is the job that is at fault.
fn crash(job: &JobRow, now: Timestamp) -> Result<Change, Refused> {
    if job.lease_until.is_some_and(|until| until > now) {
        return Err(Refused::LeaseHolds);
    }
    let crashes = job.crashes + 1;
    let worker = job.worker.as_deref().unwrap_or("unknown");
    let error = format!("worker {worker} died or lost its lease");
    let ended = job.lease_id.and_then(|lease| ended(job, lease, AttemptEnd::Crashed, &error, now));
    let after = if crashes < CRASHES_MAX {
        uncharged(requeue(job, job.scheduled_at))
    } else {
        finish(job, State::Discarded, Some(format!("poison: {crashes} workers died running it")), now)
    };
    Ok(Change { crashes, ended, lapsed_by: Some(now), ..or_cancelled(job, None, after, now) })
}

fn expire(job: &JobRow, now: Timestamp) -> Result<Change, Refused> {
    match job.expires_at {
        Some(at) if at <= now => Ok(finish(job, State::Cancelled, Some("expired".into()), now)),
        Some(_) | None => Err(Refused::NotExpired),
    }
}

/// A queued job is due now. One that is due already keeps its place: asking for haste must not send it behind the
/// jobs that became due after it.
fn hurry(job: &JobRow, now: Timestamp) -> Option<Change> {
    let expires_at = job.expires_at.filter(|at| *at > now);
    if job.scheduled_at <= now && expires_at == job.expires_at {
        return None;
    }
    Some(Change { scheduled_at: job.scheduled_at.min(now), expires_at, ..Change::keeping(job) })
}

/// A finished job begins anew with one more attempt allowed; what ended it is forgotten, its record stays.
fn revive(job: &JobRow, now: Timestamp) -> Change {
    Change {
        state: State::Queued,
        max_attempts: job.max_attempts.max(job.attempt.saturating_add(1)),
        crashes: 0,
        scheduled_at: now,
        // It would expire again before anybody could claim it.
        expires_at: job.expires_at.filter(|at| *at > now),
        unique_held: job.unique_held || job.unique_while == Some(UniqueWhile::Live),
        progress: Some(None),
        output: None,
        reason: None,
        cancel_requested_at: None,
        woken: false,
        finished_at: None,
        ..Change::keeping(job)
    }
}

/// Back to the queue until `scheduled_at`. The lease id stays as the mark of the last run.
fn requeue(job: &JobRow, scheduled_at: Timestamp) -> Change {
    Change { state: State::Queued, scheduled_at, lease_until: None, woken: false, ..Change::keeping(job) }
}

fn park(job: &JobRow) -> Change {
    Change { state: State::Waiting, lease_until: None, ..Change::keeping(job) }
}

/// Gives back the attempt that the claim charged.
fn uncharged(change: Change) -> Change {
    Change { attempt: change.attempt.saturating_sub(1), ..change }
}

fn finish(job: &JobRow, state: State, reason: Option<String>, now: Timestamp) -> Change {
    Change {
        state,
        unique_held: job.unique_held && matches!(job.unique_while, Some(UniqueWhile::Until(_))),
        lease_until: None,
        output: None,
        reason: reason.map(|reason| short(&reason)),
        woken: false,
        finished_at: Some(now),
        ..Change::keeping(job)
    }
}

/// `after`, unless a cancel is pending: then the end of this run is the end of the job.
fn or_cancelled(job: &JobRow, lease: Option<LeaseId>, after: Change, now: Timestamp) -> Change {
    if job.cancel_requested_at.is_none() {
        return Change { lease, ..after };
    }
    let reason = job.reason.clone().unwrap_or_else(|| "cancelled".into());
    Change { lease, attempt: after.attempt, ..finish(job, State::Cancelled, Some(reason), now) }
}

fn ended(job: &JobRow, lease: LeaseId, end: AttemptEnd, error: &str, now: Timestamp) -> Option<Attempt> {
    Some(Attempt {
        lease_id: lease,
        attempt: job.attempt,
        end,
        error: clip(error, ERROR_BYTES_MAX),
        worker: job.worker.clone(),
        started_at: job.started_at,
        ended_at: now,
    })
}

/// A reason is a line in a table; the whole error stands in the attempt.
fn short(reason: &str) -> String {
    clip(reason, MESSAGE_BYTES_MAX)
}
