//! Writing decisions, each under its guard.

use backroom_core::{Change, Content, Effect, JobId, Json, LeaseId, State};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::{
    error::{Fault, is_unique_violation},
    hints::Hints,
    insert, links, replies,
    row::{self, micros},
    schedules,
};
use crate::{
    Error, ErrorKind,
    store::{Committed, linked::link_effects},
};

/// Writes the changes; one answer per change, in order.
pub(super) fn commit(
    connection: &Connection,
    changes: &[Change],
    hints: &mut Hints,
) -> Result<Vec<Committed>, Fault> {
    let mut completing = connection.prepare_cached(COMPLETE)?;
    let mut answers = Vec::with_capacity(changes.len());
    // What follows for other jobs is carried out for all changes together, so that it is bounded for the whole call.
    let mut for_others = Vec::new();
    for change in changes {
        let (answer, is_written) = commit_one(connection, &mut completing, change, hints)?;
        answers.push(answer);
        if is_written {
            for_others.extend(link_effects(change));
        }
    }
    if !for_others.is_empty() {
        links::carry_out(connection, for_others, hints)?;
    }
    Ok(answers)
}

/// The change that nearly all are: a run succeeded. Under the guard of the revision the fields that success leaves
/// alone still have the values that core saw, so they need not be written.
const COMPLETE: &str = "\
    UPDATE backroom_jobs SET state = 'completed', unique_held = ?4, lease_until = NULL, output = ?5, reason = NULL, \
    woken = 0, finished_at = ?6, revision = revision + 1 \
    WHERE id = ?1 AND revision = ?2 AND state = 'running' AND lease_id = ?3";

/// What became of a change, and whether this call wrote it.
fn commit_one(
    connection: &Connection,
    completing: &mut CachedStatement<'_>,
    change: &Change,
    hints: &mut Hints,
) -> Result<(Committed, bool), Fault> {
    let written = match (change.state, change.lease) {
        (State::Completed, Some(lease)) => complete(completing, change, lease),
        _ => write(connection, change),
    };
    match written {
        Ok(0) => return Ok((unwritten(connection, change)?, false)),
        Ok(_) => {}
        Err(Fault::Sql(error)) if is_unique_violation(&error) => {
            return match holder_against(connection, change.id)? {
                Some(holder) => Ok((Committed::KeyHeld(holder), false)),
                None => Err(error.into()),
            };
        }
        Err(other) => return Err(other),
    }
    write_rest(connection, change, hints)?;
    Ok((Committed::Done, true))
}

/// Writes a change that was decided in this transaction, and its effects except for those for other jobs.
pub(super) fn write_decided(
    connection: &Connection,
    change: &Change,
    hints: &mut Hints,
) -> Result<(), Fault> {
    if write(connection, change)? == 0 {
        let why = format!("change job {}: its row changed within the transaction", change.id);
        return Err(Error::new(ErrorKind::Internal, why).into());
    }
    write_rest(connection, change, hints)
}

/// What belongs to a change beside the life of its job.
fn write_rest(connection: &Connection, change: &Change, hints: &mut Hints) -> Result<(), Fault> {
    if let Some(content) = &change.content {
        write_content(connection, change.id, content)?;
    }
    if let Some(links) = &change.links {
        let mut update = connection.prepare_cached("UPDATE backroom_jobs SET links = ?2 WHERE id = ?1")?;
        update.execute(params![change.id.0.as_bytes(), row::links(Some(links))?])?;
    }
    hints.job(change.id);
    change.effects.iter().try_for_each(|effect| carry_out(connection, change.id, effect, hints))
}

/// Writes a stored effect in the transaction of its change; collects the others, which are sent around the commit.
pub(super) fn carry_out(
    connection: &Connection,
    id: JobId,
    effect: &Effect,
    hints: &mut Hints,
) -> Result<(), Fault> {
    match effect {
        Effect::RecordAttempt(attempt) => row::insert_attempt(connection, id, attempt, None)?,
        Effect::Message(message) => _ = replies::insert(connection, message, hints)?,
        Effect::Enqueue(new) => insert::insert_effect(connection, new, hints)?,
        Effect::ReportRun(report) => schedules::report(connection, report, hints)?,
        // For all changes of a call together.
        Effect::Link { .. } => {}
        Effect::NotifyQueue { queue, .. } => hints.queue(queue),
        Effect::NotifyCancel => hints.cancel(),
    }
    Ok(())
}

