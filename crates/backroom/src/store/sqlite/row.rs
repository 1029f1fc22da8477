//! Between a row of `backroom_jobs` and a [`JobRow`], both ways.

use std::{str::FromStr, time::Duration};

use backroom_core::{
    Attempt, Extras, JobId, JobRow, Json, LeaseId, LogLine, Progress, Timestamp,
    bounds::whole_micros,
    links::Links,
    unique::{Holder, UniqueWhile},
};
use rusqlite::{Connection, Row, Statement, ToSql, params, params_from_iter, types::Type};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{
    columns::{at, cells, columns},
    error::Fault,
};
use crate::{Error, ErrorKind, store::RunningJob};

/// A job from a row selected by [`columns!`].
pub(super) fn job(row: &Row<'_>) -> rusqlite::Result<JobRow> {
    let extras = Extras::from_stored(row.get_ref(at::extras)?.as_str_or_null()?);
    let extras = extras.map_err(|error| foreign(at::extras, Type::Text, error))?;
    job_with(row, extras, decoded(row, at::tags)?.unwrap_or_default())
}

fn job_with(row: &Row<'_>, extras: Extras, tags: Vec<String>) -> rusqlite::Result<JobRow> {
    let unique_while = match row.get_ref(at::unique_while)?.as_str_or_null()? {
        None => None,
        Some(name) => {
            let hold = UniqueWhile::stored(name, moment_or_none(row, at::unique_until)?);
            Some(hold.map_err(|error| foreign(at::unique_while, Type::Text, error))?)
        }
    };
    let progress = match row.get::<_, Option<u8>>(at::progress_percent)? {
        Some(percent) => Some(Progress { percent, message: row.get(at::progress_message)? }),
        None => None,
    };
    // The column `batch` repeats what the links say.
    let links = row.get_ref(at::links)?.as_str_or_null()?.map(|text| Links::from_stored(Some(text)));
    let links = links.transpose().map_err(|error| foreign(at::links, Type::Text, error))?.map(Box::new);
    Ok(JobRow {
        id: job_id(row, at::id)?,
        kind: row.get(at::kind)?,
        queue: row.get(at::queue)?,
        lane: row.get(at::lane)?,
        priority: row.get(at::priority)?,
        state: name(row, at::state)?,
        args: json(row, at::args)?.unwrap_or_else(Json::null),
        attempt: row.get(at::attempt)?,
        max_attempts: row.get(at::max_attempts)?,
        crashes: row.get(at::crashes)?,
        scheduled_at: moment(row, at::scheduled_at)?,
        expires_at: moment_or_none(row, at::expires_at)?,
        unique_key: row.get(at::unique_key)?,
        unique_while,
        unique_held: row.get(at::unique_held)?,
        lease_id: row.get::<_, Option<[u8; 16]>>(at::lease_id)?.map(|bytes| LeaseId(Uuid::from_bytes(bytes))),
        lease_until: moment_or_none(row, at::lease_until)?,
        worker: row.get(at::worker)?,
        progress,
        output: json(row, at::output)?,
        reason: row.get(at::reason)?,
        cancel_requested_at: moment_or_none(row, at::cancel_requested_at)?,
        woken: row.get(at::woken)?,
        created_at: moment(row, at::created_at)?,
        started_at: moment_or_none(row, at::started_at)?,
        finished_at: moment_or_none(row, at::finished_at)?,
        tags,
        extras,
        revision: row.get::<_, i64>(at::revision)?.unsigned_abs(),
        suspicion: decoded(row, at::suspicion)?,
        links,
    })
}

/// The holder of a key from `id, state, unique_while, unique_until, attempt, revision`.
pub(super) fn holder(row: &Row<'_>) -> rusqlite::Result<Holder> {
    let until = moment_or_none(row, 3)?;
    let hold = row.get_ref(2)?.as_str_or_null()?.map(|name| UniqueWhile::stored(name, until));
    Ok(Holder {
        id: job_id(row, 0)?,
        state: name(row, 1)?,
        unique_while: hold.transpose().map_err(|error| foreign(2, Type::Text, error))?,
        attempt: row.get(4)?,
        revision: row.get::<_, i64>(5)?.unsigned_abs(),
    })
}

/// An attempt from `lease_id, attempt, end, error, worker, started_at, ended_at`.
pub(super) fn attempt(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    Ok(Attempt {
        lease_id: LeaseId(Uuid::from_bytes(row.get(0)?)),
        attempt: row.get(1)?,
        end: name(row, 2)?,
        error: row.get(3)?,
        worker: row.get(4)?,
        started_at: moment_or_none(row, 5)?,
        ended_at: moment(row, 6)?,
    })
}

