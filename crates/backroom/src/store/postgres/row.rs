//! Between rows of `jobs` and [`Job`], both ways.

use std::{collections::BTreeMap, error::Error as StdError, str::FromStr, time::Duration};

use backroom_core::{
    Attempt, Job, JobId, Json, LeaseId, LogLine, Progress, State, Timestamp, unique::UniqueWhile,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio_postgres::{
    Row,
    types::{FromSql, Type},
};
use uuid::Uuid;

use super::{error::Fault, moment::Moment};
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

/// A job from a row selected by [`columns!`](super::sql::columns).
pub(super) fn job(row: &Row) -> Result<Job, Fault> {
    let unique_while = match row.try_get::<_, Option<&str>>(15)? {
        None => None,
        Some("live") => Some(UniqueWhile::Live),
        Some("queued") => Some(UniqueWhile::Queued),
        Some(_) => Some(UniqueWhile::Until(moment(row, 16)?)),
    };
    let progress = match row.try_get::<_, Option<i16>>(21)? {
        Some(percent) => {
            Some(Progress { percent: u8::try_from(percent).unwrap_or(100), message: row.try_get(22)? })
        }
        None => None,
    };
    Ok(Job {
        id: JobId(row.try_get(0)?),
        kind: row.try_get(1)?,
        queue: row.try_get(2)?,
        lane: row.try_get(3)?,
        priority: u8::try_from(row.try_get::<_, i16>(4)?).map_err(|_| damaged("priority"))?,
        state: word(row, 5)?,
        args: Json::stored(row.try_get(6)?).map_err(Error::from)?,
        attempt: number(row, 7)?,
        max_attempts: number(row, 8)?,
        crashes: number(row, 9)?,
        scheduled_at: moment(row, 10)?,
        expires_at: moment_or_none(row, 11)?,
        timeout: row.try_get::<_, Option<i64>>(12)?.map(|ms| Duration::from_millis(ms.unsigned_abs())),
        retry: row.try_get::<_, Option<&str>>(13)?.map(decoded).transpose()?,
        unique_key: row.try_get(14)?,
        unique_while,
        unique_held: row.try_get(17)?,
        lease_id: row.try_get::<_, Option<Uuid>>(18)?.map(LeaseId),
        lease_until: moment_or_none(row, 19)?,
        worker: row.try_get(20)?,
        progress,
        output: row.try_get::<_, Option<String>>(23)?.map(Json::stored).transpose().map_err(Error::from)?,
        reason: row.try_get(24)?,
        cancel_requested_at: moment_or_none(row, 25)?,
        woken: row.try_get(26)?,
        created_at: moment(row, 27)?,
        started_at: moment_or_none(row, 28)?,
        finished_at: moment_or_none(row, 29)?,
        tags: row.try_get::<_, Option<JsonText<'_>>>(30)?.map_or(Ok(Vec::new()), |text| decoded(text.0))?,
        meta: row
            .try_get::<_, Option<JsonText<'_>>>(31)?
            .map_or(Ok(BTreeMap::new()), |text| decoded(text.0))?,
        revision: row.try_get::<_, i64>(32)?.unsigned_abs(),
    })
}

/// All rows as jobs.
pub(super) fn jobs(rows: &[Row]) -> Result<Vec<Job>, Fault> {
    rows.iter().map(job).collect()
}

/// An attempt from `lease_id, attempt, end, error, worker, started_at, ended_at`.
pub(super) fn attempt(row: &Row) -> Result<Attempt, Fault> {
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
pub(super) fn log_line(row: &Row) -> Result<LogLine, Fault> {
    Ok(LogLine {
        lease_id: LeaseId(row.try_get(0)?),
        seq: number(row, 1)?,
        at: moment(row, 2)?,
        line: row.try_get(3)?,
    })
}

pub(super) fn moment(row: &Row, column: usize) -> Result<Timestamp, Fault> {
    Ok(row.try_get::<_, Moment>(column)?.0)
}

pub(super) fn moment_or_none(row: &Row, column: usize) -> Result<Option<Timestamp>, Fault> {
    Ok(row.try_get::<_, Option<Moment>>(column)?.map(|at| at.0))
}

/// A `bigint` that our CHECKs hold within 32 bits.
pub(super) fn number(row: &Row, column: usize) -> Result<u32, Fault> {
    u32::try_from(row.try_get::<_, i64>(column)?).map_err(|_| damaged("number").into())
}

fn word<T: FromStr<Err = backroom_core::Invalid>>(row: &Row, column: usize) -> Result<T, Fault> {
    row.try_get::<_, &str>(column)?.parse().map_err(|invalid| damaged("word").caused_by(invalid).into())
}

/// JSON of our own making.
pub(super) fn decoded<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| damaged("JSON").caused_by(error).into())
}

/// JSON for [`decoded`].
pub(super) fn encoded<T: Serialize + ?Sized>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value)
        .map_err(|error| Error::new(ErrorKind::Internal, "encode a column of a job").caused_by(error))
}

fn damaged(what: &str) -> Error {
    let why = format!("read a job: a {what} in its row is not what this program wrote");
    Error::new(ErrorKind::Unusable, why)
}

/// The state's word as a parameter.
pub(super) fn states(states: &[State]) -> Vec<&'static str> {
    states.iter().map(|state| state.as_str()).collect()
}

/// A count or bound as a parameter.
pub(super) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A revision as a parameter.
pub(super) fn revision(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// A span in whole milliseconds as a parameter.
pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
