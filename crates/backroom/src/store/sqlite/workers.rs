//! What workers report of themselves, and which of them are dead.

use std::{collections::BTreeMap, time::Duration};

use backroom_core::{JobId, Timestamp, bounds::earlier};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::{
    columns::columns,
    error::Fault,
    row::{self, micros},
};
use crate::store::{Beaten, DEAD_REMEMBERED, Holder, RunningJob, WorkerRow, dead_without_a_row};

macro_rules! worker_columns {
    () => {
        "name, incarnation, host, pid, started_at, beat_at, beats, dead, lease_ms, queues, kinds, slots, running, stuck, \
         stopping, trials, details, trouble"
    };
}

/// Writes a heartbeat, unless the name belongs to a dead worker or to another one.
pub(super) fn beat(connection: &Connection, worker: &WorkerRow) -> Result<Beaten, Fault> {
    let written = upsert(
        connection,
        worker,
        concat!(
            "INSERT INTO backroom_workers (",
            worker_columns!(),
            ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18) \
             ON CONFLICT (name) DO UPDATE SET host = excluded.host, pid = excluded.pid, \
             started_at = excluded.started_at, beat_at = excluded.beat_at, beats = excluded.beats, \
             lease_ms = excluded.lease_ms, queues = excluded.queues, kinds = excluded.kinds, slots = excluded.slots, \
             running = excluded.running, stuck = excluded.stuck, stopping = excluded.stopping, trials = excluded.trials, details = excluded.details, trouble = excluded.trouble \
             WHERE NOT dead AND incarnation = excluded.incarnation"
        ),
    )?;
    Ok(if written == 0 { Beaten::Dead } else { Beaten::Alive })
}

fn upsert(connection: &Connection, worker: &WorkerRow, sql: &str) -> Result<usize, Fault> {
    Ok(connection.prepare_cached(sql)?.execute(params![
        worker.name,
        worker.incarnation.as_bytes(),
        worker.host,
        worker.pid,
        micros(worker.started_at),
        micros(worker.beat_at),
        row::revision(worker.beats),
        worker.dead,
        row::millis(Duration::from_millis(worker.lease_ms)),
        row::encoded(Some(&worker.queues))?,
        row::encoded(Some(&worker.kinds))?,
        worker.slots,
        worker.running,
        worker.stuck,
        worker.stopping,
        row::encoded(Some(&worker.trials))?,
        row::encoded(Some(&worker.details))?,
        worker.trouble,
    ])?)
}

/// Forgets a worker that stopped.
pub(super) fn leave(connection: &Connection, worker: &str) -> Result<(), Fault> {
    connection.prepare_cached("DELETE FROM backroom_workers WHERE name = ?1")?.execute([worker])?;
    Ok(())
}

/// Workers whose last heartbeat was at or after `since`, by name.
pub(super) fn workers(connection: &Connection, since: Timestamp) -> Result<Vec<WorkerRow>, Fault> {
    let sql =
        concat!("SELECT ", worker_columns!(), " FROM backroom_workers WHERE beat_at >= ?1 ORDER BY name");
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map([micros(since)], worker)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn worker(found: &rusqlite::Row<'_>) -> rusqlite::Result<WorkerRow> {
    Ok(WorkerRow {
        name: found.get(0)?,
        incarnation: Uuid::from_bytes(found.get(1)?),
        host: found.get(2)?,
        pid: found.get(3)?,
        started_at: row::moment(found, 4)?,
        beat_at: row::moment(found, 5)?,
        beats: found.get::<_, i64>(6)?.unsigned_abs(),
        dead: found.get(7)?,
        lease_ms: found.get::<_, i64>(8)?.unsigned_abs(),
        queues: row::decoded(found, 9)?.unwrap_or_default(),
        kinds: row::decoded(found, 10)?.unwrap_or_default(),
        slots: found.get(11)?,
        running: found.get(12)?,
        stuck: found.get(13)?,
        stopping: found.get(14)?,
        trials: row::decoded(found, 15)?.unwrap_or_default(),
        details: row::decoded(found, 16)?.unwrap_or_default(),
        trouble: found.get(17)?,
    })
}

/// Every worker that has a row, and every name without one under which jobs run, by name.
pub(super) fn holders(connection: &Connection) -> Result<Vec<Holder>, Fault> {
    // From one name to the next, each by one lookup in the index, however many jobs run.
    let mut select = connection.prepare_cached(
        "WITH RECURSIVE holding (worker) AS ( \
           SELECT min(worker) FROM backroom_jobs INDEXED BY backroom_jobs_running WHERE state = 'running' \
           UNION ALL \
           SELECT (SELECT min(worker) FROM backroom_jobs INDEXED BY backroom_jobs_running \
             WHERE state = 'running' AND worker > holding.worker) FROM holding WHERE worker IS NOT NULL) \
         SELECT worker FROM holding WHERE worker IS NOT NULL",
    )?;
    let holding = select.query_map([], |found| found.get(0))?.collect::<Result<Vec<String>, _>>()?;
    let mut holders: BTreeMap<String, Holder> =
        holding.into_iter().map(|name| (name.clone(), Holder { name, row: None, holds: true })).collect();
    for row in workers(connection, Timestamp::MIN)? {
        let name = row.name.clone();
        let holder = Holder { name: name.clone(), row: None, holds: false };
        holders.entry(name).or_insert(holder).row = Some(row);
    }
    Ok(holders.into_values().collect())
}

/// Declares a worker dead unless its heartbeat has moved on; answers whether it is dead.
pub(super) fn declare_dead(
    connection: &Connection,
    worker: &str,
    beats: Option<u64>,
    now: Timestamp,
) -> Result<bool, Fault> {
    let mut forget = connection
        .prepare_cached("DELETE FROM backroom_workers WHERE dead AND beat_at < ?1 AND name <> ?2")?;
    forget.execute(params![micros(earlier(now, DEAD_REMEMBERED)), worker])?;
    match beats {
        Some(beats) => {
            let mut update = connection
                .prepare_cached("UPDATE backroom_workers SET dead = 1 WHERE name = ?1 AND beats = ?2")?;
            update.execute(params![worker, row::revision(beats)])?;
        }
        None => {
            let sql = concat!(
                "INSERT OR IGNORE INTO backroom_workers (",
                worker_columns!(),
                ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)"
            );
            upsert(connection, &dead_without_a_row(worker, now), sql)?;
        }
    }
    let mut select = connection.prepare_cached("SELECT dead FROM backroom_workers WHERE name = ?1")?;
    Ok(select.query_row([worker], |found| found.get(0)).optional()?.unwrap_or(false))
}

/// Running jobs of one worker by id, behind a place in that order.
pub(super) fn running_of(
    connection: &Connection,
    worker: &str,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<RunningJob>, Fault> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM backroom_jobs INDEXED BY backroom_jobs_running WHERE state = 'running' AND worker = ?1 AND id > ?2 \
         ORDER BY worker, id"
    );
    // Before every place: the smallest id, which no job has.
    let after = after.map_or(Uuid::nil(), |after| after.0);
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query(params![worker, after.as_bytes()])?;
    let mut running = Vec::new();
    while running.len() < limit
        && let Some(row) = rows.next()?
    {
        running.extend(row::running(row)?);
    }
    Ok(running)
}
