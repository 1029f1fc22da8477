//! Between a row of `backroom_jobs` and a [`JobRow`], both ways.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use backroom_core::{
    Attempt, JobId, JobRow, Json, LeaseId, LogLine, Progress, Timestamp, bounds::whole_micros,
    unique::UniqueWhile,
};
use rusqlite::{
    Connection, Row, Statement, ToSql, params, params_from_iter,
    types::{ToSqlOutput, Type, ValueRef},
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::error::Fault;

/// All columns of `backroom_jobs`, in the order [`job`] reads and [`insert`] writes them.
macro_rules! columns {
    () => {
        "id, kind, queue, lane, priority, state, args, attempt, max_attempts, crashes, scheduled_at, expires_at, \
         timeout_ms, retry, unique_key, unique_while, unique_until, unique_held, lease_id, lease_until, worker, \
         progress_percent, progress_message, output, reason, cancel_requested_at, woken, created_at, started_at, \
         finished_at, tags, meta, revision, suspicion"
    };
}
pub(super) use columns;

/// A job from a row selected by [`columns!`].
pub(super) fn job(row: &Row<'_>) -> rusqlite::Result<JobRow> {
    let unique_while = match row.get_ref(15)?.as_str_or_null()? {
        None => None,
        Some("live") => Some(UniqueWhile::Live),
        Some("queued") => Some(UniqueWhile::Queued),
        Some(_) => Some(UniqueWhile::Until(moment(row, 16)?)),
    };
    let progress = match row.get::<_, Option<u8>>(21)? {
        Some(percent) => Some(Progress { percent, message: row.get(22)? }),
        None => None,
    };
    Ok(JobRow {
        id: job_id(row, 0)?,
        kind: row.get(1)?,
        queue: row.get(2)?,
        lane: row.get(3)?,
        priority: row.get(4)?,
        state: word(row, 5)?,
        args: json(row, 6)?.unwrap_or_else(Json::null),
        attempt: row.get(7)?,
        max_attempts: row.get(8)?,
        crashes: row.get(9)?,
        scheduled_at: moment(row, 10)?,
        expires_at: moment_or_none(row, 11)?,
        timeout: row.get::<_, Option<i64>>(12)?.map(|ms| Duration::from_millis(ms.unsigned_abs())),
        retry: decoded(row, 13)?,
        unique_key: row.get(14)?,
        unique_while,
        unique_held: row.get(17)?,
        lease_id: row.get::<_, Option<[u8; 16]>>(18)?.map(|bytes| LeaseId(Uuid::from_bytes(bytes))),
        lease_until: moment_or_none(row, 19)?,
        worker: row.get(20)?,
        progress,
        output: json(row, 23)?,
        reason: row.get(24)?,
        cancel_requested_at: moment_or_none(row, 25)?,
        woken: row.get(26)?,
        created_at: moment(row, 27)?,
        started_at: moment_or_none(row, 28)?,
        finished_at: moment_or_none(row, 29)?,
        tags: decoded(row, 30)?.unwrap_or_default(),
        meta: decoded(row, 31)?.unwrap_or_default(),
        revision: row.get::<_, i64>(32)?.unsigned_abs(),
        suspicion: decoded(row, 33)?,
    })
}

/// An attempt from `lease_id, attempt, end, error, worker, started_at, ended_at`.
pub(super) fn attempt(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    Ok(Attempt {
        lease_id: LeaseId(Uuid::from_bytes(row.get(0)?)),
        attempt: row.get(1)?,
        end: word(row, 2)?,
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

/// Writes a whole job: parameters 1 to 34 in the order of [`columns!`].
pub(super) const INSERT: &str = concat!(
    "INSERT INTO backroom_jobs (",
    columns!(),
    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, \
     ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34)"
);

/// A value on its way into a column, for whichever driver carries it there.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Integer(i64),
    Text(Cow<'a, str>),
    Blob(&'a [u8; 16]),
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(*bytes),
        }))
    }
}

impl<'a> Cell<'a> {
    pub(super) fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    pub(super) fn text_or_null(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::text)
    }

    pub(super) fn owned_or_null(text: Option<String>) -> Self {
        text.map_or(Self::Null, |text| Self::Text(Cow::Owned(text)))
    }

    pub(super) fn integer(number: impl Into<i64>) -> Self {
        Self::Integer(number.into())
    }

    pub(super) fn integer_or_null(number: Option<impl Into<i64>>) -> Self {
        number.map_or(Self::Null, Self::integer)
    }
}

