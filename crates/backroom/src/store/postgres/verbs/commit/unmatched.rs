//! Changes whose guards matched no row: what became of their jobs.

use std::collections::{HashMap, HashSet};

use backroom_core::{Change, JobId, JobRow};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{Answers, effects::commit_with_effects};
use crate::store::Committed;
use crate::store::postgres::{
    Core,
    columns::{
        row::{self, revision},
        table::{Columns, JOB_TYPES, unnested_jobs},
    },
    wire::{
        error::Fault,
        settings::Wait,
        sql::{Sql, columns, not_on_a_tray, on_trays_by_ids},
    },
};

/// Jobs, whichever table they are in. Parameter: ids.
static FIND: Sql = Sql {
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

/// Deletes finished jobs from the history unless a tray still lists them; answers with the ids. Parameters: ids, revisions.
static TAKE_FROM_HISTORY: Sql = Sql {
    text: concat!(
        "DELETE FROM {schema}.finished WHERE id = ANY($1::uuid[]) \
           AND revision = ($2::bigint[])[array_position($1::uuid[], id)]",
        not_on_a_tray!(),
        " RETURNING id"
    ),
    types: &[Type::UUID_ARRAY, Type::INT8_ARRAY],
};

/// Stores revived jobs; fails if another job holds the unique key. Parameters: all columns.
static REVIVE: Sql = Sql {
    text: concat!("INSERT INTO {schema}.jobs (", columns!(), ") ", unnested_jobs!()),
    types: &JOB_TYPES,
};

/// Answers for changes whose guards matched no row: each was written before and the answer was lost, or it revives a finished
/// job, or it is stale. Gives no answer if the guard would match by now: the job was on its way from a tray to its row.
pub(super) async fn answer_unmatched(
    core: &Core,
    changes: &[&Change],
    wait: Wait,
    answers: &mut Answers,
) -> Result<(), Fault> {
    let ids: Vec<Uuid> = changes.iter().map(|change| change.id.0).collect();
    let found = row::jobs(&core.writer.query(&FIND, &[&ids]).await?)?;
    let found: HashMap<JobId, JobRow> = found.into_iter().map(|job| (job.id, job)).collect();
    let mut revived = Vec::new();
    for change in changes {
        let answer = match found.get(&change.id) {
            None => Committed::Stale,
            Some(job) if change.is_written_to(job) => Committed::Done,
            Some(job) if is_to_be_revived(change, job) => {
                let mut job = job.clone();
                change.write_to(&mut job);
                revived.push((*change, job));
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

/// The guard, as the statements express it.
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

/// Moves finished jobs back to `jobs`, all or none: a unique key that another job holds undoes it.
async fn revive(
    core: &Core,
    revived: &[(&Change, JobRow)],
    wait: Wait,
) -> Result<Vec<(JobId, Committed)>, Fault> {
    let ids: Vec<Uuid> = revived.iter().map(|(change, _)| change.id.0).collect();
    let revisions: Vec<i64> = revived.iter().map(|(change, _)| revision(change.revision_before)).collect();
    let transaction = core.writer.begin().await?;
    let taken = async {
        transaction.wait(wait).await?;
        let rows = transaction.query(&TAKE_FROM_HISTORY, &[&ids, &revisions]).await?;
        let taken: HashSet<Uuid> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        let are_back = revived.iter().filter(|(change, _)| taken.contains(&change.id.0));
        let columns = Columns::of(are_back.map(|(_, job)| job))?;
        transaction.query(&REVIVE, &columns.params()).await?;
        Ok::<_, Fault>(taken)
    }
    .await;
    match taken {
        Ok(taken) => {
            let changes = revived.iter().map(|(change, _)| *change);
            let back: Vec<&Change> = changes.filter(|change| taken.contains(&change.id.0)).collect();
            commit_with_effects(core, transaction, &back).await?;
            let answer = |(change, _): &(&Change, JobRow)| {
                let is_back = taken.contains(&change.id.0);
                (change.id, if is_back { Committed::Done } else { Committed::Stale })
            };
            Ok(revived.iter().map(answer).collect())
        }
        Err(fault) => {
            // The caller needs the cause. If the rollback fails as well, the connection is dropped.
            _ = transaction.rollback().await;
            Err(fault)
        }
    }
}
