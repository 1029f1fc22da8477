//! The rows of workers: heartbeats, and which workers are dead.

use std::{collections::BTreeMap, time::Duration};

use backroom_core::{JobId, Timestamp, bounds::earlier};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use crate::store::postgres::{
    Core,
    columns::{row, timestamp::PgTimestamp},
    wire::{
        connection::Link,
        error::Fault,
        settings::Wait,
        sql::{Sql, columns},
    },
};
use crate::store::{Beaten, DEAD_REMEMBERED, Holder, RunningJob, WorkerRow, dead_without_a_row};

macro_rules! worker_columns {
    () => {
        "name, incarnation, host, pid, started_at, beat_at, beats, dead, lease_ms, queues, kinds, slots, running, stuck, \
         stopping, trials, details, trouble"
    };
}

const WORKER_TYPES: [Type; 18] = [
    Type::TEXT,
    Type::UUID,
    Type::TEXT,
    Type::INT8,
    Type::TIMESTAMPTZ,
    Type::TIMESTAMPTZ,
    Type::INT8,
    Type::BOOL,
    Type::INT8,
    Type::TEXT,
    Type::TEXT,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::BOOL,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
];

/// Writes a heartbeat, unless the name belongs to a dead worker or to another one; answers with a row if it is written.
/// Parameters: the columns.
static BEAT: Sql = Sql {
    text: concat!(
        "INSERT INTO {schema}.workers AS old (",
        worker_columns!(),
        ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) \
           ON CONFLICT (name) DO UPDATE SET host = excluded.host, pid = excluded.pid, \
             started_at = excluded.started_at, beat_at = excluded.beat_at, beats = excluded.beats, \
             lease_ms = excluded.lease_ms, queues = excluded.queues, kinds = excluded.kinds, slots = excluded.slots, \
             running = excluded.running, stuck = excluded.stuck, stopping = excluded.stopping, \
             trials = excluded.trials, details = excluded.details, trouble = excluded.trouble \
           WHERE NOT old.dead AND old.incarnation = excluded.incarnation RETURNING name"
    ),
    types: &WORKER_TYPES,
};

/// Writes the row of a dead worker that has none. Parameters: the columns.
static DIE_WITHOUT_A_ROW: Sql = Sql {
    text: concat!(
        "INSERT INTO {schema}.workers (",
        worker_columns!(),
        ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) ON CONFLICT (name) DO NOTHING"
    ),
    types: &WORKER_TYPES,
};

/// Declares a worker dead unless its heartbeat has moved on. Parameters: name, heartbeats.
static DIE: Sql = Sql {
    text: "UPDATE {schema}.workers SET dead = true WHERE name = $1 AND beats = $2",
    types: &[Type::TEXT, Type::INT8],
};

/// Whether a worker is dead. Parameter: name.
static IS_DEAD: Sql = Sql { text: "SELECT dead FROM {schema}.workers WHERE name = $1", types: &[Type::TEXT] };

/// Deletes the row of a worker. Parameter: name.
static LEAVE: Sql = Sql { text: "DELETE FROM {schema}.workers WHERE name = $1", types: &[Type::TEXT] };

/// Deletes the rows of dead workers whose last heartbeat was before a moment, except one. Parameters: the moment, the
/// name of that one.
static FORGET: Sql = Sql {
    text: "DELETE FROM {schema}.workers WHERE dead AND beat_at < $1 AND name <> $2",
    types: &[Type::TIMESTAMPTZ, Type::TEXT],
};

/// Workers whose last heartbeat was at or after a moment. Parameter: it.
static WORKERS: Sql = Sql {
    text: concat!("SELECT ", worker_columns!(), " FROM {schema}.workers WHERE beat_at >= $1 ORDER BY name"),
    types: &[Type::TIMESTAMPTZ],
};

/// Names of workers under which jobs run. Each is found from the one before by one index lookup, however many jobs run.
/// And those of trays, of which there are few.
static HOLDING: Sql = Sql {
    text: "WITH RECURSIVE holding (worker) AS ( \
             (SELECT worker FROM {schema}.jobs WHERE state = 'running' ORDER BY worker LIMIT 1) \
             UNION ALL \
             SELECT (SELECT worker FROM {schema}.jobs WHERE state = 'running' AND worker > holding.worker \
               ORDER BY worker LIMIT 1) FROM holding WHERE worker IS NOT NULL) \
           SELECT worker FROM holding WHERE worker IS NOT NULL UNION ALL SELECT worker FROM {schema}.trays",
    types: &[],
};

