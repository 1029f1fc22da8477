//! Keeping leases.
//!
//! Nothing here waits for long: while one row is held by a transaction that somebody left open, the leases of all other
//! runs must be renewed. So it goes by the connection for claims, where nothing waits for others, too.

use std::collections::{HashMap, HashSet};

use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{
    Core,
    error::Fault,
    moment::Moment,
    settings::Wait,
    sql::{Sql, rows_by_id},
    tray,
};
use crate::store::{Extend, Held};

/// Runs that still hold their lease.
macro_rules! that_hold_their_lease {
    () => {
        " AND jobs.lease_id = new.lease AND jobs.lease_until IS NOT NULL"
    };
}

/// What is answered for a run: job, lease, and whether a cancel is marked.
macro_rules! answer {
    () => {
        "jobs.id, jobs.lease_id, jobs.cancel_requested_at IS NOT NULL"
    };
}

/// Moves the leases that are still held and whose row nobody else holds, never back; answers with the runs. The revision
/// stays: a heartbeat must not make stale what a worker is about to report. Parameters: ids, leases, until.
static EXTEND_FREE: Sql = Sql {
    text: concat!(
        "WITH free AS MATERIALIZED ( \
           SELECT jobs.id, new.lease FROM unnest($1::uuid[], $2::uuid[]) AS new (id, lease), {schema}.jobs ",
        rows_by_id!(),
        that_hold_their_lease!(),
        " FOR NO KEY UPDATE OF jobs SKIP LOCKED) \
         UPDATE {schema}.jobs SET lease_until = greatest(lease_until, $3) FROM free AS new ",
        rows_by_id!(),
        that_hold_their_lease!(),
        " RETURNING ",
        answer!()
    ),
    types: &[Type::UUID_ARRAY, Type::UUID_ARRAY, Type::TIMESTAMPTZ],
};

/// The same, waiting for whoever holds a row.
static EXTEND: Sql = Sql {
    text: concat!(
        "UPDATE {schema}.jobs SET lease_until = greatest(lease_until, $3) \
         FROM unnest($1::uuid[], $2::uuid[]) AS new (id, lease) ",
        rows_by_id!(),
        that_hold_their_lease!(),
        " RETURNING ",
        answer!()
    ),
    types: &[Type::UUID_ARRAY, Type::UUID_ARRAY, Type::TIMESTAMPTZ],
};

/// Which leases are held, whoever holds the rows. Parameters: ids, leases.
static HELD: Sql = Sql {
    text: concat!(
        "SELECT ",
        answer!(),
        " FROM unnest($1::uuid[], $2::uuid[]) AS new (id, lease), {schema}.jobs ",
        rows_by_id!(),
        that_hold_their_lease!()
    ),
    types: &[Type::UUID_ARRAY, Type::UUID_ARRAY],
};

/// Job and lease.
type Run = (Uuid, Uuid);

/// Moves the leases; one answer per lease, in order.
pub(super) async fn extend(core: &Core, extend: &Extend) -> Result<Vec<Held>, Fault> {
    let mut runs: Vec<Run> = extend.leases.iter().map(|(id, lease)| (id.0, lease.0)).collect();
    // In the order of ids, so that two batches do not wait for each other in a circle.
    runs.sort_unstable();
    runs.dedup();
    // What runs for so long that its lease is renewed gets a row of its own.
    let on_trays = core.trays.among(extend.leases.iter().map(|(_, lease)| *lease));
    tray::unload(core, &core.claims, on_trays).await?;
    let mut kept = HashSet::new();
    let mut held = HashMap::with_capacity(runs.len());
    for chunk in runs.chunks(super::insert::ROWS_MAX) {
        kept.extend(extend_chunk(core, chunk, Moment(extend.until), &mut held).await?);
    }
    // On a tray that somebody keeps: held as long as nobody writes it, and the next beat tries again.
    for run in kept {
        held.entry(run).or_insert(Held::Yes);
    }
    let answer = |(id, lease): &(backroom_core::JobId, backroom_core::LeaseId)| {
        held.get(&(id.0, lease.0)).copied().unwrap_or(Held::Lost)
    };
    Ok(extend.leases.iter().map(answer).collect())
}

/// Moves what can be moved; answers with runs on trays that are kept.
async fn extend_chunk(
    core: &Core,
    runs: &[Run],
    until: Moment,
    held: &mut HashMap<Run, Held>,
) -> Result<HashSet<Run>, Fault> {
    let (ids, leases): (Vec<Uuid>, Vec<Uuid>) = runs.iter().copied().unzip();
    note(held, &core.claims.query(&EXTEND_FREE, &[&ids, &leases, &until]).await?)?;
    let mut left: Vec<Run> = runs.iter().copied().filter(|run| !held.contains_key(run)).collect();
    let unloaded = tray::unload(core, &core.claims, leases_of(&left)).await?;
    let on_kept_trays = unloaded.kept_runs(&core.claims).await?;
    if unloaded.trays > 0 {
        // Claimed by another process, which is why nothing was known here.
        note(held, &core.claims.query(&EXTEND_FREE, &[&ids, &leases, &until]).await?)?;
    }
    left.retain(|run| !held.contains_key(run) && !on_kept_trays.contains(run));
    if left.is_empty() {
        return Ok(on_kept_trays);
    }
    // Lost; or in the hands of somebody, most often for a moment only.
    let (ids, leases): (Vec<Uuid>, Vec<Uuid>) = left.iter().copied().unzip();
    let mut kept = HashMap::new();
    note(&mut kept, &core.claims.query(&HELD, &[&ids, &leases]).await?)?;
    left.retain(|run| kept.contains_key(run));
    if left.is_empty() {
        return Ok(on_kept_trays);
    }
    let (ids, leases): (Vec<Uuid>, Vec<Uuid>) = left.into_iter().unzip();
    match core.claims.query_waiting(Wait::Briefly, &EXTEND, &[&ids, &leases, &until]).await {
        Ok(rows) => note(held, &rows).map(|()| on_kept_trays),
        // Held as long as nobody writes the row, and the next beat tries again.
        Err(fault) if fault.is_locked_out() => {
            tracing::debug!(
                jobs = ids.len(),
                "another transaction keeps rows whose leases are to be renewed"
            );
            held.extend(kept);
            Ok(on_kept_trays)
        }
        Err(fault) => Err(fault),
    }
}

fn leases_of(runs: &[Run]) -> Vec<Uuid> {
    runs.iter().map(|(_, lease)| *lease).collect()
}

fn note(held: &mut HashMap<Run, Held>, rows: &[Row]) -> Result<(), Fault> {
    for row in rows {
        let answer = if row.try_get(2)? { Held::CancelRequested } else { Held::Yes };
        held.insert((row.try_get(0)?, row.try_get(1)?), answer);
    }
    Ok(())
}
