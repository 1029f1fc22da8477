//! Jobs in a transaction of the caller, which holds the locks of its earlier statements until it ends.
//!
//! A commit of several runs may hold a row that this call needs while it waits for a row that the caller's transaction has
//! locked. So this call waits for no lock while such a commit may wait, and the server never finds a deadlock between them:
//!
//! - it works behind a savepoint, and passes over rows that another transaction has locked;
//! - if it met such a row, it rolls back to the savepoint, which releases the locks of this call, pauses, and begins again;
//! - where PostgreSQL offers no statement without a wait (a key that another transaction has inserted), it waits for a tenth of
//!   a second at most: less than the `deadlock_timeout` after which the server searches for deadlocks.
//!
//! Statements of ours give up a lock after two seconds. What is locked for longer is locked by another caller. From then on the call
//! waits in the server as long as the caller's own settings allow, so the server can find a deadlock that callers made.

use std::time::Duration;

use backroom_core::{Timestamp, draft::NewJob};
use tokio_postgres::types::Type;

use super::{
    NAME_QUEUES, ROWS_MAX,
    depth::Before,
    keyed::{Locks, find, held_key, insert_found},
};
use crate::store::postgres::{
    columns::row::Cells as _,
    wire::{error::Fault, session::Session, sql::Sql},
};
use crate::{
    Error, ErrorKind,
    clock::{Clock as _, SystemClock},
    store::Inserted,
};

/// How often keys may pass from job to job between the search for their holders and the insert.
const ROUNDS_MAX: u32 = 64;

/// How long the call avoids waits in the server: longer than the `lock_timeout` of our own connections.
const AVOIDS_WAITS: Duration = Duration::from_secs(3);

/// The pause before the next round: short at first, because most rows are locked for milliseconds.
const PAUSE_FIRST: Duration = Duration::from_millis(2);
const PAUSE_LONGEST: Duration = Duration::from_millis(50);

/// Begins a round. `backroom.lock_timeout` remembers the caller's setting, as no savepoint ends where it is restored.
const BEGIN_ROUND: &str = "SAVEPOINT backroom_keys; \
    SELECT set_config('backroom.lock_timeout', current_setting('lock_timeout'), true); SET LOCAL lock_timeout = 100";

/// The same with the caller's own timeout.
const BEGIN_PATIENT_ROUND: &str = "SAVEPOINT backroom_keys; \
    SELECT set_config('backroom.lock_timeout', current_setting('lock_timeout'), true)";

/// Ends a round that wrote its jobs.
const END_ROUND: &str = "SELECT set_config('lock_timeout', current_setting('backroom.lock_timeout'), true); \
    RELEASE SAVEPOINT backroom_keys";

/// Ends a round that did not; the savepoint restores the caller's timeout.
const UNDO_ROUND: &str = "ROLLBACK TO SAVEPOINT backroom_keys; RELEASE SAVEPOINT backroom_keys";

/// Those of the names that no queue has, and those whose queue has a depth limit, with it. Parameter: names.
static UNNAMED_OR_LIMITED: Sql = Sql {
    text: "SELECT asked.name, queues.depth_max FROM unnest($1::text[]) AS asked (name) \
           LEFT JOIN {schema}.queues ON queues.name = asked.name \
           WHERE queues.name IS NULL OR queues.depth_max IS NOT NULL",
    types: &[Type::TEXT_ARRAY],
};

/// What a round came to.
enum Round {
    Written(Vec<Inserted>),
    /// Undone: another transaction took a key in between.
    Contested,
    /// Undone: another transaction has locked what the call needs.
    Locked,
}

/// How a round treats what another transaction has locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    AvoidsWaits,
    Waits,
}

/// Stores the jobs and names their queues.
pub(crate) async fn insert(
    session: &mut Session<'_>,
    jobs: &[(&NewJob, Timestamp)],
    queues: &[String],
) -> Result<Vec<Inserted>, Fault> {
    let limited = name_queues(session, queues).await?;
    if limited.is_empty() {
        return insert_admitted(session, jobs).await;
    }
    let limited = limited.iter().map(|(queue, depth_max)| (queue.as_str(), *depth_max)).collect();
    let before = Before::of(session, limited).await?;
    let answers = insert_admitted(session, jobs).await?;
    before.check(session, jobs, &answers).await?;
    Ok(answers)
}

