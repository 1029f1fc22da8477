//! What workers say of themselves.

use std::time::Duration;

use backroom_core::Timestamp;
use tokio_postgres::{Row, types::Type};

use super::{Core, error::Fault, moment::Moment, row, settings::Wait, sql::Sql};
use crate::store::WorkerRow;

/// How long a worker that says nothing more is remembered, in days: long enough to be seen as dead, not for ever.
const REMEMBERED: &str = "7 days";

/// Writes what a worker says. Parameters: the columns.
static BEAT: Sql = Sql {
    text: "INSERT INTO {schema}.workers \
             (name, host, pid, started_at, beat_at, lease_ms, queues, kinds, slots, running, stuck, stopping, trials, \
             trouble) \
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
           ON CONFLICT (name) DO UPDATE SET host = excluded.host, pid = excluded.pid, \
             started_at = excluded.started_at, beat_at = excluded.beat_at, \
             lease_ms = excluded.lease_ms, queues = excluded.queues, \
             kinds = excluded.kinds, slots = excluded.slots, running = excluded.running, stuck = excluded.stuck, \
             stopping = excluded.stopping, trials = excluded.trials, \
             trouble = excluded.trouble",
    types: &[
        Type::TEXT,
        Type::TEXT,
        Type::INT8,
        Type::TIMESTAMPTZ,
        Type::TIMESTAMPTZ,
        Type::INT8,
        Type::TEXT,
        Type::TEXT,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::BOOL,
        Type::TEXT,
        Type::TEXT,
    ],
};

/// Forgets a worker. Parameter: name.
static LEAVE: Sql = Sql { text: "DELETE FROM {schema}.workers WHERE name = $1", types: &[Type::TEXT] };

/// Forgets workers that have long been silent. Parameters: now, how long one is remembered.
static FORGET: Sql = Sql {
    text: "DELETE FROM {schema}.workers WHERE beat_at < $1::timestamptz - $2::text::interval",
    types: &[Type::TIMESTAMPTZ, Type::TEXT],
};

/// Workers that beat at or after a moment. Parameter: it.
static WORKERS: Sql = Sql {
    text: "SELECT name, host, pid, started_at, beat_at, lease_ms, queues, kinds, slots, running, stuck, stopping, trials, \
           trouble \
           FROM {schema}.workers WHERE beat_at >= $1 ORDER BY name",
    types: &[Type::TIMESTAMPTZ],
};

/// Writes what a worker says of itself.
pub(super) async fn beat(core: &Core, worker: &WorkerRow) -> Result<(), Fault> {
    let (queues, kinds) = (row::encoded(&worker.queues)?, row::encoded(&worker.kinds)?);
    let trials = row::encoded(&worker.trials)?;
    let number = i64::from;
    // As the leases that are renewed with it: it waits for nobody for long.
    core.claims
        .query_waiting(
            Wait::Briefly,
            &BEAT,
            &[
                &worker.name,
                &worker.host,
                &number(worker.pid),
                &Moment(worker.started_at),
                &Moment(worker.beat_at),
                &row::millis(Duration::from_millis(worker.lease_ms)),
                &queues,
                &kinds,
                &number(worker.slots),
                &number(worker.running),
                &number(worker.stuck),
                &worker.stopping,
                &trials,
                &worker.trouble,
            ],
        )
        .await?;
    Ok(())
}

/// Forgets a worker that stopped.
pub(super) async fn leave(core: &Core, worker: &str) -> Result<(), Fault> {
    core.writer.query(&LEAVE, &[&worker]).await?;
    Ok(())
}

/// Forgets workers that have long been silent.
pub(super) async fn forget(core: &Core, now: Timestamp) -> Result<(), Fault> {
    core.writer.query(&FORGET, &[&Moment(now), &REMEMBERED]).await.map(drop)
}

/// Workers that beat at or after `since`, by name.
pub(super) async fn workers(core: &Core, since: Timestamp) -> Result<Vec<WorkerRow>, Fault> {
    core.reads.query(&WORKERS, &[&Moment(since)]).await?.iter().map(worker).collect()
}

fn worker(row: &Row) -> Result<WorkerRow, Fault> {
    Ok(WorkerRow {
        name: row.try_get(0)?,
        host: row.try_get(1)?,
        pid: row::number(row, 2)?,
        started_at: row::moment(row, 3)?,
        beat_at: row::moment(row, 4)?,
        lease_ms: row.try_get::<_, i64>(5)?.unsigned_abs(),
        queues: row::decoded(row.try_get(6)?)?,
        kinds: row::decoded(row.try_get(7)?)?,
        slots: row::number(row, 8)?,
        running: row::number(row, 9)?,
        stuck: row::number(row, 10)?,
        stopping: row.try_get(11)?,
        trials: row::decoded(row.try_get(12)?)?,
        trouble: row.try_get(13)?,
    })
}
