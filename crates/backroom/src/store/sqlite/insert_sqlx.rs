//! Storing new jobs inside a transaction of sqlx: the statements and decisions of [`insert`](super::insert), through the
//! other driver.
//!
//! Both drivers link the same SQLite, so each sees the other's locks. Nothing here begins or ends the transaction.

use std::collections::HashSet;

use backroom_core::{
    JobId, JobRow, Queue, Timestamp,
    draft::NewJob,
    unique::{Holder, Resolution, UniqueWhile, resolve_conflict},
};
use rusqlite::ffi;
use sqlx::{Row as _, Sqlite, SqliteConnection, query::Query, sqlite::SqliteArguments};
use uuid::Uuid;

use super::{
    columns::{Cell, INSERT, cells},
    error::{Fault, is_unique_violation},
    insert::{DEPTH, DEPTH_MAX, HOLDER, IS_STORED, NAME_QUEUE, RELEASE, REPLACE, replacing},
    insert_sqlx_linked::insert_linked,
    row::INSERT_TAG,
    schema,
};
use crate::{
    Error, ErrorKind,
    store::{InsertLinked, Inserted},
};

/// Stores the jobs, all of them or none; one answer per job, in order.
pub(super) async fn insert_in(
    tx: &mut SqliteConnection,
    jobs: &[NewJob],
    now: Timestamp,
) -> Result<Vec<Inserted>, Fault> {
    begin(tx).await?;
    let inserted = insert(tx, jobs, now).await;
    end(tx, inserted).await
}

/// The same for jobs that run after others or are members of batches.
pub(super) async fn insert_linked_in(
    tx: &mut SqliteConnection,
    jobs: &InsertLinked,
    now: Timestamp,
) -> Result<Vec<Inserted>, Fault> {
    begin(tx).await?;
    // Takes the write lock, for which this waits as the connection says. From here on nothing waits.
    for linked in &jobs.jobs {
        run(tx, NAME_QUEUE, &[Cell::text(&linked.new.job.queue)]).await?;
    }
    let inserted = insert_linked(tx, jobs, now);
    end(tx, inserted).await
}

async fn begin(tx: &mut SqliteConnection) -> Result<(), Fault> {
    schema::check_newest_is(version(tx).await?)?;
    run(tx, "SAVEPOINT backroom_insert", &[]).await
}

async fn end(
    tx: &mut SqliteConnection,
    inserted: Result<Vec<Inserted>, Fault>,
) -> Result<Vec<Inserted>, Fault> {
    if inserted.is_err() {
        // Fails where the error ended the transaction as a whole; the first error is the one to report.
        if let Err(error) = run(tx, "ROLLBACK TO backroom_insert", &[]).await {
            tracing::debug!(?error, "failed to undo a part of the caller's transaction");
            return inserted;
        }
    }
    run(tx, "RELEASE backroom_insert", &[]).await?;
    inserted
}

pub(super) async fn insert(
    tx: &mut SqliteConnection,
    jobs: &[NewJob],
    now: Timestamp,
) -> Result<Vec<Inserted>, Fault> {
    let mut limited = Vec::new();
    for queue in jobs.iter().map(|new| new.job.queue.as_str()).collect::<HashSet<_>>() {
        let found = bound(DEPTH_MAX, &[Cell::text(queue)]).fetch_optional(&mut *tx).await?;
        match found.map(|found| found.try_get::<Option<i64>, _>(0)).transpose()? {
            None => run(tx, NAME_QUEUE, &[Cell::text(queue)]).await?,
            Some(Some(depth_max)) => limited.push((queue, depth_max.unsigned_abs(), depth(tx, queue).await?)),
            Some(None) => {}
        }
    }
    let mut answers = Vec::with_capacity(jobs.len());
    for new in jobs {
        answers.push(insert_one(tx, new, now).await?);
    }
    for (queue, depth_max, before) in limited {
        let depth = depth(tx, queue).await?;
        if Queue::is_over(depth_max, depth, depth.saturating_sub(before)) {
            return Err(Error::queue_full(queue, before, depth_max).into());
        }
    }
    Ok(answers)
}

/// How many jobs wait in a queue. Only our transaction writes meanwhile, so the difference of two is what it stored.
async fn depth(tx: &mut SqliteConnection, queue: &str) -> Result<u64, Fault> {
    let found = bound(DEPTH, &[Cell::text(queue), Cell::Integer(i64::MAX)]).fetch_one(tx).await?;
    Ok(found.try_get::<i64, _>(0)?.unsigned_abs())
}

