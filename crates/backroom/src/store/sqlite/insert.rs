//! Storing new jobs.

use std::collections::HashSet;

use backroom_core::{
    JobId, JobRow, Timestamp,
    draft::NewJob,
    unique::{Resolution, replace_content, resolve_conflict},
};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::{
    error::{Fault, is_unique_violation},
    hints::Hints,
    row::{self, micros, millis},
    upkeep::forget_tags,
};
use crate::{Error, ErrorKind, store::Inserted};

/// Stores the jobs; one answer per job, in order.
pub(super) fn insert(
    connection: &Connection,
    jobs: &[NewJob],
    now: Timestamp,
    hints: &mut Hints,
) -> Result<Vec<Inserted>, Fault> {
    name_queues(connection, jobs.iter().map(|new| new.job.queue.as_str()))?;
    let mut creating = connection.prepare_cached(row::INSERT)?;
    let mut answers = Vec::with_capacity(jobs.len());
    for new in jobs {
        let answer = insert_one(connection, &mut creating, new, now, hints)?;
        if answer == Inserted::Created {
            // Even for a job that is due later: whoever sleeps until the next due time has to put the alarm forward.
            hints.queue(&new.job.queue);
        }
        answers.push(answer);
    }
    Ok(answers)
}

/// Lets queues come into being.
pub(super) fn name_queues<'a>(
    connection: &Connection,
    queues: impl Iterator<Item = &'a str>,
) -> Result<(), Fault> {
    let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO backroom_queues (name) VALUES (?1)")?;
    for queue in queues.collect::<HashSet<_>>() {
        insert.execute([queue])?;
    }
    Ok(())
}

/// The job that holds this key.
pub(super) fn holder_of(connection: &Connection, key: &str) -> Result<Option<JobId>, Fault> {
    let mut select = connection
        .prepare_cached("SELECT id FROM backroom_jobs WHERE unique_key = ?1 AND unique_held = 1")?;
    Ok(select.query_row([key], |found| row::job_id(found, 0)).optional()?)
}

fn insert_one(
    connection: &Connection,
    creating: &mut CachedStatement<'_>,
    new: &NewJob,
    now: Timestamp,
    hints: &mut Hints,
) -> Result<Inserted, Fault> {
    // Twice is enough: the first may meet a hold that has run out, which is then taken away.
    for _ in 0..2 {
        let violation = match create(connection, creating, &new.job) {
            Ok(()) => return Ok(Inserted::Created),
            Err(Fault::Sql(error)) if is_unique_violation(&error) => error,
            Err(other) => return Err(other),
        };
        if is_stored(connection, new.job.id)? {
            return Ok(Inserted::Created);
        }
        let key = new.job.unique_key.as_deref().unwrap_or_default();
        let Some(holder) = holder_of(connection, key)? else { return Err(violation.into()) };
        let Some(mut holder) = row::find(connection, holder)? else { return Err(violation.into()) };
        match resolve_conflict(&holder, new.on_conflict, now) {
            Resolution::Release => release(connection, holder.id)?,
            Resolution::Keep => return Ok(Inserted::Kept(holder.id)),
            Resolution::Reject => return Ok(Inserted::KeyHeld(holder.id)),
            Resolution::Replace => {
                replace_content(&mut holder, &new.job);
                replace(connection, &holder)?;
                hints.job(holder.id);
                hints.queue(&holder.queue);
                return Ok(Inserted::Replaced(holder.id));
            }
        }
    }
    Err(Error::new(ErrorKind::Internal, "insert a job: its unique key stays held after its release").into())
}

fn create(connection: &Connection, creating: &mut CachedStatement<'_>, job: &JobRow) -> Result<(), Fault> {
    row::insert(creating, job)?;
    row::insert_tags(connection, job)
}

pub(super) fn is_stored(connection: &Connection, id: JobId) -> Result<bool, Fault> {
    let mut select = connection.prepare_cached("SELECT 1 FROM backroom_jobs WHERE id = ?1")?;
    Ok(select.exists([id.0.as_bytes()])?)
}

/// Takes the key from a job whose window has passed. The revision moves, so that a report decided on the row as it was
/// cannot take the key back.
fn release(connection: &Connection, holder: JobId) -> Result<(), Fault> {
    let mut update = connection
        .prepare_cached("UPDATE backroom_jobs SET unique_held = 0, revision = revision + 1 WHERE id = ?1")?;
    update.execute([holder.0.as_bytes()])?;
    Ok(())
}

/// Writes the content that a queued holder took over; guarded by the revision before it.
fn replace(connection: &Connection, holder: &JobRow) -> Result<(), Fault> {
    forget_tags(connection, holder.id)?;
    let mut update = connection.prepare_cached(
        "UPDATE backroom_jobs SET lane = ?3, priority = ?4, args = ?5, max_attempts = ?6, scheduled_at = ?7, \
         expires_at = ?8, timeout_ms = ?9, retry = ?10, tags = ?11, meta = ?12, revision = ?2 \
         WHERE id = ?1 AND revision = ?2 - 1 AND state = 'queued'",
    )?;
    update.execute(params![
        holder.id.0.as_bytes(),
        row::revision(holder.revision),
        holder.lane,
        holder.priority,
        holder.args.as_str(),
        holder.max_attempts,
        micros(holder.scheduled_at),
        holder.expires_at.map(micros),
        holder.timeout.map(millis),
        row::encoded(holder.retry.as_ref())?,
        row::tags(&holder.tags)?,
        row::meta(&holder.meta)?,
    ])?;
    row::insert_tags(connection, holder)
}
