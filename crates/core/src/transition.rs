//! The state machine, in one function.
//!
//! [`apply`] matches on (state, event) and answers with data: a [`Change`] and its effects. It writes nothing and no store
//! repeats it: stores compare and swap the change, and write its stored effects in the same transaction. `docs/state-machine.md` is printed by the test that walks every pair.

use std::time::Duration;

use crate::{
    Attempt, AttemptEnd, Change, Effect, Event, JobRow, LeaseId, Loss, POISON, Part, State, Suspicion,
    Timestamp,
    amend::amend,
    bounds::{ERROR_BYTES_MAX, MESSAGE_BYTES_MAX, SPAN_MAX, later, span_until},
    links::{self, After},
    message,
    schedule::{Became, RunReport},
    sealed::{self, clip},
    unique::UniqueWhile,
};

/// Why an event does not apply to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The event does not apply in this state: a finished job cannot fail.
    #[error("a {state} job does not take the event {event:?}")]
    NotInState {
        /// The event's name.
        event: &'static str,
        /// The job's state.
        state: State,
    },
    /// The report comes from a lease that is no longer current: the job was rescued, or given back. Stop the run
    /// and drop its result: the job runs elsewhere, or has ended.
    #[error("the lease is no longer current")]
    Fenced,
    /// The job is claimed before `scheduled_at`.
    #[error("the job is not due")]
    NotDue,
    /// The job is claimed after `expires_at`.
    #[error("the job has expired")]
    Expired,
    /// A job is declared expired before its time, or has no such time.
    #[error("the job has not expired")]
    NotExpired,
    /// An amendment puts a job off until after its expiry, so that it could never run.
    #[error("the job expires before that time")]
    ExpiresFirst,
    /// An amendment changes args from which the job's unique key was made: two jobs could then be the same work. Cancel the
    /// job and enqueue another.
    #[error("the job's unique key was made from its args; cancel the job and enqueue another")]
    KeyOfArgs,
    /// An amendment moves a job of a queue of the system, whose jobs only the system's own workers understand.
    #[error("the job's queue belongs to Backroom itself")]
    OfSystem,
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
        (State::Queued, Event::Claim { lease, until, due, worker }) => {
            claim(job, lease, (until, due), worker, now)?
        }
        (State::Queued | State::Waiting, Event::Cancel { .. })
            if job.undoes() && job.cancel_requested_at.is_some() =>
        {
            return Ok(None);
        }
        (State::Queued | State::Waiting, Event::Cancel { reason }) if job.undoes() => {
            let marked = requeue(job, job.scheduled_at.min(now));
            Change { cancel_requested_at: Some(now), reason: Some(short(&reason)), ..marked }
        }
        (State::Queued, Event::Cancel { reason }) => finish(job, State::Cancelled, Some(reason), now),
        (State::Queued, Event::Retry) => match hurry(job, now) {
            Some(change) => change,
            None => return Ok(None),
        },
        (State::Queued, Event::GiveUp { reason }) => finish(job, State::Discarded, Some(reason), now),
        (State::Queued, Event::Expire) => expire(job, now)?,
        (State::Queued, Event::Amend { to }) => match amend(job, to)? {
            Some(change) => change,
            None => return Ok(None),
        },
        // It runs anyway when it is due: there is nothing to wake it from.
        (State::Queued, Event::Wake) => return Ok(None),
        // Leases end with the running state; this one was given back a moment ago.
        (State::Queued, Event::LeaseLost(_)) => return Ok(None),

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
            let effects = recorded(job, lease, AttemptEnd::Discarded, &reason, now);
            Change { lease: Some(lease), effects, ..finish(job, State::Discarded, Some(reason), now) }
        }
        (State::Running, Event::Stop { lease, reason }) => {
            let effects = recorded(job, lease, AttemptEnd::Cancelled, &reason, now);
            // Of two reasons, that of the caller who asked for the cancel; the handler's stands in the attempt.
            let stopped = finish(job, State::Cancelled, Some(reason), now);
            Change { effects, ..or_cancelled(job, Some(lease), stopped, now) }
        }
        (State::Running, Event::Snooze { lease, delay }) => {
            // A handler's number is outside input: unbounded, one slip would put the job off for ever.
            let due = later(now, delay.min(SPAN_MAX));
            or_cancelled(job, Some(lease), uncharged(requeue(job, due)), now)
        }
        (State::Running, Event::Release { lease }) => {
            or_cancelled(job, Some(lease), uncharged(requeue_in_place(job, now)), now)
        }
        (State::Running, Event::Suspend { lease }) => {
            // A wake that came while it ran must not be lost between the handler's last check and its parking.
            let parked = if job.woken { requeue(job, now) } else { park(job) };
            // An expiry is for a job that no worker has begun; this one goes on later, however long it waits.
            let parked = Change { expires_at: None, ..parked };
            or_cancelled(job, Some(lease), uncharged(parked), now)
        }
        (State::Running, Event::LeaseLost(loss)) => lose(job, loss, now),
        (State::Running, Event::Wake) if job.woken => return Ok(None),
        (State::Running, Event::Wake) => Change { woken: true, ..Change::keeping(job) },
        (State::Running, Event::Cancel { .. }) if job.cancel_requested_at.is_some() => return Ok(None),
        (State::Running, Event::Cancel { reason }) => {
            Change { cancel_requested_at: Some(now), reason: Some(short(&reason)), ..Change::keeping(job) }
        }

        // Only the end of a predecessor releases it: a timer or a signal does not.
        (State::Waiting, Event::Wake) if job.is_held() => return Ok(None),
        // A job that has not begun waited for others and still has its start.
        (State::Waiting, Event::Wake) if job.started_at.is_none() => requeue(job, job.scheduled_at.max(now)),
        (State::Waiting, Event::Wake) => requeue(job, now),
        (State::Waiting, Event::Cancel { reason }) => finish(job, State::Cancelled, Some(reason), now),
        (State::Waiting, Event::GiveUp { reason }) => finish(job, State::Discarded, Some(reason), now),

        (State::Completed | State::Cancelled | State::Discarded, Event::Retry) => revive(job, now),
        // A finished job needs no stop and no wake: the caller came too late, which is no error.
        (
            State::Completed | State::Cancelled | State::Discarded,
            Event::Cancel { .. } | Event::GiveUp { .. } | Event::Wake,
        ) => return Ok(None),

        // Every other pair is an error of the caller, and refused.
        (State::Queued, Event::Succeed { .. } | Event::Fail { .. } | Event::Discard { .. }) => return refuse,
        (State::Queued, Event::Stop { .. } | Event::Snooze { .. }) => return refuse,
        (State::Queued, Event::Release { .. } | Event::Suspend { .. }) => return refuse,
        (State::Running, Event::Claim { .. } | Event::Retry | Event::GiveUp { .. }) => return refuse,
        (State::Running, Event::Expire | Event::Amend { .. }) => return refuse,
        (State::Waiting, Event::Claim { .. } | Event::Succeed { .. } | Event::Fail { .. }) => return refuse,
        (State::Waiting, Event::Discard { .. } | Event::Stop { .. } | Event::Snooze { .. }) => return refuse,
        (State::Waiting, Event::Release { .. } | Event::Suspend { .. }) => return refuse,
        (State::Waiting, Event::LeaseLost(_) | Event::Retry | Event::Expire | Event::Amend { .. }) => {
            return refuse;
        }
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
            | Event::LeaseLost(_)
            | Event::Expire
            | Event::Amend { .. },
        ) => return refuse,
    };
    let change = reporting(job, informing(job, change, now), now);
    Ok(Some(notifying(job, linking(job, change, now))))
}

