//! Rows that somebody's transaction keeps while a change of theirs waits.
//!
//! The first is met by waiting in vain. From then on it is looked at without a wait, and no change waits for long, until
//! nothing has been found kept for a while.

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

/// Jobs that are remembered. The one that no longer fits is met by waiting once more.
const JOBS_MAX: usize = 10_000;
/// How long a job is remembered. Its worker asks again several times a second; nobody may ask again for what a person wanted.
const SPAN: Duration = Duration::from_secs(10);

/// Rows of `jobs` that cannot be locked so at this moment, found without waiting for any; the others are not locked any
/// more when it answers. Parameter: ids.
macro_rules! kept_from {
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

/// Those that cannot leave `jobs`: a caller's transaction that met a running job's key is enough.
static KEPT_FROM_LEAVING: Sql = Sql { text: kept_from!("UPDATE"), types: &[Type::UUID_ARRAY] };

/// Those that cannot be changed where they are.
static KEPT_FROM_CHANGING: Sql = Sql { text: kept_from!("NO KEY UPDATE"), types: &[Type::UUID_ARRAY] };

/// The jobs whose rows were found kept lately, and until which reading of the monotonic clock that is remembered.
#[derive(Default)]
pub(crate) struct Kept(Mutex<HashMap<JobId, Duration>>);

impl Kept {
    pub(crate) fn lately(&self, now: Duration) -> HashSet<JobId> {
        let mut jobs = self.jobs();
        jobs.retain(|_, until| *until > now);
        jobs.keys().copied().collect()
    }

    /// What became of changes tells whose row is kept.
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
                // No room.
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

/// Of these changes, the jobs whose row another transaction keeps at this moment.
pub(crate) async fn kept(core: &Core, leaving: &[&Change], staying: &[&Change]) -> Result<Vec<JobId>, Fault> {
    let mut kept = Vec::new();
    for (sql, changes) in [(&KEPT_FROM_LEAVING, leaving), (&KEPT_FROM_CHANGING, staying)] {
        if changes.is_empty() {
            continue;
        }
        let ids: Vec<Uuid> = changes.iter().map(|change| change.id.0).collect();
        for row in core.writer.query(sql, &[&ids]).await? {
            kept.push(JobId(row.try_get(0)?));
        }
    }
    Ok(kept)
}
