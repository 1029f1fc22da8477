//! Writing decisions, each under its guard.
//!
//! Most are runs that succeeded: one statement moves all of a batch from `jobs` to `finished` and writes only what a
//! success writes. Two more statements write any other change: to a row that stays in `jobs`, and to one that leaves
//! for `finished`. Runs that lie on trays have a statement in the room of [trays](crate::store::postgres::tray). Rows the guards let
//! through by none of them are looked at: still on a tray, written already, to be revived from the history, or stale.

mod look;

use std::collections::{HashMap, HashSet};

use backroom_core::{Change, JobId, State};
use futures_util::future::join5;
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use self::look::look;
use super::kept::kept;
use crate::store::postgres::{
    Core,
    columns::{
        lives::{LIFE_TYPES, Lives, unnested_lives},
        successes::{SUCCESS_TYPES, Successes, unnested_successes},
    },
    tray,
    wire::{
        error::Fault,
        settings::Wait,
        sql::{Sql, columns, rows_by_id},
    },
};
use crate::{clock::Clock as _, store::Committed};

/// Rows in one statement.
const ROWS_MAX: usize = 5000;
/// How often a batch that collided with another is tried before its caller hears of it.
const TRIES_MAX: u32 = 5;
/// How often changes are written again because their jobs were found elsewhere meanwhile.
const ROUNDS_MAX: u32 = 4;
/// Brief waits for one change after the other in one call; what is left then is for another call. So it takes half a second
/// longer at most, however many cannot be written.
const WAITS_MAX: u32 = 3;

/// Finishes runs that succeeded: from `jobs` to `finished`, with what a success writes; by the revision in the guard all
/// else is what the decision saw. Answers with the ids. Parameters: id, revision, lease, output, finished_at.
static SUCCEED: Sql = Sql {
    text: concat!(
        "WITH gone AS ( \
             DELETE FROM {schema}.jobs USING ",
        unnested_successes!(),
        " ",
        rows_by_id!(),
        " AND jobs.revision = new.revision AND jobs.lease_id = new.lease AND jobs.lease_until IS NOT NULL \
             RETURNING jobs.id, kind, queue, lane, priority, args, attempt, max_attempts, crashes, scheduled_at, expires_at, \
               timeout_ms, retry, unique_key, unique_while, unique_until, lease_id, worker, progress_percent, \
               progress_message, cancel_requested_at, created_at, started_at, tags, meta, jobs.revision, jobs.suspicion, \
               new.output AS new_output, new.finished_at AS new_finished_at) \
           INSERT INTO {schema}.finished \
             (id, kind, queue, lane, priority, state, args, attempt, max_attempts, crashes, scheduled_at, expires_at, \
             timeout_ms, retry, unique_key, unique_while, unique_until, unique_held, lease_id, worker, \
             progress_percent, progress_message, output, cancel_requested_at, woken, created_at, started_at, \
             finished_at, tags, meta, revision, suspicion) \
           SELECT id, kind, queue, lane, priority, 'completed', args, attempt, max_attempts, crashes, scheduled_at, \
             expires_at, timeout_ms, retry, unique_key, unique_while, unique_until, false, lease_id, worker, \
             progress_percent, progress_message, new_output, cancel_requested_at, false, created_at, started_at, \
             new_finished_at, tags, meta, revision + 1, suspicion FROM gone RETURNING id"
    ),
    types: &SUCCESS_TYPES,
};

/// The guards: the revision, for a report about a run the run, and for a rescue that the lease has not been extended.
macro_rules! guard {
    () => {
        " AND jobs.revision = new.revision_before \
         AND (new.guard IS NULL OR (jobs.lease_id = new.guard AND jobs.lease_until IS NOT NULL))"
    };
}

/// What a change brings for the record of attempts.
macro_rules! ended_columns {
    () => {
        "new.ended_lease, new.ended_attempt, new.ended_end, new.ended_error, new.ended_worker, new.ended_started_at, \
         new.ended_at"
    };
}

/// Notes the attempts that ended with the changes that got through, which are the rows of the CTE named next.
macro_rules! note_ended_from {
    () => {
        "ended AS ( \
           INSERT INTO {schema}.attempts (job_id, lease_id, attempt, \"end\", error, worker, started_at, ended_at) \
           SELECT id, ended_lease, ended_attempt, ended_end, ended_error, ended_worker, ended_started_at, ended_at \
           FROM written WHERE ended_lease IS NOT NULL ON CONFLICT DO NOTHING)"
    };
}