async fn insert_admitted(
    session: &mut Session<'_>,
    jobs: &[(&NewJob, Timestamp)],
) -> Result<Vec<Inserted>, Fault> {
    if jobs.iter().all(|(new, _)| held_key(&new.job).is_none()) {
        // Contested if another call inserts the same ids at this moment: the rounds below find them stored.
        if let Round::Written(answers) = insert_once(session, jobs, Locks::Free).await? {
            return Ok(answers);
        }
    }
    let clock = SystemClock::default();
    let waits_from = clock.monotonic().saturating_add(AVOIDS_WAITS);
    let (mut pause, mut contested) = (PAUSE_FIRST, 0);
    while contested < ROUNDS_MAX {
        let patience = if clock.monotonic() < waits_from { Patience::AvoidsWaits } else { Patience::Waits };
        match round(session, jobs, patience).await? {
            Round::Written(answers) => return Ok(answers),
            Round::Contested => contested += 1,
            Round::Locked => {
                clock.sleep(pause).await;
                pause = (pause * 2).min(PAUSE_LONGEST);
            }
        }
    }
    Err(changed_hands())
}

fn changed_hands() -> Fault {
    Error::new(ErrorKind::Unavailable, "insert the jobs: their unique keys change hands too fast").into()
}

/// Names queues that are new. If another transaction is about to name one, this one leaves it to the next enqueue. Two
/// callers who name queues in different orders must not wait for each other. Answers with the queues that have a depth
/// limit.
pub(crate) async fn name_queues(
    session: &mut Session<'_>,
    queues: &[String],
) -> Result<Vec<(String, u64)>, Fault> {
    let (mut unnamed, mut limited) = (Vec::new(), Vec::new());
    for row in session.query(&UNNAMED_OR_LIMITED, &[&queues]).await? {
        match row.cell::<Option<i64>>(1)? {
            None => unnamed.push(row.cell::<String>(0)?),
            Some(depth_max) => limited.push((row.cell(0)?, depth_max.unsigned_abs())),
        }
    }
    if unnamed.is_empty() {
        return Ok(limited);
    }
    session.run(BEGIN_ROUND).await?;
    match session.query(&NAME_QUEUES, &[&unnamed]).await {
        Ok(_) => session.run(END_ROUND).await?,
        Err(fault) if is_locked(&fault) => session.run(UNDO_ROUND).await?,
        Err(fault) => return Err(undone(session, fault).await),
    }
    Ok(limited)
}

/// The fault, after the round was undone: the caller's transaction has its own `lock_timeout` again, and no savepoint of ours.
async fn undone(session: &mut Session<'_>, fault: Fault) -> Fault {
    if let Err(error) = session.run(UNDO_ROUND).await {
        // The connection is lost. The first fault is the one to report.
        let error = error.into_error("undo a part of the caller's transaction");
        tracing::debug!(%error, "a part of the caller's transaction was not undone");
    }
    fault
}

async fn round(
    session: &mut Session<'_>,
    jobs: &[(&NewJob, Timestamp)],
    patience: Patience,
) -> Result<Round, Fault> {
    let (begin, locks) = match patience {
        Patience::AvoidsWaits => (BEGIN_ROUND, Locks::Free),
        Patience::Waits => (BEGIN_PATIENT_ROUND, Locks::Awaited),
    };
    session.run(begin).await?;
    let round = match insert_once(session, jobs, locks).await {
        Err(fault) if patience == Patience::AvoidsWaits && is_locked(&fault) => Round::Locked,
        Err(fault) => return Err(undone(session, fault).await),
        Ok(round) => round,
    };
    let end = match round {
        Round::Written(_) => END_ROUND,
        Round::Contested | Round::Locked => UNDO_ROUND,
    };
    session.run(end).await?;
    Ok(round)
}

/// A server whose `deadlock_timeout` is below our `lock_timeout` may call a wait a deadlock first.
fn is_locked(fault: &Fault) -> bool {
    fault.is_locked_out() || fault.is_deadlock()
}

/// Inserts all jobs, in the order of their keys, chunk by chunk.
async fn insert_once(
    session: &mut Session<'_>,
    jobs: &[(&NewJob, Timestamp)],
    locks: Locks,
) -> Result<Round, Fault> {
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|index| held_key(&jobs[*index].0.job));
    let mut answers: Vec<Option<Inserted>> = vec![None; jobs.len()];
    for chunk in order.chunks(ROWS_MAX) {
        let found = find(session, jobs, chunk, locks).await?;
        if !found.locked.is_empty() {
            return Ok(Round::Locked);
        }
        if !insert_found(session, jobs, chunk, found, &mut answers).await?.is_empty() {
            return Ok(Round::Contested);
        }
    }
    Ok(Round::Written(answers.into_iter().flatten().collect()))
}