/// Refuses a report whose lease is not the one the job runs under. It checks the state first, so that a finished job is
/// reported as finished.
fn fence(job: &JobRow, event: &Event, lease: LeaseId) -> Result<(), Refused> {
    if job.state != State::Running {
        return Err(Refused::NotInState { event: event.name(), state: job.state });
    }
    if job.lease_id == Some(lease) { Ok(()) } else { Err(Refused::Fenced) }
}

fn claim(
    job: &JobRow,
    lease: LeaseId,
    (until, due): (Timestamp, Timestamp),
    worker: String,
    now: Timestamp,
) -> Result<Change, Refused> {
    if !job.is_due(due, now) {
        return Err(Refused::NotDue);
    }
    if job.expires_at.is_some_and(|at| at <= now) {
        return Err(Refused::Expired);
    }
    Ok(Change {
        state: State::Running,
        attempt: job.attempt + 1,
        // From its first claim on, a key held "while queued" is free for the next job.
        unique_held: job.unique_held && !job.unique_while.is_some_and(UniqueWhile::ends_with_claim),
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
    let effects = recorded(job, lease, end, &error, now);
    let after = if job.attempt < job.max_attempts {
        requeue(job, later(now, delay))
    } else {
        // Further lines, such as those of a backtrace, stand in the attempt.
        let error = error.lines().next().unwrap_or_default();
        let reason = format!("gave up after {} attempts: {error}", job.attempt);
        finish(job, State::Discarded, Some(reason), now)
    };
    Change { effects, ..or_cancelled(job, Some(lease), after, now) }
}

/// The worker lost the job, which runs elsewhere next; no attempt is charged. A job is at fault only if it ends processes in
/// which nothing else runs.
fn lose(job: &JobRow, loss: Loss, now: Timestamp) -> Change {
    let back = |job: &JobRow| uncharged(requeue_in_place(job, now));
    let (after, end, what) = match loss {
        Loss::Died { part, span } => (died(job, part, span, now), AttemptEnd::Crashed, said(part).to_owned()),
        Loss::Outlived { why } => {
            (back(job), AttemptEnd::Lost, format!("lost its lease while its process lived: {why}"))
        }
        Loss::NotBegun { cleared } => {
            let mut after = back(job);
            if cleared {
                forgive(&mut after);
            }
            return Change { is_rescue: true, ..or_cancelled(job, None, after, now) };
        }
    };
    let worker = job.worker.as_deref().unwrap_or("unknown");
    let error = format!("worker {worker} {what}");
    let effects = job.lease_id.map_or_else(Vec::new, |lease| recorded(job, lease, end, &error, now));
    let (crashes, suspicion) = (after.crashes, after.suspicion);
    Change { crashes, suspicion, effects, is_rescue: true, ..or_cancelled(job, None, after, now) }
}

/// What the record of the attempt reports about the job's part in the death of its process.
const fn said(part: Part) -> &'static str {
    match part {
        Part::Alone => "died while it ran only this job",
        Part::OnTrial => "died while this job was on trial beside others",
        Part::Beside => "died while it ran this job beside others",
        Part::Uncharged => "died while another job was on trial; this job is not charged",
        Part::Cleared => "died while another job was on trial; this job had passed its trial and is cleared",
    }
}

fn died(job: &JobRow, part: Part, span: Duration, now: Timestamp) -> Change {
    let mut after = uncharged(requeue_in_place(job, now));
    match part {
        Part::Uncharged => return after,
        Part::Cleared => {
            forgive(&mut after);
            return after;
        }
        Part::Alone | Part::OnTrial | Part::Beside => {}
    }
    let before = job.suspicion.filter(|suspicion| later(suspicion.at, span) > now);
    let crashes = before.map_or(0, |_| job.crashes).saturating_add(1);
    let count = |of: fn(&Suspicion) -> u32, this: Part| {
        before.as_ref().map_or(0, of).saturating_add(u32::from(part == this))
    };
    let ran = span_until(job.started_at.unwrap_or(now), now);
    let suspicion = Suspicion {
        on_trial: count(|before| before.on_trial, Part::OnTrial),
        alone: count(|before| before.alone, Part::Alone),
        at: now,
        ran_ms: u64::try_from(ran.as_millis()).unwrap_or(u64::MAX),
    };
    if suspicion.is_poison(crashes) {
        let alone = suspicion.alone;
        let reason = format!(
            "{POISON} {crashes} worker processes died while they ran it, {alone} of them ran nothing else"
        );
        after = finish(job, State::Discarded, Some(reason), now);
    } else if !suspicion.back_off(crashes).is_zero() {
        after.scheduled_at = after.scheduled_at.max(later(now, suspicion.back_off(crashes)));
    }
    Change { crashes, suspicion: Some(suspicion), ..after }
}

/// The job is no longer a suspect.
fn forgive(after: &mut Change) {
    (after.crashes, after.suspicion) = (0, None);
}

fn expire(job: &JobRow, now: Timestamp) -> Result<Change, Refused> {
    match job.expires_at {
        Some(at) if at <= now => Ok(finish(job, State::Cancelled, Some("expired".into()), now)),
        Some(_) | None => Err(Refused::NotExpired),
    }
}

/// A queued job is due now. One that is due already does not lose its place: a retry by hand must not put it behind jobs that
/// became due after it.
fn hurry(job: &JobRow, now: Timestamp) -> Option<Change> {
    let expires_at = job.expires_at.filter(|at| *at > now);
    if job.scheduled_at <= now && expires_at == job.expires_at {
        return None;
    }
    Some(Change { scheduled_at: job.scheduled_at.min(now), expires_at, ..Change::keeping(job) })
}

/// A finished job begins again with one more attempt allowed. The reason for its end is dropped; the records of its attempts
/// stay. A job that was enqueued after others is held, and the same transaction decides about its edges again.
fn revive(job: &JobRow, now: Timestamp) -> Change {
    let held =
        job.links.as_deref().filter(|links| links.after.is_some()).map(|links| links.with(After::Held));
    Change {
        state: if held.is_some() { State::Waiting } else { State::Queued },
        links: held,
        max_attempts: job.max_attempts.max(job.attempt.saturating_add(1)),
        crashes: 0,
        suspicion: None,
        scheduled_at: now,
        // Otherwise it would expire again before a worker could claim it.
        expires_at: job.expires_at.filter(|at| *at > now),
        unique_held: job.unique_held || job.unique_while.is_some_and(|hold| hold.is_taken_again(now)),
        progress: Some(None),
        output: None,
        reason: None,
        cancel_requested_at: None,
        woken: false,
        finished_at: None,
        ..Change::keeping(job)
    }
}

/// Back to the queue until `scheduled_at`. The lease id stays as the mark of the last run. A workflow that would undo something no longer
/// expires: that would leave it half done.
fn requeue(job: &JobRow, scheduled_at: Timestamp) -> Change {
    let expires_at = job.expires_at.filter(|_| !job.undoes());
    Change {
        state: State::Queued,
        scheduled_at,
        expires_at,
        lease_until: None,
        woken: false,
        ..Change::keeping(job)
    }
}

/// Back to its place in the queue. It was due when it was claimed; if it is not by now, the clock was set back.
fn requeue_in_place(job: &JobRow, now: Timestamp) -> Change {
    requeue(job, job.scheduled_at.min(now))
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
        unique_held: job.unique_held && job.unique_while.is_some_and(UniqueWhile::outlives_the_job),
        lease_until: None,
        output: None,
        reason: reason.map(|reason| short(&reason)),
        woken: false,
        finished_at: Some(now),
        ..Change::keeping(job)
    }
}

