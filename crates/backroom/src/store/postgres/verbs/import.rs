//! Storing whole records as they are.

use std::collections::{BTreeSet, HashSet};

use backroom_core::{Attempt, JobId, LogLine};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    insert::{INSERT, NAME_QUEUES, ROWS_MAX, STORED},
    journals::import_journals,
    links::{import_edges, leave},
};
use crate::store::postgres::{
    Core,
    columns::{
        table::{Columns, JOB_TYPES, unnested_jobs},
        timestamp::{PgTimestamp, opt},
    },
    wire::{
        connection::Transaction,
        error::Fault,
        session::Session,
        sql::{Sql, columns},
    },
};
use crate::{
    Error, ErrorKind,
    store::{Record, linked::left_of_imported, verbs::places},
};

/// Stores finished jobs that hold no key; answers with the ids that are new. Parameters: all columns.
static INSERT_FINISHED: Sql = Sql {
    text: concat!(
        "INSERT INTO {schema}.finished (",
        columns!(),
        ") ",
        unnested_jobs!(),
        " ON CONFLICT DO NOTHING RETURNING id"
    ),
    types: &JOB_TYPES,
};

/// Which of these jobs were imported live before. Parameter: ids.
static IMPORTED: Sql = Sql {
    text: "SELECT job_id FROM {schema}.imported WHERE job_id = ANY($1::uuid[])",
    types: &[Type::UUID_ARRAY],
};

/// Records jobs that are imported live. Parameter: ids.
static NOTE_IMPORTED: Sql = Sql {
    text: "INSERT INTO {schema}.imported (job_id) SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING",
    types: &[Type::UUID_ARRAY],
};

/// A job that holds one of these keys. Parameter: keys.
static HOLDER: Sql = Sql {
    text: "SELECT id, unique_key FROM {schema}.jobs WHERE unique_held AND unique_key = ANY($1::text[]) LIMIT 1",
    types: &[Type::TEXT_ARRAY],
};

/// Stores attempts in the order given. Parameters: the columns.
static ATTEMPTS: Sql = Sql {
    text: "INSERT INTO {schema}.attempts \
             (job_id, lease_id, attempt, \"end\", error, worker, started_at, ended_at, after_lines) \
           SELECT job, lease, attempt, ended, error, worker, started_at, ended_at, after_lines \
           FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], \
             $8::timestamptz[], $9::bigint[]) WITH ORDINALITY \
             AS new (job, lease, attempt, ended, error, worker, started_at, ended_at, after_lines, place) \
           ORDER BY place ON CONFLICT DO NOTHING",
    types: &[
        Type::UUID_ARRAY,
        Type::UUID_ARRAY,
        Type::INT8_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
        Type::INT8_ARRAY,
    ],
};

/// Stores log lines in the order given. Parameters: the columns.
static LINES: Sql = Sql {
    text: "INSERT INTO {schema}.logs (job_id, lease_id, seq, at, line, position) \
           SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::timestamptz[], $5::text[], $6::bigint[])",
    types: &[
        Type::UUID_ARRAY,
        Type::UUID_ARRAY,
        Type::INT8_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
    ],
};

