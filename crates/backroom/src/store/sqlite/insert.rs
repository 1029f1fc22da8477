//! Storing new jobs.

use std::collections::HashSet;

use backroom_core::{
    JobId, JobRow, Queue, Timestamp,
    draft::NewJob,
    unique::{Holder, Resolution, resolve_conflict},
};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params_from_iter};

use super::{
    columns::{Cell, INSERT},
    error::{Fault, is_unique_violation},
    hints::Hints,
    row::{self, micros},
    upkeep::forget_tags,
};
use crate::{Error, ErrorKind, store::Inserted};

/// Stores a queue unless it exists. Parameter: its name.
pub(super) const NAME_QUEUE: &str = "INSERT OR IGNORE INTO backroom_queues (name) VALUES (?1)";
/// What decides about the job that holds a unique key, and its queue. Of the rest of its row nothing is read: a newer program may
/// have written it. Parameter: the key.
pub(super) const HOLDER: &str = "SELECT id, state, unique_while, unique_until, attempt, revision, queue FROM backroom_jobs \
     WHERE unique_key = ?1 AND unique_held = 1";
/// Whether there is a job of this id.
pub(super) const IS_STORED: &str = "SELECT 1 FROM backroom_jobs WHERE id = ?1";
/// Takes the key from the job of this id. The revision moves, so that a report decided on the row as it was cannot take the
/// key back.
pub(super) const RELEASE: &str =
    "UPDATE backroom_jobs SET unique_held = 0, revision = revision + 1 WHERE id = ?1";
/// Writes the content that a queued holder took over; guarded by the revision before it. Parameters: [`replacing`].
pub(super) const REPLACE: &str = "UPDATE backroom_jobs SET lane = ?3, priority = ?4, args = ?5, max_attempts = ?6, \
     scheduled_at = ?7, expires_at = ?8, tags = ?9, extras = ?10, revision = ?2 \
     WHERE id = ?1 AND revision = ?2 - 1 AND state = 'queued'";

/// The depth limit of a queue. Parameter: its name.
pub(super) const DEPTH_MAX: &str = "SELECT depth_max FROM backroom_queues WHERE name = ?1";
/// How many jobs wait in a queue, counted up to a bound. Parameters: the queue, the bound.
pub(super) const DEPTH: &str = "SELECT count(*) FROM (SELECT 1 FROM backroom_jobs INDEXED BY backroom_jobs_queued \
     WHERE state = 'queued' AND queue = ?1 LIMIT ?2)";
/// The waiting jobs of a full queue are counted up to so many beyond its limit.
const COUNTED_BEYOND: u64 = 1000;

/// Stores the jobs; one answer per job, in order. A call that a full queue refuses stores nothing. It is an answer, not a
/// failure, which would take back the other operations of its transaction.
pub(super) fn insert(
    connection: &Connection,
    jobs: &[NewJob],
    now: Timestamp,
    hints: &mut Hints,
) -> Result<Result<Vec<Inserted>, Error>, Fault> {
    let limited = limited(connection, jobs)?;
    if limited.is_empty() {
        return Ok(Ok(insert_all(connection, jobs, now, hints)?.0));
    }
    connection.execute_batch("SAVEPOINT backroom_depth")?;
    let (answers, created) = insert_all(connection, jobs, now, hints)?;
    for (queue, depth_max) in &limited {
        let created = created.iter().filter(|index| jobs[**index].job.queue == *queue).count() as u64;
        let counted =
            depth(connection, queue, depth_max.saturating_add(COUNTED_BEYOND).saturating_add(created))?;
        if Queue::is_over(*depth_max, counted, created) {
            connection.execute_batch("ROLLBACK TO backroom_depth; RELEASE backroom_depth")?;
            return Ok(Err(Error::queue_full(queue, counted - created, *depth_max)));
        }
    }
    connection.execute_batch("RELEASE backroom_depth")?;
    Ok(Ok(answers))
}

/// Names the queues of the jobs, and answers which of them have a limit.
fn limited<'a>(connection: &Connection, jobs: &'a [NewJob]) -> Result<Vec<(&'a str, u64)>, Fault> {
    let mut select = connection.prepare_cached(DEPTH_MAX)?;
    let mut limited = Vec::new();
    for queue in jobs.iter().map(|new| new.job.queue.as_str()).collect::<HashSet<_>>() {
        match select.query_row([queue], |found| found.get::<_, Option<i64>>(0)).optional()? {
            None => name_queues(connection, std::iter::once(queue))?,
            Some(Some(depth_max)) => limited.push((queue, depth_max.unsigned_abs())),
            Some(None) => {}
        }
    }
    Ok(limited)
}

fn depth(connection: &Connection, queue: &str, counted_max: u64) -> Result<u64, Fault> {
    let mut select = connection.prepare_cached(DEPTH)?;
    let counted_max = i64::try_from(counted_max).unwrap_or(i64::MAX);
    let depth: i64 = select.query_row(rusqlite::params![queue, counted_max], |found| found.get(0))?;
    Ok(depth.unsigned_abs())
}

