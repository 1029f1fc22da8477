//! Changes with stored effects, in one transaction with them.

use std::collections::HashSet;

use backroom_core::{Change, JobId};

use super::statements;
use crate::store::{
    Committed,
    postgres::{
        Core,
        columns::changes::ChangeColumns,
        verbs::effects::{self, StoredEffects},
        wire::{error::Fault, settings::Wait, sql::Sql},
    },
};

/// Writes changes, and the effects of those whose guards match, in one transaction: two round trips. Answers with the jobs
/// whose changes are written.
///
/// The transaction locks rows of `jobs` in one statement only. So two of them cannot wait for each other in a circle.
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
    let effects = stored_effects(core, changes.iter().copied().filter(|change| ids.contains(&change.id)))?;
    transaction.commit_with(&effects.statements()).await?;
    effects.committed(core);
    Ok(written)
}

/// The effects of changes that are written in the current transaction.
pub(super) fn stored_effects<'a>(
    core: &Core,
    changes: impl Iterator<Item = &'a Change>,
) -> Result<StoredEffects<'a>, Fault> {
    let of_change = |change: &'a Change| change.effects.iter().map(move |effect| (change.id, effect));
    StoredEffects::of(core, changes.flat_map(of_change))
}

/// Notifies of the changes that are written: callers that wait for the jobs, and whom the effects name.
pub(super) fn notify(core: &Core, changes: &[&Change], answers: &[Committed]) {
    let done = || changes.iter().zip(answers).filter(|(_, answer)| **answer == Committed::Done);
    core.hints.jobs(done().map(|(change, _)| change.id));
    effects::notify(core, done().flat_map(|(change, _)| &change.effects));
}
