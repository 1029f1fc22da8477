//! Changes with stored effects, in one transaction with them.

use std::collections::HashSet;

use backroom_core::{Change, JobId};

use super::statements;
use crate::store::{
    Committed,
    postgres::{
        Core,
        columns::changes::ChangeColumns,
        verbs::{
            effects,
            links::{self, FollowUp},
        },
        wire::{connection::Transaction, error::Fault, session::Session, settings::Wait, sql::Sql},
    },
};

/// Writes changes, and the effects of those whose guards match, in one transaction: two round trips. Answers with the jobs
/// whose changes are written.
///
/// Without links, the transaction locks rows of `jobs` in one statement only. So two of them cannot wait for each other in a circle.
/// With links it locks the dependants of the jobs as well. Should the server find a circle, it ends one transaction, whose changes are tried again.
pub(super) async fn write_with_effects(
    core: &Core,
    sql: &'static Sql,
    changes: &[&Change],
    wait: Wait,
) -> Result<Vec<JobId>, Fault> {
    let columns = ChangeColumns::of(changes)?;
    let (transaction, rows) = core.writer.begin_with(wait, sql, &columns.params()).await?;
    let written = statements::ids(&rows)?;
    let ids: HashSet<JobId> = written.iter().copied().collect();
    let done: Vec<&Change> = changes.iter().copied().filter(|change| ids.contains(&change.id)).collect();
    commit_with_effects(core, transaction, &done).await?;
    Ok(written)
}

/// Writes the effects of changes that are written in this transaction, and what follows from them for other jobs; commits it.
pub(super) async fn commit_with_effects(
    core: &Core,
    transaction: Transaction,
    changes: &[&Change],
) -> Result<(), Fault> {
    let for_others = links::effects_of(changes.iter().copied());
    let follow_up = if for_others.is_empty() {
        FollowUp::default()
    } else {
        // Boxed: it is rare, and its future is large.
        match Box::pin(links::carry_out(&mut Session::Ours(&transaction), for_others)).await {
            Ok(follow_up) => follow_up,
            Err(fault) => {
                // The caller needs the cause. If the rollback fails as well, the connection is dropped.
                _ = transaction.rollback().await;
                return Err(fault);
            }
        }
    };
    let effects = follow_up.stored(
        core,
        changes.iter().flat_map(|change| {
            let id = change.id;
            change.effects.iter().map(move |effect| (id, effect))
        }),
    )?;
    transaction.commit_with(&effects.statements()).await?;
    effects.committed(core);
    follow_up.notify(core);
    Ok(())
}

/// Notifies of the changes that are written: callers that wait for the jobs, and whom the effects name.
pub(super) fn notify(core: &Core, changes: &[&Change], answers: &[Committed]) {
    let done = || changes.iter().zip(answers).filter(|(_, answer)| **answer == Committed::Done);
    core.hints.jobs(done().map(|(change, _)| change.id));
    effects::notify(core, done().flat_map(|(change, _)| &change.effects));
}
