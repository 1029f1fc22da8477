//! What follows from changes: effects that are stored with them, and notifications that are sent after them.

use std::collections::HashSet;

use backroom_core::{Change, Effect, JobId};

use super::statements;
use crate::store::{
    Committed,
    postgres::{
        Core,
        columns::{
            attempts::{ATTEMPT_TYPES, AttemptColumns, unnested_attempts},
            changes::ChangeColumns,
        },
        wire::{connection::Bound, error::Fault, settings::Wait, sql::Sql},
    },
};

/// Records attempts that did not succeed. An attempt has one record, by job and lease. Parameters: attempts.
static RECORD_ATTEMPTS: Sql = Sql {
    text: concat!(
        "INSERT INTO {schema}.attempts (job_id, lease_id, attempt, \"end\", error, worker, started_at, ended_at) \
         SELECT * FROM ",
        unnested_attempts!(),
        " ON CONFLICT DO NOTHING"
    ),
    types: &ATTEMPT_TYPES,
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
    let effects = StoredEffects::of(changes.iter().copied().filter(|change| ids.contains(&change.id)));
    transaction.commit_with(&effects.statements()).await?;
    Ok(written)
}

/// The stored effects of many changes, by kind.
#[derive(Default)]
pub(super) struct StoredEffects<'a> {
    attempts: AttemptColumns<'a>,
}

impl<'a> StoredEffects<'a> {
    /// The effects of changes that are written in the current transaction.
    pub(super) fn of(changes: impl Iterator<Item = &'a Change>) -> Self {
        let mut stored = Self::default();
        for (change, effect) in
            changes.flat_map(|change| change.effects.iter().map(move |effect| (change, effect)))
        {
            match effect {
                Effect::RecordAttempt(attempt) => stored.attempts.push(change.id, attempt),
                // Sent once the changes are written.
                Effect::NotifyQueue { .. } | Effect::NotifyCancel => {}
            }
        }
        stored
    }

    /// One statement per kind of which there are any.
    pub(super) fn statements(&self) -> Vec<Bound<'_>> {
        let mut statements: Vec<Bound<'_>> = Vec::new();
        if !self.attempts.is_empty() {
            statements.push((&RECORD_ATTEMPTS, self.attempts.params()));
        }
        statements
    }
}

/// Notifies of the changes that are written: callers that wait for the jobs, and whom the effects name.
pub(super) fn notify(core: &Core, changes: &[&Change], answers: &[Committed]) {
    let done = || changes.iter().zip(answers).filter(|(_, answer)| **answer == Committed::Done);
    core.hints.jobs(done().map(|(change, _)| change.id));
    let mut queues: HashSet<&str> = HashSet::new();
    let (mut is_behind, mut is_cancel) = (false, false);
    for effect in done().flat_map(|(change, _)| &change.effects) {
        match effect {
            Effect::NotifyQueue { queue, due_at } => {
                queues.insert(queue);
                is_behind = is_behind || core.hints.is_behind(*due_at);
            }
            Effect::NotifyCancel => is_cancel = true,
            // Stored with the change.
            Effect::RecordAttempt(_) => {}
        }
    }
    if is_behind {
        core.hints.behind();
    }
    queues.into_iter().for_each(|queue| core.hints.queue(queue));
    if is_cancel {
        core.hints.cancel();
    }
}
