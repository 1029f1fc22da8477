//! Which leases are held.
//!
//! It uses the connection for heartbeats, where no statement waits for other transactions.

use std::collections::HashMap;

use backroom_core::{JobId, LeaseId};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use crate::store::LeaseStatus;
use crate::store::postgres::{
    Core, tray,
    wire::{
        error::Fault,
        sql::{Sql, rows_by_id},
    },
};

/// Which runs hold their lease: job, lease, and whether a cancel is marked. Parameters: ids, leases.
static HELD: Sql = Sql {
    text: concat!(
        "SELECT jobs.id, jobs.lease_id, jobs.cancel_requested_at IS NOT NULL \
         FROM unnest($1::uuid[], $2::uuid[]) AS new (id, lease), {schema}.jobs ",
        rows_by_id!(),
        " AND jobs.lease_id = new.lease AND jobs.lease_until IS NOT NULL"
    ),
    types: &[Type::UUID_ARRAY, Type::UUID_ARRAY],
};

/// Job and lease.
type Run = (Uuid, Uuid);

/// One answer per lease, in order.
pub(crate) async fn held(core: &Core, leases: &[(JobId, LeaseId)]) -> Result<Vec<LeaseStatus>, Fault> {
    let mut runs: Vec<Run> = leases.iter().map(|(id, lease)| (id.0, lease.0)).collect();
    runs.sort_unstable();
    runs.dedup();
    // A run that is old enough for this question is long. It gets a row of its own, off its tray.
    let on_trays = core.trays.among(leases.iter().map(|(_, lease)| *lease));
    tray::unload(core, &core.vital, on_trays).await?;
    let mut held = HashMap::with_capacity(runs.len());
    for chunk in runs.chunks(super::insert::ROWS_MAX) {
        note(&mut held, &read(core, chunk).await?)?;
        let left: Vec<Run> = chunk.iter().copied().filter(|run| !held.contains_key(run)).collect();
        if left.is_empty() {
            continue;
        }
        // Lost, or on a tray that another process made or another transaction has locked.
        let unloaded =
            tray::unload(core, &core.vital, left.iter().map(|(_, lease)| *lease).collect()).await?;
        let locked = unloaded.locked_runs(&core.vital).await?;
        if unloaded.trays > 0 {
            note(&mut held, &read(core, &left).await?)?;
        }
        for run in left.into_iter().filter(|run| locked.contains(run)) {
            held.entry(run).or_insert(LeaseStatus::Held);
        }
    }
    let answer =
        |(id, lease): &(JobId, LeaseId)| held.get(&(id.0, lease.0)).copied().unwrap_or(LeaseStatus::Lost);
    Ok(leases.iter().map(answer).collect())
}

async fn read(core: &Core, runs: &[Run]) -> Result<Vec<Row>, Fault> {
    let (ids, leases): (Vec<Uuid>, Vec<Uuid>) = runs.iter().copied().unzip();
    core.vital.query(&HELD, &[&ids, &leases]).await
}

fn note(held: &mut HashMap<Run, LeaseStatus>, rows: &[Row]) -> Result<(), Fault> {
    for row in rows {
        let answer = if row.try_get(2)? { LeaseStatus::CancelRequested } else { LeaseStatus::Held };
        held.insert((row.try_get(0)?, row.try_get(1)?), answer);
    }
    Ok(())
}
