//! Writing decisions, each under its guard.
//!
//! The way of a change, one step per file, each calling only those below it:
//!
//! 1. [`commit`] takes the changes of several calls, in rounds of at most one change per job, and notifies at the end.
//! 2. `commit_round` writes the changes of a round together. One whose row is locked, or whose unique key is held, must not
//!    fail the others: what could not be written together is written apart.
//! 3. [`settle`] finds an answer for each change: written, or checked in [`unmatched`] because no guard matched.
//! 4. [`write_matching`](matching::write_matching) writes each change whose row matches its guard: jobs on trays, and rows
//!    of `jobs` by the statements of [`statements`]. Each statement is a transaction of its own; changes with stored effects
//!    are written in a transaction with them ([`effects`]).

mod effects;
mod locked;
mod matching;
mod settle;
mod statements;
mod unmatched;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use backroom_core::{Change, JobId};
use tokio_postgres::types::Type;

pub(crate) use self::{
    locked::LockedRows,
    statements::{FINISH, STAY, leaves},
};
use self::{locked::find_locked, settle::settle, statements::is_plain_success};
use crate::{
    clock::Clock as _,
    store::{
        Committed,
        postgres::{
            Core,
            verbs::insert::NAME_QUEUES,
            wire::{error::Fault, settings::Wait, sql::Sql},
        },
    },
};

/// Rows in one statement.
const ROWS_MAX: usize = 5000;
/// Waits for locked rows, one change after the other, in one call; changes that are left then are answered as locked. So the
/// call takes half a second longer at most, however many rows are locked.
const WAITS_MAX: u32 = 3;

/// The job that holds the key of this job. Parameter: the id. A job with a key is never on a tray.
static HOLDER: Sql = Sql {
    text: "SELECT holder.id FROM ( \
             SELECT id, unique_key FROM {schema}.jobs WHERE id = $1 UNION ALL \
             SELECT id, unique_key FROM {schema}.finished WHERE id = $1) AS job \
           JOIN {schema}.jobs AS holder ON holder.unique_key = job.unique_key AND holder.unique_held \
           WHERE holder.id <> job.id",
    types: &[Type::UUID],
};

/// The answers so far, by job.
type Answers = HashMap<JobId, Committed>;

/// Writes the changes of several calls; one answer per change, in order.
pub(crate) async fn commit(
    core: &Core,
    calls: &[Arc<Vec<Change>>],
) -> Result<Vec<Result<Vec<Committed>, Fault>>, Fault> {
    let changes: Vec<&Change> = calls.iter().flat_map(|call| call.iter()).collect();
    core.trays.committed(&changes, changes.iter().all(|change| is_plain_success(change)));
    name_queues(core, &changes).await?;
    let mut answers = vec![Committed::Stale; changes.len()];
    let mut open: Vec<usize> = (0..changes.len()).collect();
    while !open.is_empty() {
        // One change per job in a round: a second one is decided on what the first leaves.
        let mut ids = HashSet::with_capacity(open.len().min(ROWS_MAX));
        let (mut round, mut later) = (Vec::new(), Vec::new());
        for index in open {
            let fits = round.len() < ROWS_MAX && ids.insert(changes[index].id);
            if fits { round.push(index) } else { later.push(index) }
        }
        // In the order of ids, so that two commits do not wait for each other in a circle.
        round.sort_unstable_by_key(|index| changes[*index].id);
        let of_round: Vec<&Change> = round.iter().map(|index| changes[*index]).collect();
        let answered = commit_round(core, &of_round).await?;
        for index in round {
            answers[index] = answered.get(&changes[index].id).copied().unwrap_or(Committed::Stale);
        }
        open = later;
    }
    effects::notify(core, &changes, &answers);
    let mut answers = answers.into_iter();
    Ok(calls.iter().map(|call| Ok(answers.by_ref().take(call.len()).collect())).collect())
}