fn complete(completing: &mut CachedStatement<'_>, change: &Change, lease: LeaseId) -> Result<usize, Fault> {
    Ok(completing.execute(params![
        change.id.0.as_bytes(),
        row::revision(change.revision_before),
        lease.0.as_bytes(),
        change.unique_held,
        change.output.as_ref().map(Json::as_str),
        change.finished_at.map(micros),
    ])?)
}

fn write(connection: &Connection, change: &Change) -> Result<usize, Fault> {
    // Every field that an event may move, under the guard: the revision, and for a report (?3 is its lease) the run.
    // Progress only where the change brings one (?20). A mark on a run that goes on (from running to running) must not
    // shorten a lease that was extended since the job was read. Extending does not change the revision.
    let mut update = connection.prepare_cached(
        "UPDATE backroom_jobs SET state = ?4, attempt = ?5, max_attempts = ?6, crashes = ?7, scheduled_at = ?8, \
         expires_at = ?9, unique_held = ?10, lease_id = ?11, \
         lease_until = iif(?4 = 'running' AND state = 'running', max(lease_until, ?12), ?12), worker = ?13, \
         output = ?14, reason = ?15, cancel_requested_at = ?16, woken = ?17, started_at = ?18, finished_at = ?19, \
         progress_percent = iif(?20, ?21, progress_percent), progress_message = iif(?20, ?22, progress_message), \
         suspicion = ?23, revision = revision + 1 \
         WHERE id = ?1 AND revision = ?2 AND (?3 IS NULL OR (state = 'running' AND lease_id = ?3))",
    )?;
    let progress = change.progress.as_ref().and_then(Option::as_ref);
    Ok(update.execute(params![
        change.id.0.as_bytes(),
        row::revision(change.revision_before),
        row::lease(change.lease.as_ref()),
        change.state.as_str(),
        change.attempt,
        change.max_attempts,
        change.crashes,
        micros(change.scheduled_at),
        change.expires_at.map(micros),
        change.unique_held,
        row::lease(change.lease_id.as_ref()),
        change.lease_until.map(micros),
        change.worker,
        change.output.as_ref().map(Json::as_str),
        change.reason,
        change.cancel_requested_at.map(micros),
        change.woken,
        change.started_at.map(micros),
        change.finished_at.map(micros),
        change.progress.is_some(),
        progress.map(|progress| progress.percent),
        progress.map(|progress| &progress.message),
        row::encoded(change.suspicion.as_ref())?,
    ])?)
}

/// What an amendment changes beside the life; the guards let this change through a moment ago, in this transaction.
fn write_content(connection: &Connection, id: JobId, content: &Content) -> Result<(), Fault> {
    let mut update =
        connection.prepare_cached("UPDATE backroom_jobs SET priority = ?2, args = ?3 WHERE id = ?1")?;
    update.execute(params![id.0.as_bytes(), content.priority, content.args.as_str()])?;
    if let Some(queue) = &content.queue {
        connection.prepare_cached(insert::NAME_QUEUE)?.execute([queue])?;
        let mut to = connection.prepare_cached("UPDATE backroom_jobs SET queue = ?2 WHERE id = ?1")?;
        to.execute(params![id.0.as_bytes(), queue])?;
    }
    Ok(())
}

/// The guard matched no row: either this change was written before and its answer was lost, or the row has moved on.
fn unwritten(connection: &Connection, change: &Change) -> Result<Committed, Fault> {
    let found = row::find(connection, change.id)?;
    let is_written = found.is_some_and(|job| change.is_written_to(&job));
    Ok(if is_written { Committed::Done } else { Committed::Stale })
}

/// Who holds the key that this job would take.
fn holder_against(connection: &Connection, id: JobId) -> Result<Option<JobId>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT holder.id FROM backroom_jobs AS job JOIN backroom_jobs AS holder \
         ON holder.unique_key = job.unique_key AND holder.unique_held = 1 WHERE job.id = ?1 AND holder.id <> job.id",
    )?;
    Ok(select.query_row([id.0.as_bytes()], |found| row::job_id(found, 0)).optional()?)
}
