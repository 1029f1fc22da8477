//! Many jobs of one claim in one row.
//!
//! A claim of many jobs takes their rows out of `jobs` and lays them on a *tray*: one row of `trays`, which is written once
//! instead of once per job. Runs that succeed go from there to the history. Whatever else concerns one of them (a
//! failure, progress, a heartbeat, a cancel, the end of the lease) unloads the tray first: all that has not ended becomes
//! rows of `jobs` again, and the other rooms find there what they always do. So a job lies in one place at any moment:
//! in `jobs`, on a tray, or in `finished` (of which the tray keeps a copy that is never looked at again).
//!
//! What makes that safe: whoever ends a job of a tray and whoever unloads it locks the tray's row first, and looks into the
//! history only afterwards; and what takes a job out of the history leaves alone (pruning) or unloads (deleting,
//! reviving) those that a tray still has. See `docs/decisions/0034`.

mod known;

use std::collections::HashMap;

use backroom_core::{Change, JobId, LeaseId, Timestamp};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

pub(super) use self::known::Trays;
use super::{
    Core,
    connection::Link,
    error::Fault,
    moment::Moment,
    settings::Wait,
    sql::{Sql, columns},
    successes::{SUCCESS_TYPES, Successes, unnested_successes},
};

/// Trays that are unloaded in one transaction.
const TRAYS_MAX: i64 = 16;

/// Finishes runs that succeeded and lie on trays; answers with ids and leases. The row of a tray is locked first and counts what is
/// left on it; the last one takes it away. Parameters: successes.
///
/// What a tray has and what is to be ended are joined by FULL JOIN, which the planner can only do by sorting or hashing both:
/// for the inner join that is meant, which the CASE makes of it, it would compare each with each, because our
/// connections have the other ways turned off (`docs/decisions/0021`).
static SUCCEED: Sql = Sql {
    text: concat!(
        "WITH new AS MATERIALIZED (SELECT * FROM ",
        unnested_successes!(),
        "), \
           held AS MATERIALIZED (SELECT * FROM {schema}.trays \
             WHERE lease_id = ANY (ARRAY(SELECT DISTINCT lease FROM new)) ORDER BY lease_id FOR UPDATE), \
           ended AS ( \
             INSERT INTO {schema}.finished \
               (id, kind, queue, lane, priority, state, args, attempt, max_attempts, crashes, scheduled_at, expires_at, \
               timeout_ms, retry, unique_held, lease_id, worker, output, woken, created_at, started_at, finished_at, \
               tags, meta, revision) \
             SELECT job.id, kind, queue, lane, priority, 'completed', args, attempt, max_attempts, crashes, scheduled_at, \
               expires_at, timeout_ms, retry, false, lease_id, worker, new.output, false, created_at, started_at, \
               new.finished_at, tags, meta, job.revision + 1 \
             FROM (SELECT held.lease_id, held.worker, held.started_at, job.* \
               FROM held CROSS JOIN LATERAL unnest(held.jobs) AS job) AS job FULL JOIN new ON new.id = job.id \
             WHERE CASE WHEN new.id IS NULL THEN false \
               ELSE new.revision = job.revision AND new.lease = job.lease_id END \
             RETURNING id, lease_id), \
           counted AS (SELECT lease_id, count(*) AS jobs FROM ended GROUP BY lease_id), \
           emptied AS (DELETE FROM {schema}.trays USING counted \
             WHERE trays.lease_id = ANY (ARRAY[counted.lease_id]) AND trays.live <= counted.jobs), \
           lightened AS (UPDATE {schema}.trays SET live = live - counted.jobs FROM counted \
             WHERE trays.lease_id = ANY (ARRAY[counted.lease_id]) AND trays.live > counted.jobs) \
           SELECT id, lease_id FROM ended"
    ),
    types: &SUCCESS_TYPES,
};

/// Which of these leases have a tray. Parameter: leases.
static WITH_TRAY: Sql = Sql {
    text: "SELECT lease_id FROM {schema}.trays WHERE lease_id = ANY ($1::uuid[])",
    types: &[Type::UUID_ARRAY],
};

