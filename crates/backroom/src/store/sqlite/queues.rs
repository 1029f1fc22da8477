//! Queues and their settings.

use backroom_core::{PausedBy, Queue, queue};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    error::Fault,
    hints::Hints,
    row::{self, micros},
};
use crate::store::{QueueSetting, apply_setting};

/// Every queue that a job or a setting ever named, by name.
pub(super) fn queues(connection: &Connection) -> Result<Vec<Queue>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT name, paused_at, paused_by, retention, depth_max FROM backroom_queues ORDER BY name",
    )?;
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
    let mut select = connection.prepare_cached(
        "SELECT name, paused_at, paused_by, retention, depth_max FROM backroom_queues WHERE name = ?1",
    )?;
    let mut changed = select.query_row([name], queue).optional()?.unwrap_or_else(|| Queue::new(name));
    apply_setting(&mut changed, setting);
    let mut upsert = connection.prepare_cached(
        "INSERT INTO backroom_queues (name, paused_at, paused_by, retention, depth_max) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (name) DO UPDATE SET paused_at = excluded.paused_at, paused_by = excluded.paused_by, \
             retention = excluded.retention, depth_max = excluded.depth_max",
    )?;
    let paused_by = changed.paused_by.map(PausedBy::as_str);
    let retention = row::encoded(Some(&changed.retention))?;
    let depth_max = changed.depth_max.map(row::revision);
    upsert.execute(params![name, changed.paused_at.map(micros), paused_by, retention, depth_max])?;
    // A resumed queue may have jobs that are due.
    hints.queue(name);
    Ok(())
}

fn queue(found: &Row<'_>) -> rusqlite::Result<queue::Queue> {
    let paused_by: Option<String> = found.get(2)?;
    Ok(Queue {
        name: found.get(0)?,
        paused_at: row::moment_or_none(found, 1)?,
        paused_by: PausedBy::ALL.into_iter().find(|by| Some(by.as_str()) == paused_by.as_deref()),
        retention: row::decoded(found, 3)?.unwrap_or_default(),
        depth_max: found.get::<_, Option<i64>>(4)?.map(i64::unsigned_abs),
    })
}
