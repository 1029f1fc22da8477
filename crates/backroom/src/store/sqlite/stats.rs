//! What workers counted of each minute.

use backroom_core::{
    Timestamp,
    bounds::earlier,
    stats::{RETENTION, StatsRow},
};
use rusqlite::{Connection, params};

use super::{
    error::Fault,
    row::{self, micros},
};

/// Most old rows that one write deletes: the writer must not be held up.
const FORGOTTEN_MAX: u32 = 500;

/// Writes one minute of a worker in the place of what it wrote of that minute before, and deletes old ones.
pub(super) fn put(connection: &Connection, stats: &StatsRow, now: Timestamp) -> Result<(), Fault> {
    let mut upsert = connection.prepare_cached(
        "INSERT OR REPLACE INTO backroom_stats (minute, worker, kinds) VALUES (?1, ?2, ?3)",
    )?;
    upsert.execute(params![micros(stats.minute), stats.worker, row::encoded(Some(&stats.kinds))?])?;
    let mut delete = connection.prepare_cached(
        "DELETE FROM backroom_stats WHERE (minute, worker) IN \
         (SELECT minute, worker FROM backroom_stats WHERE minute < ?1 ORDER BY minute, worker LIMIT ?2)",
    )?;
    delete.execute(params![micros(earlier(now, RETENTION)), FORGOTTEN_MAX])?;
    Ok(())
}

/// What was counted in the minutes from `since` on, the newest first.
pub(super) fn stats(connection: &Connection, since: Timestamp, limit: usize) -> Result<Vec<StatsRow>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT minute, worker, kinds FROM backroom_stats WHERE minute >= ?1 ORDER BY minute DESC, worker LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = select.query_map(params![micros(since), limit], |found| {
        Ok(StatsRow {
            minute: row::moment(found, 0)?,
            worker: found.get(1)?,
            kinds: row::decoded(found, 2)?.unwrap_or_default(),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