async fn commit_round(core: &Core, round: &[&Change]) -> Result<Answers, Fault> {
    let mut answers = Answers::with_capacity(round.len());
    let locked_lately = core.locked_rows.lately(core.settings.clock.monotonic());
    // A rescue waits for no row: its job has waited for a lease already, and other runs of this process must not wait for it.
    let together: Vec<&Change> = round
        .iter()
        .copied()
        .filter(|change| !change.is_rescue && !locked_lately.contains(&change.id))
        .collect();
    // Where one row is locked others may be, and all other commits of this process wait for this one.
    let wait = if locked_lately.is_empty() { Wait::Usual } else { Wait::Briefly };
    unless_one_is_refused(settle(core, &together, wait, &mut answers).await)?;
    let open = unanswered(round, &answers);
    if !open.is_empty() {
        // Boxed: it is rare, and its future is large.
        Box::pin(commit_apart(core, &open, &mut answers)).await?;
    }
    core.locked_rows.learn(&answers, core.settings.clock.monotonic());
    Ok(answers)
}

/// A key that is held, or a row that is locked, concerns one change and not the others.
fn unless_one_is_refused(settled: Result<(), Fault>) -> Result<(), Fault> {
    match settled {
        Err(fault) if fault.is_unique_violation() || fault.is_locked_out() => Ok(()),
        settled => settled,
    }
}

/// Creates the queues that jobs are moved to.
async fn name_queues(core: &Core, changes: &[&Change]) -> Result<(), Fault> {
    let contents = changes.iter().filter_map(|change| change.content.as_ref());
    let queues: Vec<&str> = contents.filter_map(|content| content.queue.as_deref()).collect();
    if !queues.is_empty() {
        core.writer.query(&NAME_QUEUES, &[&queues]).await?;
    }
    Ok(())
}

fn unanswered<'a>(changes: &[&'a Change], answers: &Answers) -> Vec<&'a Change> {
    changes.iter().copied().filter(|change| !answers.contains_key(&change.id)).collect()
}

/// Writes the changes whose rows are free. If one of them is refused, writes each alone, so that the refusal meets only that
/// one.
async fn commit_apart(core: &Core, changes: &[&Change], answers: &mut Answers) -> Result<(), Fault> {
    let (leaving, staying): (Vec<&Change>, Vec<&Change>) =
        changes.iter().copied().partition(|change| leaves(change));
    let locked = find_locked(core, &leaving, &staying).await?;
    answers.extend(locked.into_iter().map(|id| (id, Committed::RowLocked)));
    let free = unanswered(changes, answers);
    if free.is_empty() {
        return Ok(());
    }
    unless_one_is_refused(settle(core, &free, Wait::Briefly, answers).await)?;
    // What is left was locked a moment ago, or waits for a key that another transaction is about to take; no row shows that.
    let mut waits = 0;
    for change in unanswered(&free, answers) {
        let answer =
            if waits < WAITS_MAX { commit_alone(core, change, answers).await? } else { Committed::RowLocked };
        if answer == Committed::RowLocked {
            waits += 1;
        }
        answers.insert(change.id, answer);
    }
    Ok(())
}

async fn commit_alone(core: &Core, change: &Change, answers: &mut Answers) -> Result<Committed, Fault> {
    match settle(core, &[change], Wait::Briefly, answers).await {
        Ok(()) => Ok(answers.get(&change.id).copied().unwrap_or(Committed::Stale)),
        Err(fault) if fault.is_locked_out() => Ok(Committed::RowLocked),
        Err(fault) if fault.is_unique_violation() => {
            let rows = core.writer.query(&HOLDER, &[&change.id.0]).await?;
            match rows.first() {
                Some(row) => Ok(Committed::KeyHeld(JobId(row.try_get(0)?))),
                // The holder has freed the key since: the caller reads the job and decides again.
                None => Ok(Committed::Stale),
            }
        }
        Err(fault) => Err(fault),
    }
}
