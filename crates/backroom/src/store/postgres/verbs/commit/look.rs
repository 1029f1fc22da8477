//! Changes that no guard let through: what became of their jobs.

use std::collections::{HashMap, HashSet};

use backroom_core::{Change, JobId, JobRow};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Answers;
use crate::store::Committed;
use crate::store::postgres::{
    Core,
    columns::{
        batch::{Columns, JOB_TYPES, unnested_jobs},
        row::{self, revision},
    },
    wire::{
        error::Fault,
        settings::Wait,
        sql::{Sql, columns, not_on_a_tray, on_trays_by_ids},
    },
};

/// Jobs wherever they lie. Parameter: ids.
static LOOK: Sql = Sql {
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM {schema}.jobs WHERE id = ANY($1::uuid[]) UNION ALL SELECT ",
        columns!(),
        " FROM {schema}.finished WHERE id = ANY($1::uuid[]) UNION ALL SELECT ",
        columns!(),
        on_trays_by_ids!()
    ),
    types: &[Type::UUID_ARRAY],
};

/// Takes finished jobs out of the history, those that no tray still has; answers with the ids. Parameters: ids, revisions.
static UNEARTH: Sql = Sql {
    text: concat!(
        "DELETE FROM {schema}.finished WHERE id = ANY($1::uuid[]) \
           AND revision = ($2::bigint[])[array_position($1::uuid[], id)]",
        not_on_a_tray!(),
        " RETURNING id"
    ),
    types: &[Type::UUID_ARRAY, Type::INT8_ARRAY],
};

/// Stores revived jobs; a key that is held meanwhile is an error. Parameters: all columns.
static REVIVE: Sql = Sql {
    text: concat!("INSERT INTO {schema}.jobs (", columns!(), ") ", unnested_jobs!()),
    types: &JOB_TYPES,
};

/// The guards let these through nowhere: written before and the answer lost, in the history and to be revived, or stale. No
/// answer is given where the guards would let it through by now: the job was on its way from a tray to its row.
pub(super) async fn look(
    core: &Core,
    changes: &[&Change],
    wait: Wait,
    answers: &mut Answers,
) -> Result<(), Fault> {
    let ids: Vec<Uuid> = changes.iter().map(|change| change.id.0).collect();
    let found = row::jobs(&core.writer.query(&LOOK, &[&ids]).await?)?;
    let found: HashMap<JobId, JobRow> = found.into_iter().map(|job| (job.id, job)).collect();
    let mut revived = Vec::new();
    for change in changes {
        let answer = match found.get(&change.id) {
            None => Committed::Stale,
            Some(job) if is_written(change, job) => Committed::Done,
            Some(job) if is_to_be_revived(change, job) => {
                let mut job = job.clone();
                change.write_to(&mut job);
                revived.push(job);
                continue;
            }
            Some(job) if is_guard_met(change, job) => continue,
            Some(_) => Committed::Stale,
        };
        answers.insert(change.id, answer);
    }
    if !revived.is_empty() {
        answers.extend(revive(core, &revived, wait).await?);
    }
    Ok(())
}

/// Whether the row looks as it does right after this change. What notes and extends may have moved since is left out:
/// they leave the revision alone.
fn is_written(change: &Change, job: &JobRow) -> bool {
    let mut after = job.clone();
    change.write_to(&mut after);
    after.progress.clone_from(&job.progress);
    after.lease_until = after.lease_until.and(job.lease_until);
    after == *job
}

/// As the statements say it.
fn is_guard_met(change: &Change, job: &JobRow) -> bool {
    !job.state.is_finished()
        && job.revision == change.revision_before
        && change.lease.is_none_or(|lease| job.lease_id == Some(lease) && job.lease_until.is_some())
}

fn is_to_be_revived(change: &Change, job: &JobRow) -> bool {
    job.state.is_finished()
        && (!change.state.is_finished() || change.unique_held)
        && job.revision == change.revision_before
        && change.lease.is_none()
}

/// Moves jobs from the history back among the live, all or none: a key that is held undoes it.
async fn revive(core: &Core, jobs: &[JobRow], wait: Wait) -> Result<Vec<(JobId, Committed)>, Fault> {
    let ids: Vec<Uuid> = jobs.iter().map(|job| job.id.0).collect();
    let revisions: Vec<i64> = jobs.iter().map(|job| revision(job.revision - 1)).collect();
    let transaction = core.writer.begin().await?;
    let unearthed = async {
        transaction.wait(wait).await?;
        let rows = transaction.query(&UNEARTH, &[&ids, &revisions]).await?;
        let unearthed: HashSet<Uuid> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        let columns = Columns::of(jobs.iter().filter(|job| unearthed.contains(&job.id.0)))?;
        transaction.query(&REVIVE, &columns.params()).await?;
        Ok::<_, Fault>(unearthed)
    }
    .await;
    match unearthed {
        Ok(unearthed) => {
            transaction.commit().await?;
            let answer = |job: &JobRow| {
                let is_back = unearthed.contains(&job.id.0);
                (job.id, if is_back { Committed::Done } else { Committed::Stale })
            };
            Ok(jobs.iter().map(answer).collect())
        }
        Err(fault) => {
            // The reason is what the caller must hear; a rollback that fails takes the connection along.
            _ = transaction.rollback().await;
            Err(fault)
        }
    }
}
