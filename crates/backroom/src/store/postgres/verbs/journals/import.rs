//! Journals of imported jobs.

use backroom_core::{JobId, Json};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{number, signals::ARRIVE};
use crate::{
    Error,
    store::{
        JournalRecord,
        postgres::{
            columns::timestamp::{PgTimestamp, opt},
            wire::{connection::Transaction, error::Fault, sql::Sql},
        },
        stored_header,
    },
};

/// Entries and arrivals in one statement.
const ROWS_MAX: usize = 1000;

/// Stores a head. Parameters: workflow, revision, header, what is published, wake time, how many have arrived.
static INSERT_HEAD: Sql = Sql {
    text: "INSERT INTO {schema}.journals (workflow, revision, header, published, wake_at, arrived) VALUES ($1, $2, $3, $4, $5, $6)",
    types: &[Type::UUID, Type::INT8, Type::TEXT, Type::TEXT, Type::TIMESTAMPTZ, Type::INT8],
};

/// Stores entries. Parameters: the workflow; keys and texts, side by side.
static INSERT_ENTRIES: Sql = Sql {
    text: "INSERT INTO {schema}.journal (workflow, key, entry) \
           SELECT $1, new.* FROM unnest($2::text[], $3::text[]) AS new (key, entry)",
    types: &[Type::UUID, Type::TEXT_ARRAY, Type::TEXT_ARRAY],
};

/// Stores the journals of jobs that this transaction has stored.
pub(crate) async fn import_journals(
    transaction: &Transaction,
    journals: impl Iterator<Item = (JobId, &JournalRecord)>,
) -> Result<(), Fault> {
    for (workflow, journal) in journals {
        import(transaction, workflow.0, journal).await?;
    }
    Ok(())
}

async fn import(transaction: &Transaction, workflow: Uuid, journal: &JournalRecord) -> Result<(), Fault> {
    let JournalRecord { head, entries, arrivals } = journal;
    let header = head.header.as_ref().map(stored_header).transpose()?;
    let published = head.header.as_ref().and_then(|header| header.published.as_ref()).map(Json::as_str);
    let (revision, arrived): (i64, i64) = (number(head.revision), number(head.arrived));
    let wake_at: Option<PgTimestamp> = opt(head.wake_at);
    transaction.query(&INSERT_HEAD, &[&workflow, &revision, &header, &published, &wake_at, &arrived]).await?;
    for chunk in entries.chunks(ROWS_MAX) {
        let keys: Vec<&str> = chunk.iter().map(|entry| entry.key.as_str()).collect();
        let texts = chunk.iter().map(|entry| entry.stored().map_err(Error::from));
        let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
        transaction.query(&INSERT_ENTRIES, &[&workflow, &keys, &texts]).await?;
    }
    for chunk in arrivals.chunks(ROWS_MAX) {
        let workflows = vec![workflow; chunk.len()];
        let numbers: Vec<i64> = chunk.iter().map(|(_, arrival)| number(arrival.n)).collect();
        let ids: Vec<Uuid> = chunk.iter().map(|(id, _)| *id).collect();
        let texts = chunk.iter().map(|(_, arrival)| arrival.stored().map_err(Error::from));
        let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
        transaction.query(&ARRIVE, &[&workflows, &numbers, &ids, &texts]).await?;
    }
    Ok(())
}