/// Running jobs of a worker by id, after a place in that order, in `jobs` and on trays. Parameters: name, the place,
/// limit.
static RUNNING_OF: Sql = Sql {
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM ((SELECT ",
        columns!(),
        " FROM {schema}.jobs WHERE state = 'running' AND worker = $1 AND id > $2 ORDER BY worker, id LIMIT $3) \
         UNION ALL (SELECT ",
        columns!(),
        " FROM {schema}.jobs_on_trays WHERE worker = $1 AND id > $2)) AS running ORDER BY id LIMIT $3"
    ),
    types: &[Type::TEXT, Type::UUID, Type::INT8],
};

/// Writes a heartbeat.
pub(crate) async fn beat(core: &Core, worker: &WorkerRow) -> Result<Beaten, Fault> {
    let written = write(&core.vital, &BEAT, worker).await?;
    Ok(if written.is_empty() { Beaten::Dead } else { Beaten::Alive })
}

async fn write(link: &Link, sql: &'static Sql, worker: &WorkerRow) -> Result<Vec<Row>, Fault> {
    let (queues, kinds) = (row::encoded(&worker.queues)?, row::encoded(&worker.kinds)?);
    let (trials, details) = (row::encoded(&worker.trials)?, row::encoded(&worker.details)?);
    let number = i64::from;
    // A heartbeat waits only briefly for a lock.
    link.query_waiting(
        Wait::Briefly,
        sql,
        &[
            &worker.name,
            &worker.incarnation,
            &worker.host,
            &number(worker.pid),
            &PgTimestamp(worker.started_at),
            &PgTimestamp(worker.beat_at),
            &row::revision(worker.beats),
            &worker.dead,
            &row::millis(Duration::from_millis(worker.lease_ms)),
            &queues,
            &kinds,
            &number(worker.slots),
            &number(worker.running),
            &number(worker.stuck),
            &worker.stopping,
            &trials,
            &details,
            &worker.trouble,
        ],
    )
    .await
}

/// Deletes the row of a worker that stopped: after its last heartbeat, on the same connection.
pub(crate) async fn leave(core: &Core, worker: &str) -> Result<(), Fault> {
    core.vital.query(&LEAVE, &[&worker]).await?;
    Ok(())
}

/// Workers whose last heartbeat was at or after `since`, by name.
pub(crate) async fn workers(core: &Core, since: Timestamp) -> Result<Vec<WorkerRow>, Fault> {
    core.reads.query(&WORKERS, &[&PgTimestamp(since)]).await?.iter().map(worker).collect()
}

/// Every worker that has a row, and every name without one under which jobs run, by name.
pub(crate) async fn holders(core: &Core) -> Result<Vec<Holder>, Fault> {
    let mut holders = BTreeMap::new();
    for row in core.claims.query(&HOLDING, &[]).await? {
        let name: String = row.try_get(0)?;
        holders.insert(name.clone(), Holder { name, row: None, holds: true });
    }
    for row in core.claims.query(&WORKERS, &[&PgTimestamp(Timestamp::MIN)]).await? {
        let row = worker(&row)?;
        let name = row.name.clone();
        let holder = Holder { name: name.clone(), row: None, holds: false };
        holders.entry(name).or_insert(holder).row = Some(row);
    }
    Ok(holders.into_values().collect())
}

/// Declares a worker dead unless its heartbeat has moved on; answers whether it is dead.
pub(crate) async fn declare_dead(
    core: &Core,
    worker: &str,
    beats: Option<u64>,
    now: Timestamp,
) -> Result<bool, Fault> {
    core.claims.query(&FORGET, &[&PgTimestamp(earlier(now, DEAD_REMEMBERED)), &worker]).await?;
    match beats {
        Some(beats) => core.claims.query(&DIE, &[&worker, &row::revision(beats)]).await?,
        None => write(&core.claims, &DIE_WITHOUT_A_ROW, &dead_without_a_row(worker, now)).await?,
    };
    let rows = core.claims.query(&IS_DEAD, &[&worker]).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(false))
}

/// Running jobs of one worker by id, after a place in that order.
pub(crate) async fn running_of(
    core: &Core,
    worker: &str,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<RunningJob>, Fault> {
    // Before every place: the smallest id, which no job has.
    let after = after.map_or(Uuid::nil(), |after| after.0);
    row::running(&core.claims.query(&RUNNING_OF, &[&worker, &after, &row::at_most(limit)]).await?)
}

fn worker(row: &Row) -> Result<WorkerRow, Fault> {
    Ok(WorkerRow {
        name: row.try_get(0)?,
        incarnation: row.try_get(1)?,
        host: row.try_get(2)?,
        pid: row::number(row, 3)?,
        started_at: row::moment(row, 4)?,
        beat_at: row::moment(row, 5)?,
        beats: row.try_get::<_, i64>(6)?.unsigned_abs(),
        dead: row.try_get(7)?,
        lease_ms: row.try_get::<_, i64>(8)?.unsigned_abs(),
        queues: row::decoded(row.try_get(9)?)?,
        kinds: row::decoded(row.try_get(10)?)?,
        slots: row::number(row, 11)?,
        running: row::number(row, 12)?,
        stuck: row::number(row, 13)?,
        stopping: row.try_get(14)?,
        trials: row::decoded(row.try_get(15)?)?,
        details: row::decoded(row.try_get(16)?)?,
        trouble: row.try_get(17)?,
    })
}
