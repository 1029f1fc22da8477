//! Writing the changes whose rows match their guards.

use backroom_core::{Change, State};
use futures_util::future::join5;

use super::{
    Answers,
    effects::write_with_effects,
    statements::{FINISH, STAY, complete, is_plain_success, leaves, write_without_effects},
    unanswered,
};
use crate::store::{
    Committed,
    postgres::{
        Core, tray,
        wire::{error::Fault, settings::Wait, sql::Sql},
    },
};

/// How often changes are tried that collide with another transaction, before the caller gets the error.
const TRIES_MAX: u32 = 5;

/// Writes the changes that have no answer yet and whose rows match their guards. Tries again what collides with another
/// transaction.
pub(super) async fn write_matching(
    core: &Core,
    changes: &[&Change],
    wait: Wait,
    answers: &mut Answers,
) -> Result<(), Fault> {
    let mut tries = 0;
    loop {
        tries += 1;
        let written = async {
            write_on_trays(core, &unanswered(changes, answers), answers).await?;
            write_in_rows(core, &unanswered(changes, answers), wait, answers).await
        };
        match written.await {
            Err(fault) if fault.is_worth_repeating() && tries < TRIES_MAX => {}
            written => return written,
        }
    }
}

/// Ends runs that succeeded and are on trays that this process knows.
async fn write_on_trays(core: &Core, changes: &[&Change], answers: &mut Answers) -> Result<(), Fault> {
    let trays = core.trays.among(changes.iter().filter_map(|change| change.lease));
    if trays.is_empty() {
        return Ok(());
    }
    let is_on_one = |change: &&Change| change.lease.is_some_and(|lease| trays.contains(&lease.0));
    let successes: Vec<&Change> =
        changes.iter().copied().filter(is_on_one).filter(|change| is_plain_success(change)).collect();
    let ended = tray::succeed(core, &successes).await?;
    answers.extend(ended.into_iter().map(|id| (id, Committed::Done)));
    Ok(())
}

/// Sends one statement per group of changes, one behind the other; then the groups with stored effects, each in a transaction.
/// Answers for what is written even if one of them fails.
async fn write_in_rows(
    core: &Core,
    changes: &[&Change],
    wait: Wait,
    answers: &mut Answers,
) -> Result<(), Fault> {
    let (successes, others) = split(changes.iter().copied(), is_plain_success);
    let (with_effects, plain) = split(others.into_iter(), Change::has_stored_effects);
    let [finish_runs, finish, stay_runs, stay] = groups(plain);
    let (completed, finish_runs, finish, stay_runs, stay) = join5(
        complete(core, &successes, wait),
        write_without_effects(core, &FINISH, &finish_runs.changes, wait),
        write_without_effects(core, &FINISH, &finish.changes, wait),
        write_without_effects(core, &STAY, &stay_runs.changes, wait),
        write_without_effects(core, &STAY, &stay.changes, wait),
    )
    .await;
    let mut written = vec![completed, finish_runs, finish, stay_runs, stay];
    for group in groups(with_effects).into_iter().filter(|group| !group.changes.is_empty()) {
        written.push(Box::pin(write_with_effects(core, group.sql, &group.changes, wait)).await);
    }
    let mut failed = None;
    for written in written {
        match written {
            Ok(ids) => {
                core.dead_rows.add(ids.len());
                answers.extend(ids.into_iter().map(|id| (id, Committed::Done)));
            }
            // A second failure shows again when the changes that it left are tried again.
            Err(fault) => failed = failed.or(Some(fault)),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Changes that one statement writes.
struct Group<'a> {
    sql: &'static Sql,
    changes: Vec<&'a Change>,
}

/// Changes of queued and of running jobs are written by statements of their own. A transaction that inserts unique keys
/// locks the rows of queued jobs before those of running ones. So neither waits for the other in a circle.
fn groups(changes: Vec<&Change>) -> [Group<'_>; 4] {
    let (finish, stay) = split(changes.into_iter(), leaves);
    let (finish_runs, finish) = split(finish.into_iter(), is_of_run);
    let (stay_runs, stay) = split(stay.into_iter(), is_of_run);
    [
        Group { sql: &FINISH, changes: finish_runs },
        Group { sql: &FINISH, changes: finish },
        Group { sql: &STAY, changes: stay_runs },
        Group { sql: &STAY, changes: stay },
    ]
}

/// Whether the change is to the row of a running job.
fn is_of_run(change: &Change) -> bool {
    change.lease.is_some() || change.is_rescue || change.state == State::Running
}

fn split<'a>(
    changes: impl Iterator<Item = &'a Change>,
    is_first: impl Fn(&Change) -> bool,
) -> (Vec<&'a Change>, Vec<&'a Change>) {
    changes.partition(|change| is_first(change))
}
