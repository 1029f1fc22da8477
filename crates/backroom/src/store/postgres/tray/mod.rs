//! Many jobs of one claim in one row.
//!
//! A claim of many jobs moves the plain ones out of `jobs` onto *trays*: rows of `trays`, one for each queue of the
//! claim. Such a row is written once instead of once per job. Runs that succeed go from there to the history. Any other
//! event of such a job (a failure, progress, a heartbeat, a cancel, the death of its worker) unloads the trays of its
//! lease first. All jobs that have not ended become rows of `jobs` again, where every other statement finds them. Reads
//! unload nothing.
//!
//! Core decides at insert which jobs are plain ([`JobRow::is_plain`](backroom_core::JobRow::is_plain)). So no feature that is not
//! allowed there ever meets a tray.
//!
//! A job lies in `jobs`, in `finished` or on a tray, and what is in `finished` counts as removed from its tray. Two rules make
//! that safe (`docs/decisions/0034`):
//!
//! - A transaction that ends jobs of a tray or unloads it locks its row. The unload reads the history in a statement of its
//!   own behind the lock. An end relies on the primary key of `finished` instead, which refuses what had ended before.
//! - No transaction deletes from `finished` what a tray still has: pruning passes over it; delete and revival unload first.
//!
//! A tray that another transaction has locked is passed over, or waited for a tenth of a second, and then reported as locked, as
//! rows are.

mod known;

use std::collections::{HashMap, HashSet};

use backroom_core::{Change, JobId, LeaseId};
use tokio_postgres::types::Type;
use uuid::Uuid;

pub(super) use self::known::Trays;
use crate::store::postgres::{
    Core,
    columns::successes::{SUCCESS_TYPES, Successes, unnested_successes},
    wire::{
        connection::Link,
        error::Fault,
        settings::BRIEFLY,
        sql::{Sql, columns},
    },
};

/// Finishes runs that succeeded and lie on trays; answers with ids and leases. The row of a tray is locked first, and a tray
/// that another transaction has locked is passed over. The row counts what is left on it; the last end deletes it.
/// Parameters: successes.
///
/// What a tray has and what is to be ended are joined by FULL JOIN, which the planner can only do by sorting or hashing both.
/// For the inner join that is meant, which the CASE makes of it, it would compare each with each, because our
/// connections have the other ways turned off (`docs/decisions/0021`).
static SUCCEED: Sql = Sql {
    text: concat!(
        "WITH new AS MATERIALIZED (SELECT * FROM ",
        unnested_successes!(),
        "), \
           locked AS MATERIALIZED (SELECT * FROM {schema}.trays \
             WHERE lease_id = ANY (ARRAY(SELECT DISTINCT lease FROM new)) ORDER BY lease_id, queue FOR UPDATE SKIP LOCKED), \
           ended AS ( \
             INSERT INTO {schema}.finished \
               (id, kind, queue, priority, state, args, attempt, max_attempts, crashes, scheduled_at, unique_held, \
               lease_id, worker, output, woken, created_at, started_at, finished_at, tags, extras, revision, plain) \
             SELECT job.id, kind, queue, priority, 'completed', args, 1, max_attempts, 0, scheduled_at, false, \
               lease_id, worker, new.output, false, created_at, started_at, new.finished_at, tags, extras, 2, true \
             FROM (SELECT locked.lease_id, locked.queue, locked.worker, locked.started_at, job.* \
               FROM locked CROSS JOIN LATERAL unnest(locked.jobs) AS job) AS job FULL JOIN new ON new.id = job.id \
             WHERE CASE WHEN new.id IS NULL THEN false ELSE new.revision = 1 AND new.lease = job.lease_id END \
             RETURNING id, lease_id, queue), \
           counted AS ( \
             SELECT locked.lease_id, locked.queue, locked.live - count(*) AS rest FROM locked \
               JOIN ended ON ended.lease_id = locked.lease_id AND ended.queue = locked.queue \
             GROUP BY locked.lease_id, locked.queue, locked.live), \
           emptied AS (DELETE FROM {schema}.trays USING counted \
             WHERE trays.lease_id = ANY (ARRAY[counted.lease_id]) AND trays.queue = counted.queue AND counted.rest <= 0), \
           lightened AS (UPDATE {schema}.trays SET live = counted.rest FROM counted \
             WHERE trays.lease_id = ANY (ARRAY[counted.lease_id]) AND trays.queue = counted.queue AND counted.rest > 0) \
           SELECT id, lease_id FROM ended"
    ),
    types: &SUCCESS_TYPES,
};

/// Which of these leases have trays, and whether all of them are free at this moment. It waits for none, and none is locked any
/// more when it answers. Parameter: leases.
static WITH_TRAY: Sql = Sql {
    text: "WITH free AS MATERIALIZED ( \
             SELECT lease_id, queue FROM {schema}.trays WHERE lease_id = ANY ($1::uuid[]) FOR UPDATE SKIP LOCKED) \
           SELECT lease_id, bool_and(EXISTS (SELECT FROM free \
             WHERE free.lease_id = trays.lease_id AND free.queue = trays.queue)) FROM {schema}.trays \
           WHERE lease_id = ANY ($1::uuid[]) GROUP BY lease_id",
    types: &[Type::UUID_ARRAY],
};