/// Stores the records whose id is new, all or none; answers how many were.
pub(crate) async fn import(core: &Core, records: &[Record]) -> Result<u64, Fault> {
    let queues: Vec<&str> =
        records.iter().map(|record| record.job.queue.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
    let transaction = core.writer.begin().await?;
    let stored = async {
        transaction.query(&NAME_QUEUES, &[&queues]).await?;
        let mut stored = 0;
        for chunk in records.chunks(ROWS_MAX) {
            stored += import_chunk(&transaction, chunk).await?;
        }
        Ok::<_, Fault>(stored)
    }
    .await;
    match stored {
        Ok(stored) => {
            transaction.commit().await?;
            core.hints.behind();
            core.hints.edges();
            queues.iter().for_each(|queue| core.hints.queue(queue));
            Ok(stored)
        }
        Err(fault) => {
            // The caller gets the first reason; a rollback that fails ends the connection.
            _ = transaction.rollback().await;
            Err(fault)
        }
    }
}

async fn import_chunk(transaction: &Transaction, records: &[Record]) -> Result<u64, Fault> {
    let ids: Vec<Uuid> = records.iter().map(|record| record.job.id.0).collect();
    let mut known = transaction.query(&STORED, &[&ids]).await?;
    known.extend(transaction.query(&IMPORTED, &[&ids]).await?);
    let mut known: HashSet<Uuid> = known.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let new: Vec<&Record> = records.iter().filter(|record| known.insert(record.job.id.0)).collect();
    let (finished, mut live): (Vec<&Record>, Vec<&Record>) =
        new.iter().copied().partition(|record| record.job.state.is_finished() && !record.job.unique_held);
    if !finished.is_empty() {
        let columns = Columns::of(finished.iter().map(|record| &record.job))?;
        transaction.query(&INSERT_FINISHED, &columns.params()).await?;
    }
    if !live.is_empty() {
        // In the order of keys, as every insert of ours.
        live.sort_by_key(|record| record.job.unique_key.as_deref());
        let columns = Columns::of(live.iter().map(|record| &record.job))?;
        let rows = transaction.query(&INSERT, &columns.params()).await?;
        if rows.len() < live.len() {
            return Err(key_held(transaction, &live).await?);
        }
    }
    let begun: Vec<Uuid> =
        new.iter().filter(|record| !record.job.state.is_finished()).map(|record| record.job.id.0).collect();
    if !begun.is_empty() {
        transaction.query(&NOTE_IMPORTED, &[&begun]).await?;
    }
    insert_attempts(transaction, &new).await?;
    insert_lines(transaction, &new).await?;
    let journals = new.iter().filter_map(|record| Some((record.job.id, record.journal.as_deref()?)));
    import_journals(transaction, journals).await?;
    let edges: Vec<_> =
        new.iter().flat_map(|record| record.edges.iter().map(|edge| (record.job.id, *edge))).collect();
    let session = &mut Session::Ours(transaction);
    import_edges(session, &edges).await?;
    let left: Vec<_> = new.iter().filter_map(|record| left_of_imported(&record.job)).collect();
    if !left.is_empty() {
        leave(session, &left).await?;
    }
    Ok(new.len() as u64)
}

async fn key_held(transaction: &Transaction, records: &[&Record]) -> Result<Fault, Fault> {
    let keys: Vec<&str> = records
        .iter()
        .filter(|record| record.job.unique_held)
        .filter_map(|record| record.job.unique_key.as_deref())
        .collect();
    let Some(row) = transaction.query(&HOLDER, &[&keys]).await?.into_iter().next() else {
        let why = "import jobs: another process stored some of them at the same time";
        return Ok(Error::new(ErrorKind::Unavailable, why).into());
    };
    let (holder, key) = (JobId(row.try_get(0)?), row.try_get::<_, String>(1)?);
    let why = format!("import jobs: job {holder} holds the unique key {key:?} of one of them");
    Ok(Error::new(ErrorKind::KeyHeld { holder }, why).into())
}

async fn insert_attempts<'a>(transaction: &Transaction, records: &[&'a Record]) -> Result<(), Fault> {
    let placed = |record: &&'a Record| {
        let (id, record) = (record.job.id.0, *record);
        record.attempts.iter().zip(places(record)).map(move |(attempt, place)| (id, attempt, place))
    };
    let attempts: Vec<(Uuid, &Attempt, u32)> = records.iter().flat_map(placed).collect();
    for chunk in attempts.chunks(ROWS_MAX) {
        let jobs: Vec<Uuid> = chunk.iter().map(|(job, ..)| *job).collect();
        let leases: Vec<Uuid> = chunk.iter().map(|(_, attempt, _)| attempt.lease_id.0).collect();
        let numbers: Vec<i64> = chunk.iter().map(|(_, attempt, _)| attempt.attempt.into()).collect();
        let ends: Vec<&str> = chunk.iter().map(|(_, attempt, _)| attempt.end.as_str()).collect();
        let errors: Vec<&str> = chunk.iter().map(|(_, attempt, _)| attempt.error.as_str()).collect();
        let workers: Vec<Option<&str>> =
            chunk.iter().map(|(_, attempt, _)| attempt.worker.as_deref()).collect();
        let started: Vec<Option<PgTimestamp>> =
            chunk.iter().map(|(_, attempt, _)| opt(attempt.started_at)).collect();
        let ended: Vec<PgTimestamp> =
            chunk.iter().map(|(_, attempt, _)| PgTimestamp(attempt.ended_at)).collect();
        let after: Vec<i64> = chunk.iter().map(|(_, _, place)| i64::from(*place)).collect();
        transaction
            .query(&ATTEMPTS, &[&jobs, &leases, &numbers, &ends, &errors, &workers, &started, &ended, &after])
            .await?;
    }
    Ok(())
}

async fn insert_lines(transaction: &Transaction, records: &[&Record]) -> Result<(), Fault> {
    let lines: Vec<(Uuid, &LogLine, i64)> = records
        .iter()
        .flat_map(|record| (0..).zip(&record.lines).map(|(position, line)| (record.job.id.0, line, position)))
        .collect();
    for chunk in lines.chunks(ROWS_MAX) {
        let jobs: Vec<Uuid> = chunk.iter().map(|(job, ..)| *job).collect();
        let leases: Vec<Uuid> = chunk.iter().map(|(_, line, _)| line.lease_id.0).collect();
        let seqs: Vec<i64> = chunk.iter().map(|(_, line, _)| line.seq.into()).collect();
        let times: Vec<PgTimestamp> = chunk.iter().map(|(_, line, _)| PgTimestamp(line.at)).collect();
        let texts: Vec<&str> = chunk.iter().map(|(_, line, _)| line.line.as_str()).collect();
        let positions: Vec<i64> = chunk.iter().map(|(_, _, position)| *position).collect();
        transaction.query(&LINES, &[&jobs, &leases, &seqs, &times, &texts, &positions]).await?;
    }
    Ok(())
}