pub(super) async fn insert_one(
    tx: &mut SqliteConnection,
    new: &NewJob,
    now: Timestamp,
) -> Result<Inserted, Fault> {
    // Twice is enough: the first try may meet a hold that has run out, and takes the key from that job.
    for _ in 0..2 {
        let violation = match create(tx, &new.job).await {
            Ok(()) => return Ok(Inserted::Created),
            Err(Fault::Sql(error)) if is_unique_violation(&error) => error,
            Err(other) => return Err(other),
        };
        if bound(IS_STORED, &[Cell::Blob(new.job.id.0.as_bytes())]).fetch_optional(&mut *tx).await?.is_some()
        {
            return Ok(Inserted::Created);
        }
        let key = new.job.unique_key.as_deref();
        let Some(holder) = holder_of(tx, key).await? else { return Err(violation.into()) };
        match resolve_conflict(&holder, new.on_conflict, now) {
            Resolution::Release => {
                run(tx, RELEASE, &[Cell::Blob(holder.id.0.as_bytes())]).await?;
            }
            Resolution::Keep => return Ok(Inserted::Duplicate(holder.id)),
            Resolution::Reject => return Ok(Inserted::KeyHeld(holder.id)),
            Resolution::Replace => {
                replace(tx, &holder.with_content(&new.job)).await?;
                return Ok(Inserted::Replaced(holder.id));
            }
        }
    }
    Err(Error::new(ErrorKind::Internal, "insert a job: its unique key stays held after its release").into())
}

async fn create(tx: &mut SqliteConnection, job: &JobRow) -> Result<(), Fault> {
    run(tx, INSERT, &cells(job)?).await?;
    insert_tags(tx, job).await
}

async fn insert_tags(tx: &mut SqliteConnection, job: &JobRow) -> Result<(), Fault> {
    for tag in &job.tags {
        run(tx, INSERT_TAG, &[Cell::text(tag), Cell::Blob(job.id.0.as_bytes())]).await?;
    }
    Ok(())
}

async fn replace(tx: &mut SqliteConnection, content: &JobRow) -> Result<(), Fault> {
    let id = Cell::Blob(content.id.0.as_bytes());
    run(tx, "DELETE FROM backroom_tags WHERE tag IN (SELECT value FROM backroom_jobs, json_each(tags) WHERE backroom_jobs.id = ?1) \
             AND job_id = ?1", &[id]).await?;
    run(tx, REPLACE, &replacing(content)?).await?;
    insert_tags(tx, content).await
}

/// What decides about the job that holds the key.
async fn holder_of(tx: &mut SqliteConnection, key: Option<&str>) -> Result<Option<Holder>, Fault> {
    let key = Cell::text_or_null(key);
    let Some(found) = bound(HOLDER, &[key]).fetch_optional(&mut *tx).await? else { return Ok(None) };
    let damaged = || {
        let why = "insert a job: the row of the job that holds its unique key is damaged; restore it or delete that job";
        Fault::Ours(Error::new(ErrorKind::Unusable, why))
    };
    let until = found.try_get::<Option<i64>, _>(3)?.map(Timestamp::from_microsecond).transpose();
    let until = until.map_err(|_| damaged())?;
    let hold = found.try_get::<Option<&str>, _>(2)?.map(|name| UniqueWhile::stored(name, until));
    Ok(Some(Holder {
        id: JobId(Uuid::from_slice(found.try_get(0)?).map_err(|_| damaged())?),
        state: found.try_get::<&str, _>(1)?.parse().map_err(|_| damaged())?,
        unique_while: hold.transpose().map_err(|_| damaged())?,
        attempt: found.try_get(4)?,
        revision: found.try_get::<i64, _>(5)?.unsigned_abs(),
    }))
}

/// The version of our tables; 0 where there are none.
async fn version(tx: &mut SqliteConnection) -> Result<u32, Fault> {
    if bound(schema::HAS_VERSIONS, &[]).fetch_optional(&mut *tx).await?.is_none() {
        return Ok(0);
    }
    let found = bound(schema::VERSION, &[]).fetch_one(tx).await?;
    Ok(found.try_get::<Option<u32>, _>(0)?.unwrap_or(0))
}

pub(super) async fn run(
    tx: &mut SqliteConnection,
    sql: &'static str,
    cells: &[Cell<'_>],
) -> Result<(), Fault> {
    bound(sql, cells).execute(tx).await?;
    Ok(())
}

/// The statement with its parameters. As with every statement, sqlx caches its plan on the caller's connection.
pub(super) fn bound(sql: &'static str, cells: &[Cell<'_>]) -> Query<'static, Sqlite, SqliteArguments> {
    cells.iter().fold(sqlx::query(sql), |query, cell| match cell {
        Cell::Null => query.bind(None::<i64>),
        Cell::Integer(number) => query.bind(*number),
        Cell::Text(text) => query.bind(text.clone().into_owned()),
        Cell::Blob(bytes) => query.bind(bytes.to_vec()),
    })
}

impl From<sqlx::Error> for Fault {
    /// What SQLite answered means the same through either driver.
    fn from(error: sqlx::Error) -> Self {
        let answer = error.as_database_error().and_then(|answer| {
            let code = answer.code()?.parse().ok()?;
            Some(rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(answer.message().to_owned())))
        });
        answer.map_or_else(
            || {
                let why = "use the SQLite transaction: its driver failed; roll it back, then try again";
                Self::Ours(Error::new(ErrorKind::Unavailable, why).caused_by(error))
            },
            Self::Sql,
        )
    }
}