/// The answers, and which of the jobs were created by this call: not stored before.
fn insert_all(
    connection: &Connection,
    jobs: &[NewJob],
    now: Timestamp,
    hints: &mut Hints,
) -> Result<(Vec<Inserted>, Vec<usize>), Fault> {
    let mut creating = connection.prepare_cached(INSERT)?;
    let mut answers = Vec::with_capacity(jobs.len());
    let mut created = Vec::new();
    for (index, new) in jobs.iter().enumerate() {
        let (answer, is_new) = insert_one(connection, &mut creating, new, now, hints)?;
        if is_new {
            created.push(index);
        }
        if answer == Inserted::Created {
            // Even for a job that is due later: a worker that sleeps until the next due time may have to wake earlier.
            hints.queue(&new.job.queue);
        }
        answers.push(answer);
    }
    Ok((answers, created))
}

/// Stores a job that follows from a change, unless it is stored already. Its queue is notified by an effect of its own.
pub(super) fn insert_effect(connection: &Connection, new: &NewJob, hints: &mut Hints) -> Result<(), Fault> {
    name_queues(connection, [new.job.queue.as_str()].into_iter())?;
    let mut creating = connection.prepare_cached(INSERT)?;
    insert_one(connection, &mut creating, new, new.job.created_at, hints)?;
    Ok(())
}

/// Stores those of the queues that do not exist.
pub(super) fn name_queues<'a>(
    connection: &Connection,
    queues: impl Iterator<Item = &'a str>,
) -> Result<(), Fault> {
    let mut insert = connection.prepare_cached(NAME_QUEUE)?;
    for queue in queues.collect::<HashSet<_>>() {
        insert.execute([queue])?;
    }
    Ok(())
}

/// The job that holds this key.
pub(super) fn holder_of(connection: &Connection, key: &str) -> Result<Option<(Holder, String)>, Fault> {
    let mut select = connection.prepare_cached(HOLDER)?;
    Ok(select.query_row([key], |found| Ok((row::holder(found)?, found.get(6)?))).optional()?)
}

fn insert_one(
    connection: &Connection,
    creating: &mut CachedStatement<'_>,
    new: &NewJob,
    now: Timestamp,
    hints: &mut Hints,
) -> Result<(Inserted, bool), Fault> {
    // Twice is enough: the first try may meet a hold that has run out, and takes the key from that job.
    for _ in 0..2 {
        let violation = match create(connection, creating, &new.job) {
            Ok(()) => return Ok((Inserted::Created, true)),
            Err(Fault::Sql(error)) if is_unique_violation(&error) => error,
            Err(other) => return Err(other),
        };
        if is_stored(connection, new.job.id)? {
            return Ok((Inserted::Created, false));
        }
        let key = new.job.unique_key.as_deref().unwrap_or_default();
        let Some((holder, queue)) = holder_of(connection, key)? else { return Err(violation.into()) };
        match resolve_conflict(&holder, new.on_conflict, now) {
            Resolution::Release => release(connection, holder.id)?,
            Resolution::Keep => return Ok((Inserted::Duplicate(holder.id), false)),
            Resolution::Reject => return Ok((Inserted::KeyHeld(holder.id), false)),
            Resolution::Replace => {
                replace(connection, &holder.with_content(&new.job))?;
                hints.job(holder.id);
                hints.queue(&queue);
                return Ok((Inserted::Replaced(holder.id), false));
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
    let mut select = connection.prepare_cached(IS_STORED)?;
    Ok(select.exists([id.0.as_bytes()])?)
}

/// Takes the key from a job whose window has passed.
fn release(connection: &Connection, holder: JobId) -> Result<(), Fault> {
    let mut update = connection.prepare_cached(RELEASE)?;
    update.execute([holder.0.as_bytes()])?;
    Ok(())
}

/// Writes the content that a queued holder took over.
fn replace(connection: &Connection, content: &JobRow) -> Result<(), Fault> {
    forget_tags(connection, content.id)?;
    connection.prepare_cached(REPLACE)?.execute(params_from_iter(replacing(content)?))?;
    row::insert_tags(connection, content)
}

/// The parameters of [`REPLACE`].
pub(super) fn replacing(holder: &JobRow) -> Result<[Cell<'_>; 10], Fault> {
    Ok([
        Cell::Blob(holder.id.0.as_bytes()),
        Cell::Integer(row::revision(holder.revision)),
        Cell::text_or_null(holder.lane.as_deref()),
        Cell::integer(holder.priority),
        Cell::text(holder.args.as_str()),
        Cell::integer(holder.max_attempts),
        Cell::Integer(micros(holder.scheduled_at)),
        Cell::integer_or_null(holder.expires_at.map(micros)),
        Cell::owned_or_null(row::tags(&holder.tags)?),
        Cell::owned_or_null(row::extras(&holder.extras)?),
    ])
}