/// `after`, unless a cancel is pending: then the end of this run is the end of the job. A workflow that undoes what it has done ends it
/// by itself.
fn or_cancelled(job: &JobRow, lease: Option<LeaseId>, after: Change, now: Timestamp) -> Change {
    let undoes = job.undoes() && !after.state.is_finished();
    if job.cancel_requested_at.is_none() || undoes {
        return Change { lease, ..after };
    }
    let reason = job.reason.clone().unwrap_or_else(|| "cancelled".into());
    Change { lease, attempt: after.attempt, ..finish(job, State::Cancelled, Some(reason), now) }
}

/// The effect of an attempt that did not succeed.
fn recorded(job: &JobRow, lease: LeaseId, end: AttemptEnd, error: &str, now: Timestamp) -> Vec<Effect> {
    vec![Effect::RecordAttempt(Attempt {
        lease_id: lease,
        attempt: job.attempt,
        end,
        error: clip(error, ERROR_BYTES_MAX),
        worker: job.worker.clone(),
        started_at: job.started_at,
        ended_at: now,
    })]
}

/// Adds the messages for which the caller asked at enqueue.
fn informing(job: &JobRow, mut change: Change, now: Timestamp) -> Change {
    let messages = message::of_change(job, &change, now);
    // An empty list is no reason to allocate.
    if !messages.is_empty() {
        change.effects.extend(messages);
    }
    change
}