/// Writes changes to rows that stay in `jobs`. A mark on a run that goes on (from running to running) must not pull back
/// a lease that was extended since it was read: extending leaves the revision alone. Parameters: lives.
static STAY: Sql = Sql {
    text: concat!(
        "WITH ",
        unnested_lives!(),
        ", written AS ( \
           UPDATE {schema}.jobs SET state = new.state, attempt = new.attempt, max_attempts = new.max_attempts, \
             crashes = new.crashes, suspicion = new.suspicion, scheduled_at = new.scheduled_at, expires_at = new.expires_at, \
             priority = coalesce(new.new_priority, jobs.priority), args = coalesce(new.new_args, jobs.args), \
             unique_held = new.unique_held, lease_id = new.lease_id, \
             lease_until = CASE WHEN new.state = 'running' AND jobs.state = 'running' \
               THEN greatest(jobs.lease_until, new.lease_until) ELSE new.lease_until END, \
             worker = new.worker, output = new.output, reason = new.reason, \
             cancel_requested_at = new.cancel_requested_at, woken = new.woken, started_at = new.started_at, \
             finished_at = new.finished_at, \
             progress_percent = \
               CASE WHEN new.progress_is_set THEN new.progress_percent ELSE jobs.progress_percent END, \
             progress_message = \
               CASE WHEN new.progress_is_set THEN new.progress_message ELSE jobs.progress_message END, \
             revision = jobs.revision + 1 \
           FROM new ",
        rows_by_id!(),
        guard!(),
        " RETURNING jobs.id, ",
        ended_columns!(),
        "), ",
        note_ended_from!(),
        " SELECT id FROM written"
    ),
    types: &LIFE_TYPES,
};

/// Writes changes that finish a job: its row leaves `jobs` for `finished`. Parameters: lives.
static FINISH: Sql = Sql {
    text: concat!(
        "WITH ",
        unnested_lives!(),
        ", written AS (DELETE FROM {schema}.jobs USING new ",
        rows_by_id!(),
        guard!(),
        " RETURNING jobs.id, jobs.kind, jobs.queue, jobs.lane, jobs.priority, new.state, jobs.args, new.attempt, \
             new.max_attempts, new.crashes, new.scheduled_at, new.expires_at, jobs.timeout_ms, jobs.retry, \
             jobs.unique_key, jobs.unique_while, jobs.unique_until, new.lease_id, new.lease_until, new.worker, \
             CASE WHEN new.progress_is_set THEN new.progress_percent ELSE jobs.progress_percent END \
               AS progress_percent, \
             CASE WHEN new.progress_is_set THEN new.progress_message ELSE jobs.progress_message END \
               AS progress_message, \
             new.output, new.reason, new.cancel_requested_at, new.woken, jobs.created_at, new.started_at, \
             new.finished_at, jobs.tags, jobs.meta, jobs.revision + 1 AS revision, new.suspicion, ",
        ended_columns!(),
        "), ",
        note_ended_from!(),
        " INSERT INTO {schema}.finished (",
        columns!(),
        ") SELECT id, kind, queue, lane, priority, state, args, attempt, max_attempts, crashes, scheduled_at, \
             expires_at, timeout_ms, retry, unique_key, unique_while, unique_until, false, lease_id, lease_until, worker, \
             progress_percent, progress_message, output, reason, cancel_requested_at, woken, created_at, started_at, \
             finished_at, tags, meta, revision, suspicion FROM written RETURNING id"
    ),
    types: &LIFE_TYPES,
};

/// Who holds the key that this job has, which so lies on no tray. Parameter: the id.
static HOLDER: Sql = Sql {
    text: "SELECT holder.id FROM ( \
             SELECT id, unique_key FROM {schema}.jobs WHERE id = $1 UNION ALL \
             SELECT id, unique_key FROM {schema}.finished WHERE id = $1) AS job \
           JOIN {schema}.jobs AS holder ON holder.unique_key = job.unique_key AND holder.unique_held \
           WHERE holder.id <> job.id",
    types: &[Type::UUID],
};

/// What became of the jobs' changes.
type Answers = HashMap<JobId, Committed>;

/// Writes the changes of several calls; one answer per change, in order.
pub(crate) async fn commit(
    core: &Core,
    calls: &[std::sync::Arc<Vec<Change>>],
) -> Result<Vec<Result<Vec<Committed>, Fault>>, Fault> {
    let changes: Vec<&Change> = calls.iter().flat_map(|call| call.iter()).collect();
    core.trays.committed(&changes, changes.iter().all(|change| is_plain_success(change)));
    let mut answers = vec![Committed::Stale; changes.len()];
    let mut open: Vec<usize> = (0..changes.len()).collect();
    while !open.is_empty() {
        // One change per job in a statement: a second one is decided on what the first leaves.
        let mut ids = HashSet::with_capacity(open.len().min(ROWS_MAX));
        let (mut round, mut later) = (Vec::new(), Vec::new());
        for index in open {
            let fits = round.len() < ROWS_MAX && ids.insert(changes[index].id);
            if fits { round.push(index) } else { later.push(index) }
        }
        // In the order of ids, so that two batches do not wait for each other in a circle.
        round.sort_unstable_by_key(|index| changes[*index].id);
        let batch: Vec<&Change> = round.iter().map(|index| changes[*index]).collect();
        let of_round = commit_batch(core, &batch).await?;
        for index in round {
            answers[index] = of_round.get(&changes[index].id).copied().unwrap_or(Committed::Stale);
        }
        open = later;
    }
    ring(core, &changes, &answers);
    let mut answers = answers.into_iter();
    Ok(calls.iter().map(|call| Ok(answers.by_ref().take(call.len()).collect())).collect())
}

