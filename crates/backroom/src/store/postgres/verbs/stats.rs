//! What workers counted of each minute.

use backroom_core::{
    Timestamp,
    bounds::earlier,
    stats::{RETENTION, StatsRow},
};
use tokio_postgres::types::Type;

use crate::store::postgres::{
    Core,
    columns::{row, timestamp::PgTimestamp},
    wire::{error::Fault, sql::Sql},
};

/// Writes one minute of a worker. Parameters: the columns.
static PUT: Sql = Sql {
    text: "INSERT INTO {schema}.stats (minute, worker, kinds) VALUES ($1, $2, $3) \
           ON CONFLICT (minute, worker) DO UPDATE SET kinds = excluded.kinds",
    types: &[Type::TIMESTAMPTZ, Type::TEXT, Type::TEXT],
};

/// Deletes some old rows, except those that another worker deletes now. Parameters: the first moment that stays, how
/// many.
static FORGET: Sql = Sql {
    text: "DELETE FROM {schema}.stats WHERE (minute, worker) IN \
           (SELECT minute, worker FROM {schema}.stats WHERE minute < $1 ORDER BY minute, worker LIMIT $2 \
            FOR UPDATE SKIP LOCKED)",
    types: &[Type::TIMESTAMPTZ, Type::INT8],
};

/// What was counted in the minutes from a moment on, the newest first. Parameters: the moment, how many rows.
static STATS: Sql = Sql {
    text: "SELECT minute, worker, kinds FROM {schema}.stats WHERE minute >= $1 ORDER BY minute DESC, worker LIMIT $2",
    types: &[Type::TIMESTAMPTZ, Type::INT8],
};

/// Most old rows that one write deletes.
const FORGOTTEN_MAX: i64 = 500;

/// Writes one minute of a worker over what it wrote for that minute before, and deletes old rows.
pub(crate) async fn put(core: &Core, stats: &StatsRow, now: Timestamp) -> Result<(), Fault> {
    let kinds = row::encoded(&stats.kinds)?;
    core.writer.query(&PUT, &[&PgTimestamp(stats.minute), &stats.worker, &kinds]).await?;
    core.writer.query(&FORGET, &[&PgTimestamp(earlier(now, RETENTION)), &FORGOTTEN_MAX]).await?;
    Ok(())
}

/// What was counted in the minutes from `since` on, the newest first.
pub(crate) async fn stats(core: &Core, since: Timestamp, limit: usize) -> Result<Vec<StatsRow>, Fault> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = core.reads.query(&STATS, &[&PgTimestamp(since), &limit]).await?;
    let stats = rows.iter().map(|row| {
        Ok(StatsRow {
            minute: row::moment(row, 0)?,
            worker: row.try_get(1)?,
            kinds: row::decoded(row.try_get(2)?)?,
        })
    });
    stats.collect()
}
