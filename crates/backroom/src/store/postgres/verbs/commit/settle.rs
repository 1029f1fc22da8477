//! An answer for each change, wherever its job is stored.

use backroom_core::Change;

use super::{Answers, matching::write_matching, unanswered, unmatched::answer_unmatched};
use crate::store::{
    Committed,
    postgres::{
        Core, tray,
        wire::{error::Fault, settings::Wait},
    },
};

/// How often changes are written again because their jobs were moved to another table meanwhile.
const ROUNDS_MAX: u32 = 4;

/// Answers for each change, or fails. Changes that were written before the failure are answered all the same. A job
/// that was given back may run elsewhere a moment later; then its row no longer shows that this change wrote it.
pub(super) async fn settle(
    core: &Core,
    changes: &[&Change],
    wait: Wait,
    answers: &mut Answers,
) -> Result<(), Fault> {
    for _ in 0..ROUNDS_MAX {
        write_matching(core, changes, wait, answers).await?;
        let open = unanswered(changes, answers);
        if open.is_empty() {
            return Ok(());
        }
        // The job may be on a tray that this process does not know, or the change may be one that is not written on trays.
        let leases = open.iter().filter_map(|change| change.lease_id).map(|lease| lease.0).collect();
        let unloaded = tray::unload(core, &core.writer, leases).await?;
        let is_locked =
            |change: &&Change| change.lease_id.is_some_and(|lease| unloaded.locked.contains(&lease.0));
        answers
            .extend(open.iter().copied().filter(is_locked).map(|change| (change.id, Committed::RowLocked)));
        let open = unanswered(changes, answers);
        if unloaded.trays == 0 {
            Box::pin(answer_unmatched(core, &open, wait, answers)).await?;
        }
        if unanswered(changes, answers).is_empty() {
            return Ok(());
        }
    }
    // The jobs move faster than this call can follow. Changes without an answer are stale: callers read the jobs again.
    Ok(())
}