/// The lease under which a finished job ran, if it has a tray still. Parameter: the job.
static OF_FINISHED: Sql = Sql {
    text: "SELECT lease_id FROM {schema}.trays \
           WHERE lease_id = (SELECT lease_id FROM {schema}.finished WHERE id = $1)",
    types: &[Type::UUID],
};

/// What runs on the trays of these leases: job and lease. Parameter: leases.
static RUNS: Sql = Sql {
    text: "SELECT id, lease_id FROM {schema}.jobs_on_trays WHERE lease_id = ANY ($1::uuid[])",
    types: &[Type::UUID_ARRAY],
};

macro_rules! load_off {
    () => {
        concat!(
            "INSERT INTO {schema}.jobs (",
            columns!(),
            ") SELECT ",
            columns!(),
            " FROM {schema}.jobs_on_trays WHERE lease_id = $1 ORDER BY id"
        )
    };
}

/// Locks the trays of a lease. A statement by itself, so that the next one sees what had ended by then.
/// Parameter: the lease.
static LOCK: Sql =
    Sql { text: "SELECT lease_id FROM {schema}.trays WHERE lease_id = $1 FOR UPDATE", types: &[Type::UUID] };

/// Makes what has not ended rows of `jobs`. Parameter: the lease.
static LOAD_OFF: Sql = Sql { text: load_off!(), types: &[Type::UUID] };

/// The same where a job has a row there already, which only a broken rule can cause. The row stays: the job may run once
/// more, but must not stop the rescue of all others. ON CONFLICT costs half as much again per row (`docs/decisions/0028`).
static LOAD_OFF_THE_REST: Sql =
    Sql { text: concat!(load_off!(), " ON CONFLICT (id) DO NOTHING"), types: &[Type::UUID] };

/// Deletes the trays of a lease. Parameter: the lease.
static REMOVE: Sql = Sql { text: "DELETE FROM {schema}.trays WHERE lease_id = $1", types: &[Type::UUID] };

/// Ends runs that succeeded, as far as they lie on trays; answers with their ids.
pub(super) async fn succeed(core: &Core, changes: &[&Change]) -> Result<Vec<JobId>, Fault> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let rows = match core.writer.query(&SUCCEED, &Successes::of(changes).params()).await {
        // Some had ended before. The caller finds them unanswered, and reads them.
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

/// What became of the leases whose trays were to be unloaded.
#[derive(Debug, Default)]
pub(super) struct Unloaded {
    /// How many leases have no tray any more.
    pub(super) trays: usize,
    /// Leases of which another transaction has locked a tray.
    pub(super) locked: Vec<Uuid>,
}

impl Unloaded {
    /// The runs on locked trays: job and lease.
    pub(super) async fn locked_runs(&self, link: &Link) -> Result<HashSet<(Uuid, Uuid)>, Fault> {
        if self.locked.is_empty() {
            return Ok(HashSet::new());
        }
        let rows = link.query(&RUNS, &[&self.locked]).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }
}

/// Unloads the trays of these leases, where there are any; free ones first.
pub(super) async fn unload(core: &Core, link: &Link, mut leases: Vec<Uuid>) -> Result<Unloaded, Fault> {
    leases.sort_unstable();
    leases.dedup();
    if leases.is_empty() {
        return Ok(Unloaded::default());
    }
    let (mut free, mut others) = (Vec::new(), Vec::new());
    for row in link.query(&WITH_TRAY, &[&leases]).await? {
        let tray = row.try_get(0)?;
        if row.try_get(1)? { free.push(tray) } else { others.push(tray) }
    }
    let unloaded = unload_found(link, free, others).await?;
    leases.retain(|lease| !unloaded.locked.contains(lease));
    core.trays.unloaded(&leases);
    Ok(unloaded)
}

/// Unloads the tray that still has a copy of a finished job: if the job were deleted, that copy would run again.
pub(super) async fn unload_of_finished(core: &Core, job: JobId) -> Result<(), Fault> {
    let rows = core.writer.query(&OF_FINISHED, &[&job.0]).await?;
    let leases = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    unload(core, &core.writer, leases).await.map(drop)
}

/// Each lease in a transaction of its own, so that a locked tray holds up no other.
async fn unload_found(link: &Link, free: Vec<Uuid>, others: Vec<Uuid>) -> Result<Unloaded, Fault> {
    let mut unloaded = Unloaded::default();
    for lease in free.into_iter().chain(others) {
        // Most locks on trays last for a moment; but where one is held for long, the others may be as well.
        let off = unloaded.locked.is_empty() && unload_one(link, lease).await?;
        if off { unloaded.trays += 1 } else { unloaded.locked.push(lease) }
    }
    Ok(unloaded)
}

/// Answers whether it is unloaded; not so if another transaction has locked a tray.
async fn unload_one(link: &Link, lease: Uuid) -> Result<bool, Fault> {
    for load_off in [&LOAD_OFF, &LOAD_OFF_THE_REST] {
        let statements = [
            (&BRIEFLY, vec![]),
            (&LOCK, vec![&lease as _]),
            (load_off, vec![&lease as _]),
            (&REMOVE, vec![&lease as _]),
        ];
        match link.all_or_none(&statements).await {
            Ok(_) => return Ok(true),
            Err(fault) if fault.is_locked_out() => return Ok(false),
            Err(fault) if fault.is_unique_violation() => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(false)
}