fn ring(core: &Core, changes: &[&Change], answers: &[Committed]) {
    let done = || changes.iter().zip(answers).filter(|(_, answer)| **answer == Committed::Done);
    core.hints.jobs(done().map(|(change, _)| change.id));
    let queues: HashSet<&str> =
        done().filter(|(c, _)| c.state == State::Queued).map(|(c, _)| c.queue.as_str()).collect();
    let is_behind =
        |change: &Change| change.state == State::Queued && core.hints.is_behind(change.scheduled_at);
    if done().any(|(c, _)| is_behind(c)) {
        core.hints.behind();
    }
    queues.into_iter().for_each(|queue| core.hints.queue(queue));
    if done().any(|(c, _)| c.state == State::Running && c.cancel_requested_at.is_some()) {
        core.hints.cancel();
    }
}

async fn commit_batch(core: &Core, batch: &[&Change]) -> Result<Answers, Fault> {
    let mut answers = Answers::with_capacity(batch.len());
    let kept_lately = core.kept.lately(core.settings.clock.monotonic());
    // A rescue waits for no row: its job has waited for a lease already, and the ends of this program's runs must not.
    let is_free = |change: &Change| !change.is_rescue;
    let together: Vec<&Change> =
        batch.iter().copied().filter(|change| is_free(change) && !kept_lately.contains(&change.id)).collect();
    // Where one row is kept others may be, and all ends of this program wait in here.
    let wait = if kept_lately.is_empty() { Wait::Usual } else { Wait::Briefly };
    unless_one_is_refused(settle(core, &together, wait, &mut answers).await)?;
    let open = unanswered(batch, &answers);
    if !open.is_empty() {
        apart(core, &open, &mut answers).await?;
    }
    core.kept.learn(&answers, core.settings.clock.monotonic());
    Ok(answers)
}

/// Somebody's key is held, or somebody keeps a row: nothing to the other changes.
fn unless_one_is_refused(settled: Result<(), Fault>) -> Result<(), Fault> {
    match settled {
        Err(fault) if fault.is_unique_violation() || fault.is_locked_out() => Ok(()),
        settled => settled,
    }
}

fn unanswered<'a>(changes: &[&'a Change], answers: &Answers) -> Vec<&'a Change> {
    changes.iter().copied().filter(|change| !answers.contains_key(&change.id)).collect()
}

/// Writes those whose row is free; and if one of them is refused, each alone, so that only that one hears of it.
async fn apart(core: &Core, changes: &[&Change], answers: &mut Answers) -> Result<(), Fault> {
    let (leaving, staying): (Vec<&Change>, Vec<&Change>) =
        changes.iter().copied().partition(|change| leaves(change));
    let kept = kept(core, &leaving, &staying).await?;
    answers.extend(kept.into_iter().map(|id| (id, Committed::RowLocked)));
    let free = unanswered(changes, answers);
    if free.is_empty() {
        return Ok(());
    }
    unless_one_is_refused(settle(core, &free, Wait::Briefly, answers).await)?;
    // Kept in this moment, or it waits for a key that somebody is about to take, which no look at its row tells.
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
                // Given up again in this moment: the caller decides anew.
                None => Ok(Committed::Stale),
            }
        }
        Err(fault) => Err(fault),
    }
}

/// Answers for each change, or fails. What is written before it fails is answered all the same: a job given back may run
/// elsewhere a moment later, and then nothing tells any more that it was this change that wrote it.
async fn settle(core: &Core, batch: &[&Change], wait: Wait, answers: &mut Answers) -> Result<(), Fault> {
    for _ in 0..ROUNDS_MAX {
        write_though_it_collides(core, batch, wait, answers).await?;
        let open = unanswered(batch, answers);
        if open.is_empty() {
            return Ok(());
        }
        // Not where the guards look: on a tray that nobody here knew of, or that something else than a success concerns.
        let unloaded = tray::unload(core, &core.writer, leases_of(&open)).await?;
        // Whatever concerns a tray that somebody keeps, be it to revive what ended on it.
        let is_kept =
            |change: &&Change| change.lease_id.is_some_and(|lease| unloaded.kept.contains(&lease.0));
        answers.extend(open.iter().copied().filter(is_kept).map(|change| (change.id, Committed::RowLocked)));
        let open = unanswered(batch, answers);
        if unloaded.trays == 0 {
            look(core, &open, wait, answers).await?;
        }
        if unanswered(batch, answers).is_empty() {
            return Ok(());
        }
    }
    // It moves faster than it can be met: whoever decided reads it again.
    Ok(())
}

