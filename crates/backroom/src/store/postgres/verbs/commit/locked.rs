//! Rows that other transactions have locked while a change of them waits.
//!
//! A commit finds the first such row by waiting for it in vain. From then on commits ask for the locks of such rows
//! without waiting, so no change waits for long. That ends when no row has been found locked for a while.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backroom_core::{Change, JobId};
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::store::Committed;
use crate::store::postgres::{
    Core,
    wire::{
        error::Fault,
        sql::{Sql, rows_by_id},
    },
};

/// Jobs that are remembered. A commit finds one beyond that by waiting again.
const JOBS_MAX: usize = 10_000;
/// How long a job is remembered. A worker asks again several times a second; a person may not ask again.
const SPAN: Duration = Duration::from_secs(10);

/// Rows of `jobs` that cannot be locked in this way now, found without waiting. The locks of the other rows are released when
/// the statement ends. Parameter: ids.
macro_rules! locked_against {
    ($lock:literal) => {
        concat!(
            "WITH free AS MATERIALIZED (SELECT jobs.id FROM unnest($1::uuid[]) AS new (id), {schema}.jobs ",
            rows_by_id!(),
            " FOR ",
            $lock,
            " OF jobs SKIP LOCKED) \
             SELECT jobs.id FROM unnest($1::uuid[]) AS new (id), {schema}.jobs ",
            rows_by_id!(),
            " AND jobs.id NOT IN (SELECT id FROM free)"
        )
    };
}

/// Rows that cannot leave `jobs` now. A caller's transaction that has inserted the unique key of a running job is enough.
static LOCKED_AGAINST_DELETE: Sql = Sql { text: locked_against!("UPDATE"), types: &[Type::UUID_ARRAY] };

/// Rows that cannot be updated now.
static LOCKED_AGAINST_UPDATE: Sql =
    Sql { text: locked_against!("NO KEY UPDATE"), types: &[Type::UUID_ARRAY] };

/// The jobs whose rows were found locked lately, each with the reading of the monotonic clock until which it is remembered.
#[derive(Default)]
pub(crate) struct LockedRows(Mutex<HashMap<JobId, Duration>>);

impl LockedRows {
    pub(crate) fn lately(&self, now: Duration) -> HashSet<JobId> {
        let mut jobs = self.jobs();
        jobs.retain(|_, until| *until > now);
        jobs.keys().copied().collect()
    }

    /// Learns from the answers which rows are locked.
    pub(crate) fn learn(&self, answers: &HashMap<JobId, Committed>, now: Duration) {
        let mut jobs = self.jobs();
        if jobs.is_empty() && !answers.values().any(|answer| *answer == Committed::RowLocked) {
            return;
        }
        for (id, answer) in answers {
            match answer {
                Committed::RowLocked if jobs.len() < JOBS_MAX || jobs.contains_key(id) => {
                    jobs.insert(*id, now.saturating_add(SPAN));
                }
                // Full.
                Committed::RowLocked => {}
                Committed::Done | Committed::Stale | Committed::KeyHeld(_) => {
                    jobs.remove(id);
                }
            }
        }
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<JobId, Duration>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of these changes, the jobs whose row another transaction has locked now.
pub(crate) async fn find_locked(
    core: &Core,
    leaving: &[&Change],
    staying: &[&Change],
) -> Result<Vec<JobId>, Fault> {
    let mut locked = Vec::new();
    for (sql, changes) in [(&LOCKED_AGAINST_DELETE, leaving), (&LOCKED_AGAINST_UPDATE, staying)] {
        if changes.is_empty() {
            continue;
        }
        let ids: Vec<Uuid> = changes.iter().map(|change| change.id.0).collect();
        for row in core.writer.query(sql, &[&ids]).await? {
            locked.push(JobId(row.try_get(0)?));
        }
    }
    Ok(locked)
}
