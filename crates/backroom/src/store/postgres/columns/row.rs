//! Between rows of `jobs` and [`JobRow`], both ways.

use std::{error::Error as StdError, str::FromStr, time::Duration};

use backroom_core::{
    Attempt, Extras, JobId, JobRow, Json, LeaseId, LogLine, Progress, Timestamp,
    links::Links,
    unique::{Holder, UniqueWhile},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio_postgres::{
    Row,
    types::{FromSql, Type},
};
use uuid::Uuid;

use super::{table::at, timestamp::PgTimestamp};
use crate::store::{RunningJob, postgres::wire::error::Fault, unreadable};
use crate::{Error, ErrorKind};

/// JSON text from a `jsonb` column.
struct JsonText<'a>(&'a str);

impl<'a> FromSql<'a> for JsonText<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        match raw.split_first() {
            // The version of the format.
            Some((1, text)) => Ok(Self(std::str::from_utf8(text)?)),
            _ => Err("jsonb of an unknown version".into()),
        }
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSONB
    }
}

/// A row of either driver.
pub(crate) trait Cells {
    /// The column at this place.
    fn cell<'a, T: FromSql<'a>>(&'a self, column: usize) -> Result<T, Fault>;
}

impl Cells for Row {
    fn cell<'a, T: FromSql<'a>>(&'a self, column: usize) -> Result<T, Fault> {
        Ok(self.try_get(column)?)
    }
}

/// A job from a row selected by [`columns!`](crate::store::postgres::wire::sql::columns).
pub(crate) fn job(row: &impl Cells) -> Result<JobRow, Fault> {
    let id = JobId(row.cell(at::id)?);
    let extras = Extras::from_stored(row.cell(at::extras)?)
        .map_err(|invalid| Error::new(ErrorKind::Unusable, format!("read job {id}: its {invalid}")))?;
    let tags = row.cell::<Option<JsonText<'_>>>(at::tags)?.map_or(Ok(Vec::new()), |text| decoded(text.0))?;
    job_with(row, extras, tags)
}

fn job_with(row: &impl Cells, extras: Extras, tags: Vec<String>) -> Result<JobRow, Fault> {
    let unique_while = match row.cell::<Option<&str>>(at::unique_while)? {
        None => None,
        Some(name) => {
            let hold = UniqueWhile::stored(name, moment_or_none(row, at::unique_until)?);
            Some(hold.map_err(|invalid| damaged("word").caused_by(invalid))?)
        }
    };
    let progress = match row.cell::<Option<i16>>(at::progress_percent)? {
        Some(percent) => Some(Progress {
            percent: u8::try_from(percent).unwrap_or(100),
            message: row.cell(at::progress_message)?,
        }),
        None => None,
    };
    let links = row.cell::<Option<&str>>(at::links)?.map(|text| Links::from_stored(Some(text)));
    let links = links.transpose().map_err(Error::from)?;
    Ok(JobRow {
        id: JobId(row.cell(at::id)?),
        kind: row.cell(at::kind)?,
        queue: row.cell(at::queue)?,
        lane: row.cell(at::lane)?,
        priority: u8::try_from(row.cell::<i16>(at::priority)?).map_err(|_| damaged("priority"))?,
        state: word(row, at::state)?,
        args: Json::stored(row.cell(at::args)?).map_err(Error::from)?,
        attempt: number(row, at::attempt)?,
        max_attempts: number(row, at::max_attempts)?,
        crashes: number(row, at::crashes)?,
        scheduled_at: moment(row, at::scheduled_at)?,
        expires_at: moment_or_none(row, at::expires_at)?,
        unique_key: row.cell(at::unique_key)?,
        unique_while,
        unique_held: row.cell(at::unique_held)?,
        lease_id: row.cell::<Option<Uuid>>(at::lease_id)?.map(LeaseId),
        lease_until: moment_or_none(row, at::lease_until)?,
        worker: row.cell(at::worker)?,
        progress,
        output: row.cell::<Option<String>>(at::output)?.map(Json::stored).transpose().map_err(Error::from)?,
        reason: row.cell(at::reason)?,
        cancel_requested_at: moment_or_none(row, at::cancel_requested_at)?,
        woken: row.cell(at::woken)?,
        created_at: moment(row, at::created_at)?,
        started_at: moment_or_none(row, at::started_at)?,
        finished_at: moment_or_none(row, at::finished_at)?,
        tags,
        extras,
        revision: row.cell::<i64>(at::revision)?.unsigned_abs(),
        suspicion: row.cell::<Option<&str>>(at::suspicion)?.map(decoded).transpose()?,
        links: links.map(Box::new),
    })
}

/// The columns that [`holder`] reads.
macro_rules! holder_columns {
    () => {
        "unique_key, id, state, unique_while, unique_until, attempt, revision"
    };
}
pub(crate) use holder_columns;

/// How many these are.
pub(crate) const HOLDER_COLUMNS: usize = 7;

/// The holder of a key and the key. Of the rest of its row nothing is read: a newer program may have written it.
pub(crate) fn holder(row: &impl Cells) -> Result<(String, Holder), Fault> {
    let until = moment_or_none(row, 4)?;
    let hold = row.cell::<Option<&str>>(3)?.map(|name| UniqueWhile::stored(name, until)).transpose();
    let holder = Holder {
        id: JobId(row.cell(1)?),
        state: word(row, 2)?,
        unique_while: hold.map_err(|invalid| damaged("word").caused_by(invalid))?,
        attempt: number(row, 5)?,
        revision: row.cell::<i64>(6)?.unsigned_abs(),
    };
    Ok((row.cell(0)?, holder))
}

/// All rows as jobs.
pub(crate) fn jobs(rows: &[impl Cells]) -> Result<Vec<JobRow>, Fault> {
    rows.iter().map(job).collect()
}

/// The same without those that cannot be read: one such row must not stop the claim or the rescue of all others.
pub(crate) fn readable_jobs(rows: &[impl Cells]) -> Result<Vec<JobRow>, Fault> {
    let mut jobs = Vec::with_capacity(rows.len());
    for row in rows {
        jobs.extend(job_if_whole(row)?);
    }
    Ok(jobs)
}

/// All rows as running jobs, those that cannot be read without their extras and tags.
pub(crate) fn running(rows: &[impl Cells]) -> Result<Vec<RunningJob>, Fault> {
    let mut running = Vec::with_capacity(rows.len());
    for row in rows {
        running.extend(match job_if_whole(row)? {
            Some(job) => Some(RunningJob::whole(job)),
            None => {
                let rest = job_with(row, Extras::default(), Vec::new());
                rest.ok().map(|job| RunningJob { job, is_whole: false })
            }
        });
    }
    Ok(running)
}

/// The job of a row. If it cannot be read it is none, and a line in the log.
fn job_if_whole(row: &impl Cells) -> Result<Option<JobRow>, Fault> {
    let id = JobId(row.cell(at::id)?);
    match job(row) {
        Ok(job) => Ok(Some(job)),
        Err(fault) => {
            if unreadable::is_first(id) {
                let error = fault.into_error("read a job");
                tracing::error!(
                    job = %id, %error,
                    "failed to read the row of this job, so it is left out; update this program, restore the row or delete the job"
                );
            }
            Ok(None)
        }
    }
}

/// An attempt from `lease_id, attempt, end, error, worker, started_at, ended_at`.
pub(crate) fn attempt(row: &Row) -> Result<Attempt, Fault> {
    Ok(Attempt {
        lease_id: LeaseId(row.try_get(0)?),
        attempt: number(row, 1)?,
        end: word(row, 2)?,
        error: row.try_get(3)?,
        worker: row.try_get(4)?,
        started_at: moment_or_none(row, 5)?,
        ended_at: moment(row, 6)?,
    })
}

/// A log line from `lease_id, seq, at, line`.
pub(crate) fn log_line(row: &Row) -> Result<LogLine, Fault> {
    Ok(LogLine {
        lease_id: LeaseId(row.try_get(0)?),
        seq: number(row, 1)?,
        at: moment(row, 2)?,
        line: row.try_get(3)?,
    })
}

pub(crate) fn moment(row: &impl Cells, column: usize) -> Result<Timestamp, Fault> {
    Ok(row.cell::<PgTimestamp>(column)?.0)
}

pub(crate) fn moment_or_none(row: &impl Cells, column: usize) -> Result<Option<Timestamp>, Fault> {
    Ok(row.cell::<Option<PgTimestamp>>(column)?.map(|at| at.0))
}

/// A `bigint` that a CHECK of the table limits to 32 bits.
pub(crate) fn number(row: &impl Cells, column: usize) -> Result<u32, Fault> {
    u32::try_from(row.cell::<i64>(column)?).map_err(|_| damaged("number").into())
}

pub(crate) fn word<T: FromStr<Err = backroom_core::Invalid>>(
    row: &impl Cells,
    column: usize,
) -> Result<T, Fault> {
    row.cell::<&str>(column)?.parse().map_err(|invalid| damaged("word").caused_by(invalid).into())
}

/// JSON that this program wrote.
pub(crate) fn decoded<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| damaged("JSON").caused_by(error).into())
}

/// JSON for [`decoded`].
pub(crate) fn encoded<T: Serialize + ?Sized>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value)
        .map_err(|error| Error::new(ErrorKind::Internal, "encode a column of a job").caused_by(error))
}

fn damaged(what: &str) -> Error {
    let why = format!("read a job: a {what} in its row is not what this program wrote");
    Error::new(ErrorKind::Unusable, why)
}

/// A count or bound as a parameter.
pub(crate) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A revision as a parameter.
pub(crate) fn revision(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// A span in whole milliseconds as a parameter.
pub(crate) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