/// Leases with a tray that ran out. Parameters: now, limit.
static LAPSED: Sql = Sql {
    text: "SELECT lease_id FROM {schema}.trays WHERE lease_until <= $1 ORDER BY lease_until LIMIT $2 \
           FOR UPDATE SKIP LOCKED",
    types: &[Type::TIMESTAMPTZ, Type::INT8],
};

/// The lease under which a finished job ran, if it has a tray still. Parameter: the job.
static OF_FINISHED: Sql = Sql {
    text: "SELECT lease_id FROM {schema}.trays \
           WHERE lease_id = (SELECT lease_id FROM {schema}.finished WHERE id = $1)",
    types: &[Type::UUID],
};

/// Keeps trays for ourselves. A statement by itself, so that the next one sees what had ended by the time we have them.
/// Parameter: leases.
static LOCK: Sql = Sql {
    text: "SELECT lease_id FROM {schema}.trays WHERE lease_id = ANY ($1::uuid[]) ORDER BY lease_id FOR UPDATE",
    types: &[Type::UUID_ARRAY],
};

/// Makes what has not ended rows of `jobs`. Parameter: leases.
static LOAD_OFF: Sql = Sql {
    text: concat!(
        "INSERT INTO {schema}.jobs (",
        columns!(),
        ") SELECT ",
        columns!(),
        " FROM {schema}.jobs_on_trays WHERE lease_id = ANY ($1::uuid[]) ORDER BY id"
    ),
    types: &[Type::UUID_ARRAY],
};

/// Takes trays away. Parameter: leases.
static REMOVE: Sql =
    Sql { text: "DELETE FROM {schema}.trays WHERE lease_id = ANY ($1::uuid[])", types: &[Type::UUID_ARRAY] };

/// Ends runs that succeeded, as far as they lie on trays; answers with their ids.
pub(super) async fn succeed(core: &Core, changes: &[&Change], wait: Wait) -> Result<Vec<JobId>, Fault> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let rows = match core.writer.query_waiting(wait, &SUCCEED, &Successes::of(changes).params()).await {
        // Some of them had ended before: whoever finds them unanswered looks more closely.
        Err(fault) if fault.is_unique_violation() => return Ok(Vec::new()),
        rows => rows?,
    };
    let mut counts: HashMap<LeaseId, usize> = HashMap::new();
    let mut ended = Vec::with_capacity(rows.len());
    for row in rows {
        ended.push(JobId(row.try_get(0)?));
        *counts.entry(LeaseId(row.try_get(1)?)).or_default() += 1;
    }
    counts.into_iter().for_each(|(lease, jobs)| core.trays.ended(lease, jobs));
    Ok(ended)
}

/// Unloads the trays of these leases, where there are any; answers how many.
pub(super) async fn unload(core: &Core, link: &Link, mut leases: Vec<Uuid>) -> Result<usize, Fault> {
    leases.sort_unstable();
    leases.dedup();
    if leases.is_empty() {
        return Ok(0);
    }
    let found = link.query(&WITH_TRAY, &[&leases]).await?;
    let unloaded = unload_found(link, &found).await?;
    core.trays.unloaded(&leases);
    Ok(unloaded)
}

/// Unloads trays whose lease ran out, so that their jobs are found among those whose lease did.
pub(super) async fn unload_lapsed(core: &Core, now: Timestamp) -> Result<(), Fault> {
    loop {
        let found = core.claims.query(&LAPSED, &[&Moment(now), &TRAYS_MAX]).await?;
        if unload_found(&core.claims, &found).await? == 0 {
            return Ok(());
        }
    }
}

/// Unloads the tray that has a copy of a finished job, so that it does not come back when the job is deleted.
pub(super) async fn unload_of_finished(core: &Core, job: JobId) -> Result<(), Fault> {
    let found = core.writer.query(&OF_FINISHED, &[&job.0]).await?;
    unload_found(&core.writer, &found).await.map(drop)
}

async fn unload_found(link: &Link, found: &[Row]) -> Result<usize, Fault> {
    let leases: Vec<Uuid> = found.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    for chunk in leases.chunks(usize::try_from(TRAYS_MAX).unwrap_or(1)) {
        let chunk = chunk.to_vec();
        link.all_or_none(&[(&LOCK, vec![&chunk]), (&LOAD_OFF, vec![&chunk]), (&REMOVE, vec![&chunk])])
            .await?;
    }
    Ok(leases.len())
}
