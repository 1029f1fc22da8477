//! What workers say of themselves.

use std::time::Duration;

use backroom_core::{Timestamp, bounds::earlier};
use rusqlite::{Connection, params};

use super::{
    error::Fault,
    row::{self, micros},
};
use crate::store::WorkerRow;

/// A worker that said nothing for this long is forgotten: it died without leaving.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Writes what a worker says of itself, and forgets those that have long been silent.
pub(super) fn beat(connection: &Connection, worker: &WorkerRow) -> Result<(), Fault> {
    let mut upsert = connection.prepare_cached(
        "INSERT OR REPLACE INTO backroom_workers \
         (name, host, pid, started_at, beat_at, lease_ms, queues, kinds, slots, running, stuck, stopping, trials, \
         trouble) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    upsert.execute(params![
        worker.name,
        worker.host,
        worker.pid,
        micros(worker.started_at),
        micros(worker.beat_at),
        row::millis(Duration::from_millis(worker.lease_ms)),
        row::encoded(Some(&worker.queues))?,
        row::encoded(Some(&worker.kinds))?,
        worker.slots,
        worker.running,
        worker.stuck,
        worker.stopping,
        row::encoded(Some(&worker.trials))?,
        worker.trouble,
    ])?;
    let mut delete = connection.prepare_cached("DELETE FROM backroom_workers WHERE beat_at < ?1")?;
    delete.execute([micros(earlier(worker.beat_at, FORGOTTEN_AFTER))])?;
    Ok(())
}

/// Forgets a worker that stopped.
pub(super) fn leave(connection: &Connection, worker: &str) -> Result<(), Fault> {
    connection.prepare_cached("DELETE FROM backroom_workers WHERE name = ?1")?.execute([worker])?;
    Ok(())
}

/// Workers that beat at or after `since`, by name.
pub(super) fn workers(connection: &Connection, since: Timestamp) -> Result<Vec<WorkerRow>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT name, host, pid, started_at, beat_at, lease_ms, queues, kinds, slots, running, stuck, stopping, trials, \
         trouble \
         FROM backroom_workers WHERE beat_at >= ?1 ORDER BY name",
    )?;
    let rows = select.query_map([micros(since)], |found| {
        Ok(WorkerRow {
            name: found.get(0)?,
            host: found.get(1)?,
            pid: found.get(2)?,
            started_at: row::moment(found, 3)?,
            beat_at: row::moment(found, 4)?,
            lease_ms: found.get::<_, i64>(5)?.unsigned_abs(),
            queues: row::decoded(found, 6)?.unwrap_or_default(),
            kinds: row::decoded(found, 7)?.unwrap_or_default(),
            slots: found.get(8)?,
            running: found.get(9)?,
            stuck: found.get(10)?,
            stopping: found.get(11)?,
            trials: row::decoded(found, 12)?.unwrap_or_default(),
            trouble: found.get(13)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