/// Writes what is not answered yet, once more if it collides with another transaction.
async fn write_though_it_collides(
    core: &Core,
    batch: &[&Change],
    wait: Wait,
    answers: &mut Answers,
) -> Result<(), Fault> {
    let mut tries = 0;
    loop {
        tries += 1;
        let written = async {
            from_trays(core, &unanswered(batch, answers), answers).await?;
            write(core, &unanswered(batch, answers), wait, answers).await
        };
        match written.await {
            Err(fault) if fault.is_collision() && tries < TRIES_MAX => {}
            written => return written,
        }
    }
}

/// Ends runs that succeeded and lie on trays that this process knows of.
async fn from_trays(core: &Core, batch: &[&Change], answers: &mut Answers) -> Result<(), Fault> {
    let trays = core.trays.among(batch.iter().filter_map(|change| change.lease));
    if trays.is_empty() {
        return Ok(());
    }
    let is_on_one = |change: &&Change| change.lease.is_some_and(|lease| trays.contains(&lease.0));
    let successes: Vec<&Change> =
        batch.iter().copied().filter(is_on_one).filter(|change| is_plain_success(change)).collect();
    let ended = tray::succeed(core, &successes).await?;
    answers.extend(ended.into_iter().map(|id| (id, Committed::Done)));
    Ok(())
}

fn leases_of(changes: &[&Change]) -> Vec<Uuid> {
    changes.iter().filter_map(|change| change.lease_id).map(|lease| lease.0).collect()
}

/// Sends the statements one behind the other; answers for what got through, be it that one of them fails.
async fn write(core: &Core, batch: &[&Change], wait: Wait, answers: &mut Answers) -> Result<(), Fault> {
    let (successes, others): (Vec<&Change>, Vec<&Change>) =
        batch.iter().copied().partition(|change| is_plain_success(change));
    let (leaving, staying): (Vec<&Change>, Vec<&Change>) =
        others.into_iter().partition(|change| leaves(change));
    // Queued and running jobs in statements of their own: a transaction that inserts keys locks the rows of the former before
    // those of the latter, and neither may wait for the other in a circle.
    let ([leaving_runs, leaving], [staying_runs, staying]) = (runs_apart(leaving), runs_apart(staying));
    let (succeeded, leaving_runs, leaving, staying_runs, staying) = join5(
        succeed(core, &successes, wait),
        live(core, &FINISH, &leaving_runs, wait),
        live(core, &FINISH, &leaving, wait),
        live(core, &STAY, &staying_runs, wait),
        live(core, &STAY, &staying, wait),
    )
    .await;
    let mut failed = None;
    for written in [succeeded, leaving_runs, leaving, staying_runs, staying] {
        match written {
            Ok(rows) => {
                core.litter.add(rows.len());
                for row in rows {
                    answers.insert(JobId(row.try_get(0)?), Committed::Done);
                }
            }
            // A second one is met again when what it left is tried anew.
            Err(fault) => failed = failed.or(Some(fault)),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Changes to rows of running jobs, and the others.
fn runs_apart(changes: Vec<&Change>) -> [Vec<&Change>; 2] {
    let is_of_run =
        |change: &&Change| change.lease.is_some() || change.is_rescue || change.state == State::Running;
    let (runs, others) = changes.into_iter().partition(is_of_run);
    [runs, others]
}

/// Whether the job's row moves from `jobs` to `finished`.
fn leaves(change: &Change) -> bool {
    change.state.is_finished() && !change.unique_held
}

/// A run that succeeded, with nothing else to write.
fn is_plain_success(change: &Change) -> bool {
    change.state == State::Completed
        && change.lease.is_some()
        && change.lease == change.lease_id
        && change.reason.is_none()
        && change.ended.is_none()
        && change.progress.is_none()
        && !change.unique_held
}

async fn succeed(core: &Core, changes: &[&Change], wait: Wait) -> Result<Vec<Row>, Fault> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    core.writer.query_waiting(wait, &SUCCEED, &Successes::of(changes).params()).await
}

async fn live(core: &Core, sql: &'static Sql, changes: &[&Change], wait: Wait) -> Result<Vec<Row>, Fault> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let mut lives = Lives::default();
    changes.iter().try_for_each(|change| lives.push(change))?;
    core.writer.query_waiting(wait, sql, &lives.params()).await
}