/// Adds the report of a run to its schedule.
fn reporting(job: &JobRow, mut change: Change, now: Timestamp) -> Change {
    // Nearly all jobs end here.
    let Some(occurrence) = &job.extras.occurrence else { return change };
    let became = match (job.state.is_finished(), change.state) {
        (false, State::Completed) => Became::Completed,
        (false, State::Discarded) => Became::Discarded,
        (false, State::Cancelled) => Became::Cancelled,
        (true, State::Queued | State::Running | State::Waiting) => Became::Live,
        // It goes on, or stays finished.
        (false, State::Queued | State::Running | State::Waiting)
        | (true, State::Completed | State::Discarded | State::Cancelled) => return change,
    };
    let (schedule, reason) = (occurrence.schedule.clone(), change.reason.clone());
    change.effects.push(Effect::ReportRun(Box::new(RunReport {
        schedule,
        job: job.id,
        became,
        at: now,
        reason,
    })));
    change
}

/// Adds what follows for other jobs.
fn linking(job: &JobRow, mut change: Change, now: Timestamp) -> Change {
    // Nearly all jobs end here.
    let Some(links) = &job.links else { return change };
    let effects = links::effects_of(job, Some(links), &change);
    change
        .effects
        .extend(effects.into_iter().map(|effect| Effect::Link { at: now, effect: Box::new(effect) }));
    change
}

/// Adds whom to notify. A job that is due later counts: a worker that sleeps until a later moment must wake earlier.
fn notifying(job: &JobRow, mut change: Change) -> Change {
    if change.state == State::Queued {
        let queue = change.content.as_ref().and_then(|content| content.queue.as_ref()).unwrap_or(&job.queue);
        let (queue, due_at) = (queue.clone(), change.scheduled_at);
        change.effects.push(Effect::NotifyQueue { queue, due_at });
    }
    if change.state == State::Running && change.cancel_requested_at.is_some() {
        change.effects.push(Effect::NotifyCancel);
    }
    change
}

/// A reason is a line in a table; the whole error stands in the attempt. A sealed one cannot be cut.
fn short(reason: &str) -> String {
    if sealed::Sealed::of(reason).is_some() {
        return clip(reason, ERROR_BYTES_MAX);
    }
    clip(reason, MESSAGE_BYTES_MAX)
}