/// A log line from `lease_id, seq, at, line`.
pub(super) fn log_line(row: &Row<'_>) -> rusqlite::Result<LogLine> {
    Ok(LogLine {
        lease_id: LeaseId(Uuid::from_bytes(row.get(0)?)),
        seq: row.get(1)?,
        at: moment(row, 2)?,
        line: row.get(3)?,
    })
}

/// Runs a statement prepared from [`INSERT`].
pub(super) fn insert(statement: &mut Statement<'_>, job: &JobRow) -> Result<(), Fault> {
    statement.execute(params_from_iter(cells(job)?))?;
    Ok(())
}

/// Writes that a job has a tag. Parameters: the tag, the id.
pub(super) const INSERT_TAG: &str = "INSERT OR IGNORE INTO backroom_tags (tag, job_id) VALUES (?1, ?2)";

/// Writes which tags a new job has, for finding it by them.
pub(super) fn insert_tags(connection: &Connection, job: &JobRow) -> Result<(), Fault> {
    if job.tags.is_empty() {
        return Ok(());
    }
    let mut insert = connection.prepare_cached(INSERT_TAG)?;
    for tag in &job.tags {
        insert.execute(params![tag, job.id.0.as_bytes()])?;
    }
    Ok(())
}

/// Writes the record of an attempt; one that is already there stays as it is. It stands behind so many lines of the job's log;
/// behind all that are there if none is given.
pub(super) fn insert_attempt(
    connection: &Connection,
    id: JobId,
    attempt: &Attempt,
    after_lines: Option<u32>,
) -> Result<(), Fault> {
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO backroom_attempts \
           (job_id, lease_id, attempt, \"end\", error, worker, started_at, ended_at, after_lines) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, \
           coalesce(?9, (SELECT max(position) + 1 FROM backroom_logs WHERE job_id = ?1), 0))",
    )?;
    insert.execute(params![
        id.0.as_bytes(),
        attempt.lease_id.0.as_bytes(),
        attempt.attempt,
        attempt.end.as_str(),
        attempt.error,
        attempt.worker,
        attempt.started_at.map(micros),
        micros(attempt.ended_at),
        after_lines,
    ])?;
    Ok(())
}

/// Writes a log line at a free position; one that is already there stays as it is. Answers whether it was written.
pub(super) fn insert_line(
    connection: &Connection,
    id: JobId,
    position: u32,
    line: &LogLine,
) -> Result<bool, Fault> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO backroom_logs (job_id, position, lease_id, seq, at, line) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT (job_id, lease_id, seq) DO NOTHING",
    )?;
    let written = insert.execute(params![
        id.0.as_bytes(),
        position,
        line.lease_id.0.as_bytes(),
        line.seq,
        micros(line.at),
        line.line
    ])?;
    Ok(written > 0)
}

/// A job by its id.
pub(super) fn find(connection: &Connection, id: JobId) -> Result<Option<JobRow>, Fault> {
    let mut select = connection.prepare_cached(FIND)?;
    find_with(&mut select, id)
}

/// One job: parameter 1 is its id.
pub(super) const FIND: &str = concat!("SELECT ", columns!(), " FROM backroom_jobs WHERE id = ?1");

/// A job by its id, with a statement prepared from [`FIND`] for many of them.
pub(super) fn find_with(find: &mut Statement<'_>, id: JobId) -> Result<Option<JobRow>, Fault> {
    let mut rows = find.query([id.0.as_bytes()])?;
    match rows.next()?.map(job).transpose() {
        Ok(found) => Ok(found),
        Err(rusqlite::Error::FromSqlConversionFailure(at::extras, _, why)) => {
            Err(Error::new(ErrorKind::Unusable, format!("read job {id}: its {why}")).into())
        }
        Err(other) => Err(other.into()),
    }
}

/// The jobs that a query over [`columns!`] answers with, at most `limit`. Damaged rows are skipped. The query sets no limit of its
/// own, so that the jobs behind them are found.
pub(super) fn jobs(
    connection: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
    limit: usize,
) -> Result<Vec<JobRow>, Fault> {
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query(params)?;
    let mut jobs = Vec::new();
    while jobs.len() < limit
        && let Some(row) = rows.next()?
    {
        jobs.extend(job_if_whole(row)?.1);
    }
    Ok(jobs)
}

