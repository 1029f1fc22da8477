//! Describes what `apply` answered. Every field of a change is compared: one that changes and has no description shows as
//! "unexpected".

use backroom_core::{Change, Effect, Event, JobRow, Refused, State};

use crate::common::{at, now};

/// The answer, as in the table and on the page.
pub(crate) fn of(job: &JobRow, event: &Event, answer: &Result<Option<Change>, Refused>) -> String {
    match answer {
        Ok(None) => "nothing".into(),
        Ok(Some(change)) => {
            let effects = effects(job, event, change);
            let stop = if effects.is_empty() { "" } else { ": " };
            format!("{}{stop}{}", change.state, effects.join(", "))
        }
        Err(refused) => format!("refused: {}", why(refused, job, event)),
    }
}

fn why(refused: &Refused, job: &JobRow, asked: &Event) -> &'static str {
    match *refused {
        Refused::NotInState { event, state } => {
            assert_eq!((event, state), (asked.name(), job.state), "the refusal names event and state");
            "not in this state"
        }
        Refused::Fenced => "the lease is stale",
        Refused::NotDue => "not due",
        Refused::Expired => "expired",
        Refused::NotExpired => "not expired",
        Refused::ExpiresFirst => "it expires first",
        Refused::KeyOfArgs => "the key is of the args",
        Refused::OfSystem => "the queue is the system's",
    }
}

fn effects(job: &JobRow, event: &Event, change: &Change) -> Vec<String> {
    // Without `..`: a new field of a change needs its description here.
    let Change {
        id: _,
        lease: _,
        revision_before: _,
        is_rescue: _,
        state,
        attempt,
        max_attempts,
        crashes,
        suspicion: _,
        scheduled_at,
        expires_at,
        content,
        unique_held,
        lease_id,
        lease_until,
        worker,
        progress,
        output,
        reason,
        cancel_requested_at,
        woken,
        started_at,
        finished_at,
        links: _,
        effects,
    } = change;
    let mut described: Vec<String> = Vec::new();
    let mut say = |text: &str| described.push(text.to_owned());

    match i64::from(*attempt) - i64::from(job.attempt) {
        0 => {}
        1 => say("attempt +1"),
        -1 => say("attempt given back"),
        other => say(&format!("unexpected: attempt moved by {other}")),
    }
    match max_attempts - job.max_attempts {
        0 => {}
        1 => say("one attempt more"),
        other => say(&format!("unexpected: {other} attempts more")),
    }
    match (job.crashes, *crashes) {
        (before, after) if before == after => {}
        (before, after) if after == before + 1 => say("crashes +1"),
        (_, 0) => say("crashes forgiven"),
        (_, 1) => say("crashes begin again at 1"),
        (_, after) => say(&format!("unexpected: {after} crashes")),
    }
    if let Some(effect) = evidence(job, change) {
        say(&effect);
    }
    match *scheduled_at {
        same if same == job.scheduled_at => {}
        due if due == now() => say("due now"),
        due if due == at(60) => say("due in 60 s"),
        due if due == at(300) => say("due in 300 s"),
        due if due == at(5) => say("due in 5 s"),
        due if due == at(20) => say("due in 20 s"),
        due if due == at(80) => say("due in 80 s"),
        other => say(&format!("unexpected: due at {other}")),
    }
    if let Some(content) = content {
        if content.priority != job.priority {
            say(&format!("priority {}", content.priority));
        }
        if let Some(queue) = &content.queue {
            say(&format!("queue {queue}"));
        }
        if content.args != job.args {
            say("other args");
        }
    }
    match (job.expires_at, *expires_at) {
        (before, after) if before == after => {}
        (_, None) => say("expiry dropped"),
        (_, Some(other)) => say(&format!("unexpected: expires at {other}")),
    }
    if let Some(effect) = lease_effect(job, event, change) {
        say(&effect);
    }
    match progress {
        None => {}
        Some(None) => say("progress cleared"),
        Some(Some(_)) => say("unexpected: progress"),
    }
    match (&job.output, output) {
        (before, after) if before == after => {}
        (None, Some(_)) => say("output set"),
        (_, None) => say("output dropped"),
        (Some(_), Some(_)) => say("unexpected: another output"),
    }
    match (job.cancel_requested_at, *cancel_requested_at) {
        (before, after) if before == after => {}
        (None, Some(asked)) if asked == now() => say("cancel pending"),
        (Some(_), None) => say("cancel dropped"),
        other => say(&format!("unexpected: cancel {other:?}")),
    }
    match (&job.reason, reason) {
        (_, Some(reason)) if matches!(state, State::Cancelled | State::Discarded) => {
            say(&format!("reason {reason:?}"));
        }
        (before, after) if before == after => {}
        (_, Some(reason)) => say(&format!("reason {reason:?}")),
        (_, None) => say("reason dropped"),
    }
    match (job.unique_held, *unique_held) {
        (true, false) => say("key freed"),
        (false, true) => say("key taken"),
        (true, true) | (false, false) => {}
    }
    match (job.woken, *woken) {
        (false, true) => say("wake remembered"),
        (true, false) => say("wake cleared"),
        (true, true) | (false, false) => {}
    }
    let ends_now = !job.state.is_finished() && state.is_finished();
    let finished_expected = match ends_now {
        true => Some(now()),
        false if state.is_finished() => job.finished_at,
        false => None,
    };
    if *finished_at != finished_expected {
        say(&format!("unexpected: finished at {finished_at:?}"));
    }
    for effect in effects {
        match effect {
            Effect::RecordAttempt(attempt) => say(&format!("recorded as {}", attempt.end)),
            // No job here asks for messages, and none has links.
            Effect::Message(_) | Effect::Enqueue(_) | Effect::ReportRun(_) | Effect::Link { .. } => {
                say(&format!("unexpected: {effect:?}"))
            }
            // Not described; the test of every pair compares them.
            Effect::NotifyQueue { .. } | Effect::NotifyCancel => {}
        }
    }
    // The lease's four fields have one description.
    let _ = (lease_id, lease_until, worker, started_at);
    described
}

/// A claim sets lease, worker and start together; the end of a run clears `lease_until` alone, so that the last
/// run stays known. Both follow from the states, so only a deviation (or the claim) is described.
fn lease_effect(job: &JobRow, event: &Event, change: &Change) -> Option<String> {
    let after = (change.lease_id, change.lease_until, change.worker.clone(), change.started_at);
    if let Event::Claim { lease, until, worker, .. } = event {
        let claimed = (Some(*lease), Some(*until), Some(worker.clone()), Some(now()));
        return Some(if after == claimed {
            "new lease".into()
        } else {
            format!("unexpected: lease {after:?}")
        });
    }
    let until = if change.state == State::Running { job.lease_until } else { None };
    let before = (job.lease_id, until, job.worker.clone(), job.started_at);
    (after != before).then(|| format!("unexpected: lease {after:?}"))
}

/// The evidence belongs to the crashes: described is how many of them count as on trial and alone.
fn evidence(job: &JobRow, change: &Change) -> Option<String> {
    if job.suspicion == change.suspicion {
        return None;
    }
    let suspicion = change.suspicion?;
    if suspicion.at != now() {
        return Some(format!("unexpected: {suspicion:?}"));
    }
    Some(match (suspicion.on_trial, suspicion.alone) {
        (0, 0) => "suspect".into(),
        (on_trial, 0) => format!("{on_trial} on trial"),
        (0, alone) => format!("{alone} alone"),
        (on_trial, alone) => format!("{on_trial} on trial, {alone} alone"),
    })
}
