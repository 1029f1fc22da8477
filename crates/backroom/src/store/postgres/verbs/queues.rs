//! Queues and their settings.

use backroom_core::{PausedBy, Queue};
use tokio_postgres::{Row, types::Type};

use super::insert::NAME_QUEUES;
use crate::store::postgres::{
    Core,
    columns::{row, timestamp::opt},
    wire::{error::Fault, sql::Sql},
};
use crate::{
    Error, ErrorKind,
    store::{QueueSetting, apply_setting},
};

/// Every queue. No parameter.
static QUEUES: Sql = Sql {
    text: "SELECT name, paused_at, paused_by, retention, depth_max FROM {schema}.queues ORDER BY name",
    types: &[],
};

/// One queue, locked until the transaction ends. Parameter: name.
static QUEUE: Sql = Sql {
    text: "SELECT name, paused_at, paused_by, retention, depth_max FROM {schema}.queues WHERE name = $1 FOR UPDATE",
    types: &[Type::TEXT],
};

/// Writes the settings of a queue. Parameters: name, paused_at, retention, paused_by, depth_max.
static SET: Sql = Sql {
    text: "UPDATE {schema}.queues SET paused_at = $2, retention = $3, paused_by = $4, depth_max = $5 WHERE name = $1",
    types: &[Type::TEXT, Type::TIMESTAMPTZ, Type::TEXT, Type::TEXT, Type::INT8],
};

/// Every queue, by name.
pub(crate) async fn queues(core: &Core) -> Result<Vec<Queue>, Fault> {
    core.reads.query(&QUEUES, &[]).await?.iter().map(queue).collect()
}

/// Changes one setting; creates the queue if there is none.
pub(crate) async fn set_queue(core: &Core, name: &str, setting: &QueueSetting) -> Result<(), Fault> {
    let transaction = core.writer.begin().await?;
    transaction.query(&NAME_QUEUES, &[&[name].as_slice()]).await?;
    let rows = transaction.query(&QUEUE, &[&name]).await?;
    let found = rows.first().ok_or_else(|| Error::new(ErrorKind::Internal, "change a queue: it vanished"))?;
    let mut queue = queue(found)?;
    apply_setting(&mut queue, setting);
    let retention = row::encoded(&queue.retention)?;
    let paused_by = queue.paused_by.map(PausedBy::as_str);
    let depth_max = queue.depth_max.map(|depth_max| i64::try_from(depth_max).unwrap_or(i64::MAX));
    transaction.query(&SET, &[&name, &opt(queue.paused_at), &retention, &paused_by, &depth_max]).await?;
    transaction.commit().await?;
    core.limits.forget();
    // A resumed queue may have due jobs at places that claims have passed already.
    core.hints.behind();
    core.hints.queue(name);
    Ok(())
}

fn queue(row: &Row) -> Result<Queue, Fault> {
    let paused_by = row.try_get::<_, Option<&str>>(2)?;
    let retention = row.try_get::<_, Option<&str>>(3)?.map(row::decoded).transpose()?;
    Ok(Queue {
        name: row.try_get(0)?,
        paused_at: row::moment_or_none(row, 1)?,
        paused_by: PausedBy::ALL.into_iter().find(|by| Some(by.as_str()) == paused_by),
        retention: retention.unwrap_or_default(),
        depth_max: row.try_get::<_, Option<i64>>(4)?.map(i64::unsigned_abs),
    })
}