/// The parameters of [`INSERT`] for this job.
pub(super) fn cells(job: &JobRow) -> Result<[Cell<'_>; 34], Fault> {
    let (unique_while, unique_until) = match job.unique_while {
        None => (None, None),
        Some(UniqueWhile::Live) => (Some("live"), None),
        Some(UniqueWhile::Queued) => (Some("queued"), None),
        Some(UniqueWhile::Until(until)) => (Some("until"), Some(micros(until))),
    };
    Ok([
        Cell::Blob(job.id.0.as_bytes()),
        Cell::text(&job.kind),
        Cell::text(&job.queue),
        Cell::text_or_null(job.lane.as_deref()),
        Cell::integer(job.priority),
        Cell::text(job.state.as_str()),
        Cell::text(job.args.as_str()),
        Cell::integer(job.attempt),
        Cell::integer(job.max_attempts),
        Cell::integer(job.crashes),
        Cell::Integer(micros(job.scheduled_at)),
        Cell::integer_or_null(job.expires_at.map(micros)),
        Cell::integer_or_null(job.timeout.map(millis)),
        Cell::owned_or_null(encoded(job.retry.as_ref())?),
        Cell::text_or_null(job.unique_key.as_deref()),
        Cell::text_or_null(unique_while),
        Cell::integer_or_null(unique_until),
        Cell::integer(job.unique_held),
        lease(job.lease_id.as_ref()).map_or(Cell::Null, Cell::Blob),
        Cell::integer_or_null(job.lease_until.map(micros)),
        Cell::text_or_null(job.worker.as_deref()),
        Cell::integer_or_null(job.progress.as_ref().map(|progress| progress.percent)),
        Cell::text_or_null(job.progress.as_ref().map(|progress| progress.message.as_str())),
        Cell::text_or_null(job.output.as_ref().map(Json::as_str)),
        Cell::text_or_null(job.reason.as_deref()),
        Cell::integer_or_null(job.cancel_requested_at.map(micros)),
        Cell::integer(job.woken),
        Cell::Integer(micros(job.created_at)),
        Cell::integer_or_null(job.started_at.map(micros)),
        Cell::integer_or_null(job.finished_at.map(micros)),
        Cell::owned_or_null(tags(&job.tags)?),
        Cell::owned_or_null(meta(&job.meta)?),
        Cell::Integer(revision(job.revision)),
        Cell::owned_or_null(encoded(job.suspicion.as_ref())?),
    ])
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

/// Writes the record of an attempt; one that is already there stays as it is.
pub(super) fn insert_attempt(connection: &Connection, id: JobId, attempt: &Attempt) -> Result<(), Fault> {
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO backroom_attempts (job_id, lease_id, attempt, \"end\", error, worker, started_at, ended_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
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
    ])?;
    Ok(())
}

/// Writes a log line; one that is already there stays as it is.
pub(super) fn insert_line(connection: &Connection, id: JobId, line: &LogLine) -> Result<(), Fault> {
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO backroom_logs (job_id, lease_id, seq, at, line) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    insert.execute(params![
        id.0.as_bytes(),
        line.lease_id.0.as_bytes(),
        line.seq,
        micros(line.at),
        line.line
    ])?;
    Ok(())
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
    Ok(rows.next()?.map(job).transpose()?)
}

/// The jobs a query over [`columns!`] answers with, at most `limit`. Damaged rows are passed over: the query sets no
/// limit of its own, so that what lies behind them is found.
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

/// The id and the job of a row selected by [`columns!`]; of a row that cannot be read (somebody wrote into it, or the
/// disk is failing) only the id, and a line in the log. One such row must not keep all others from being served.
pub(super) fn job_if_whole(row: &Row<'_>) -> rusqlite::Result<(JobId, Option<JobRow>)> {
    let id = job_id(row, 0)?;
    match job(row) {
        Ok(job) => Ok((id, Some(job))),
        Err(error) => {
            if is_first(id) {
                tracing::error!(job = %id, %error, "the row of this job is damaged and was left out; restore it or delete the job");
            }
            Ok((id, None))
        }
    }
}

/// Whether this process meets the damaged row of this job for the first time: each look at the table meets it again. Beyond
/// a bound no more are reported, because then the file is damaged, not a row.
fn is_first(id: JobId) -> bool {
    const REPORTED_MAX: usize = 100;
    static REPORTED: Mutex<BTreeSet<JobId>> = Mutex::new(BTreeSet::new());
    let mut reported = REPORTED.lock().unwrap_or_else(PoisonError::into_inner);
    reported.len() < REPORTED_MAX && reported.insert(id)
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

/// As JSON text.
pub(super) fn encoded<T: Serialize>(value: Option<&T>) -> Result<Option<String>, Fault> {
    let encode = |value| {
        serde_json::to_string(value).map_err(|error| {
            Fault::Ours(crate::Error::new(crate::ErrorKind::Internal, "encode a column").caused_by(error))
        })
    };
    value.map(encode).transpose()
}

/// As the `tags` column keeps them.
pub(super) fn tags(tags: &[String]) -> Result<Option<String>, Fault> {
    encoded((!tags.is_empty()).then_some(&tags))
}

/// As the `meta` column keeps it.
pub(super) fn meta(meta: &BTreeMap<String, String>) -> Result<Option<String>, Fault> {
    encoded((!meta.is_empty()).then_some(meta))
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

fn word<T: FromStr<Err = backroom_core::Invalid>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    row.get_ref(column)?.as_str()?.parse().map_err(|error| foreign(column, Type::Text, error))
}

/// A value that we never wrote: somebody else did, or the disk is failing.
fn foreign(
    column: usize,
    found: Type,
    why: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, found, why.into())
}
