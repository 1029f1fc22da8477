//! Queues and their settings.

use backroom_core::{Queue, queue};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    error::Fault,
    hints::Hints,
    row::{self, micros},
};
use crate::store::{QueueSetting, verbs::apply_setting};

/// Every queue that a job or a setting ever named, by name.
pub(super) fn queues(connection: &Connection) -> Result<Vec<Queue>, Fault> {
    let mut select =
        connection.prepare_cached("SELECT name, paused_at, retention FROM backroom_queues ORDER BY name")?;
    let rows = select.query_map([], queue)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Changes one setting of a queue.
pub(super) fn set_queue(
    connection: &Connection,
    name: &str,
    setting: &QueueSetting,
    hints: &mut Hints,
) -> Result<(), Fault> {
    let mut select = connection
        .prepare_cached("SELECT name, paused_at, retention FROM backroom_queues WHERE name = ?1")?;
    let mut changed = select.query_row([name], queue).optional()?.unwrap_or_else(|| Queue::new(name));
    apply_setting(&mut changed, setting);
    let mut upsert = connection.prepare_cached(
        "INSERT INTO backroom_queues (name, paused_at, retention) VALUES (?1, ?2, ?3) \
         ON CONFLICT (name) DO UPDATE SET paused_at = excluded.paused_at, retention = excluded.retention",
    )?;
    upsert.execute(params![name, changed.paused_at.map(micros), row::encoded(Some(&changed.retention))?])?;
    // A resumed queue may have jobs that are due.
    hints.queue(name);
    Ok(())
}

fn queue(found: &Row<'_>) -> rusqlite::Result<queue::Queue> {
    Ok(Queue {
        name: found.get(0)?,
        paused_at: row::moment_or_none(found, 1)?,
        retention: row::decoded(found, 2)?.unwrap_or_default(),
    })
}
