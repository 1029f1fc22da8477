//! Keeping leases.

use std::collections::HashMap;

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    Core,
    error::Fault,
    moment::Moment,
    sql::{Sql, rows_by_id},
};
use crate::store::{Extend, Held};

/// Moves the leases that are still held; answers with the runs and whether a cancel is marked. The revision stays: a
/// heartbeat must not make stale what a worker is about to report. Parameters: ids, leases, until.
static EXTEND: Sql = Sql {
    text: concat!(
        "UPDATE {schema}.jobs SET lease_until = $3 FROM unnest($1::uuid[], $2::uuid[]) AS new (id, lease) ",
        rows_by_id!(),
        " AND jobs.lease_id = new.lease AND jobs.lease_until IS NOT NULL \
         RETURNING jobs.id, jobs.lease_id, jobs.cancel_requested_at IS NOT NULL"
    ),
    types: &[Type::UUID_ARRAY, Type::UUID_ARRAY, Type::TIMESTAMPTZ],
};

/// Moves the leases; one answer per lease, in order.
pub(super) async fn extend(core: &Core, extend: &Extend) -> Result<Vec<Held>, Fault> {
    let mut runs: Vec<(Uuid, Uuid)> = extend.leases.iter().map(|(id, lease)| (id.0, lease.0)).collect();
    // In the order of ids, so that two batches do not wait for each other in a circle.
    runs.sort_unstable();
    runs.dedup();
    let mut held = HashMap::with_capacity(runs.len());
    for chunk in runs.chunks(super::insert::ROWS_MAX) {
        let (ids, leases): (Vec<Uuid>, Vec<Uuid>) = chunk.iter().copied().unzip();
        for row in core.writer.query(&EXTEND, &[&ids, &leases, &Moment(extend.until)]).await? {
            let answer = if row.try_get(2)? { Held::CancelRequested } else { Held::Yes };
            held.insert((row.try_get::<_, Uuid>(0)?, row.try_get::<_, Uuid>(1)?), answer);
        }
    }
    let answer = |(id, lease): &(backroom_core::JobId, backroom_core::LeaseId)| {
        held.get(&(id.0, lease.0)).copied().unwrap_or(Held::Lost)
    };
    Ok(extend.leases.iter().map(answer).collect())
}