/// The id and the job of a row selected by [`columns!`]. Of a row that cannot be read it is only the id, and a line in the log:
/// another program wrote into it, or the disk is failing. One such row must not stop the work on all others.
pub(super) fn job_if_whole(row: &Row<'_>) -> rusqlite::Result<(JobId, Option<JobRow>)> {
    let id = job_id(row, 0)?;
    match job(row) {
        Ok(job) => Ok((id, Some(job))),
        Err(rusqlite::Error::FromSqlConversionFailure(at::extras, _, why)) => {
            if crate::store::unreadable::is_first(id) {
                tracing::error!(job = %id, error = %why, "failed to read the extras of this job, so it is left out");
            }
            Ok((id, None))
        }
        Err(error) => {
            if crate::store::unreadable::is_first(id) {
                tracing::error!(job = %id, %error, "the row of this job is damaged and was left out; restore it or delete the job");
            }
            Ok((id, None))
        }
    }
}

/// A running job from a row selected by [`columns!`]; one that cannot be read without its extras and tags. None if even the rest is
/// damaged.
pub(super) fn running(row: &Row<'_>) -> rusqlite::Result<Option<RunningJob>> {
    if let (_, Some(job)) = job_if_whole(row)? {
        return Ok(Some(RunningJob::whole(job)));
    }
    let rest = job_with(row, Extras::default(), Vec::new());
    Ok(rest.ok().map(|job| RunningJob { job, is_whole: false }))
}

/// Whether the row of this job can be read, with a statement prepared from [`FIND`].
pub(super) fn is_whole(find: &mut Statement<'_>, id: JobId) -> Result<bool, Fault> {
    let read = find.query([id.0.as_bytes()])?.next()?.map(job_if_whole).transpose()?;
    Ok(read.is_some_and(|(_, job)| job.is_some()))
}

/// The id in this column.
pub(super) fn job_id(row: &Row<'_>, column: usize) -> rusqlite::Result<JobId> {
    Ok(JobId(Uuid::from_bytes(row.get(column)?)))
}

/// The moment in this column.
pub(super) fn moment(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let micros = row.get(column)?;
    Timestamp::from_microsecond(micros).map_err(|error| foreign(column, Type::Integer, error))
}

/// The moment in this column, if there is one.
pub(super) fn moment_or_none(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    let micros = row.get::<_, Option<i64>>(column)?;
    let moment = micros.map(Timestamp::from_microsecond).transpose();
    moment.map_err(|error| foreign(column, Type::Integer, error))
}

/// The JSON in this column decoded into `T`, if there is any.
pub(super) fn decoded<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    let text = row.get_ref(column)?.as_str_or_null()?;
    text.map(serde_json::from_str).transpose().map_err(|error| foreign(column, Type::Text, error))
}

/// The same of a column that is never NULL.
pub(super) fn required<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| foreign(column, Type::Text, error))
}

/// As JSON text.
pub(super) fn encoded<T: Serialize>(value: Option<&T>) -> Result<Option<String>, Fault> {
    let encode = |value| {
        serde_json::to_string(value)
            .map_err(|error| Fault::Ours(Error::new(ErrorKind::Internal, "encode a column").caused_by(error)))
    };
    value.map(encode).transpose()
}

/// As the `tags` column has them.
pub(super) fn tags(tags: &[String]) -> Result<Option<String>, Fault> {
    encoded((!tags.is_empty()).then_some(&tags))
}

/// As the `extras` column has them.
pub(super) fn extras(extras: &Extras) -> Result<Option<String>, Fault> {
    Ok(extras.stored().map_err(Error::from)?)
}

/// As the `links` column has them.
pub(super) fn links(links: Option<&Links>) -> Result<Option<String>, Fault> {
    Ok(links.map(Links::stored).transpose().map_err(Error::from)?.flatten())
}

/// As moments are stored.
pub(super) fn micros(at: Timestamp) -> i64 {
    whole_micros(at).as_microsecond()
}

/// As spans are stored.
pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// As revisions are stored.
pub(super) fn revision(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// As leases are stored.
pub(super) fn lease(lease: Option<&LeaseId>) -> Option<&[u8; 16]> {
    lease.map(|lease| lease.0.as_bytes())
}

/// As limits are passed to SQLite.
pub(super) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn json(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Json>> {
    let text = row.get::<_, Option<String>>(column)?;
    text.map(Json::stored).transpose().map_err(|error| foreign(column, Type::Text, error))
}

pub(super) fn name<T: FromStr<Err = backroom_core::Invalid>>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    row.get_ref(column)?.as_str()?.parse().map_err(|error| foreign(column, Type::Text, error))
}

/// A value that this program never writes: another one did, or the disk is failing.
fn foreign(
    column: usize,
    found: Type,
    why: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, found, why.into())
}
