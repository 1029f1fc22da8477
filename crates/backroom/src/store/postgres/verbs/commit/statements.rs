//! The statements that write changes, and which change each of them is for.

use backroom_core::{Change, JobId, State};
use tokio_postgres::Row;

use crate::store::postgres::{
    Core,
    columns::{
        changes::{CHANGE_TYPES, ChangeColumns, unnested_changes},
        successes::{SUCCESS_TYPES, Successes, unnested_successes},
        table::lasting,
    },
    wire::{
        error::Fault,
        settings::Wait,
        sql::{Sql, rows_by_id},
    },
};

/// Finishes runs that succeeded: moves their rows from `jobs` to `finished` and writes only what a success changes. The guard
/// names the revision, so all other columns have the values that the decision was made on. Answers with the ids. Parameters:
/// successes.
static SUCCEED: Sql = Sql {
    text: concat!(
        "WITH gone AS ( \
             DELETE FROM {schema}.jobs USING ",
        unnested_successes!(),
        " ",
        rows_by_id!(),
        " AND jobs.revision = new.revision AND jobs.lease_id = new.lease AND jobs.lease_until IS NOT NULL \
             RETURNING jobs.id, attempt, max_attempts, crashes, scheduled_at, expires_at, lease_id, worker, \
               progress_percent, progress_message, cancel_requested_at, started_at, jobs.revision, suspicion, \
               new.output AS new_output, new.finished_at AS new_finished_at",
        lasting!(),
        ") \
           INSERT INTO {schema}.finished \
             (id, attempt, max_attempts, crashes, scheduled_at, expires_at, lease_id, worker, progress_percent, \
             progress_message, cancel_requested_at, started_at, revision, suspicion, output, finished_at, state, \
             unique_held, woken",
        lasting!(),
        ") \
           SELECT id, attempt, max_attempts, crashes, scheduled_at, expires_at, lease_id, worker, progress_percent, \
             progress_message, cancel_requested_at, started_at, revision + 1, suspicion, new_output, new_finished_at, \
             'completed', false, false",
        lasting!(),
        " FROM gone RETURNING id"
    ),
    types: &SUCCESS_TYPES,
};

/// The guards: the revision, and for a report about a run, the lease.
macro_rules! guard {
    () => {
        " AND jobs.revision = new.revision_before \
         AND (new.guard IS NULL OR (jobs.lease_id = new.guard AND jobs.lease_until IS NOT NULL))"
    };
}

/// Writes changes to rows that stay in `jobs`; answers with the ids. A change of a run that goes on (from running to
/// running) must not shorten a lease that was extended since the job was read. Extending does not change the revision.
/// Parameters: changes.
pub(crate) static STAY: Sql = Sql {
    text: concat!(
        "WITH ",
        unnested_changes!(),
        " UPDATE {schema}.jobs SET state = new.state, attempt = new.attempt, max_attempts = new.max_attempts, \
             crashes = new.crashes, suspicion = new.suspicion, scheduled_at = new.scheduled_at, expires_at = new.expires_at, \
             priority = coalesce(new.new_priority, jobs.priority), args = coalesce(new.new_args, jobs.args), \
             queue = coalesce(new.new_queue, jobs.queue), \
             links = coalesce(new.new_links, jobs.links), \
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
        " RETURNING jobs.id"
    ),
    types: &CHANGE_TYPES,
};

/// Writes changes that finish a job: moves its row from `jobs` to `finished`; answers with the ids. Parameters: changes.
pub(crate) static FINISH: Sql = Sql {
    text: concat!(
        "WITH ",
        unnested_changes!(),
        ", written AS (DELETE FROM {schema}.jobs USING new ",
        rows_by_id!(),
        guard!(),
        " RETURNING jobs.id, new.state, new.attempt, new.max_attempts, new.crashes, new.scheduled_at, new.expires_at, \
             new.lease_id, new.lease_until, new.worker, \
             CASE WHEN new.progress_is_set THEN new.progress_percent ELSE jobs.progress_percent END \
               AS progress_percent, \
             CASE WHEN new.progress_is_set THEN new.progress_message ELSE jobs.progress_message END \
               AS progress_message, \
             new.output, new.reason, new.cancel_requested_at, new.woken, new.started_at, new.finished_at, \
             jobs.revision + 1 AS revision, new.suspicion",
        lasting!(),
        ") \
           INSERT INTO {schema}.finished \
             (id, state, attempt, max_attempts, crashes, scheduled_at, expires_at, lease_id, lease_until, worker, \
             progress_percent, progress_message, output, reason, cancel_requested_at, woken, started_at, finished_at, \
             revision, suspicion, unique_held",
        lasting!(),
        ") SELECT id, state, attempt, max_attempts, crashes, scheduled_at, expires_at, lease_id, lease_until, worker, \
             progress_percent, progress_message, output, reason, cancel_requested_at, woken, started_at, finished_at, \
             revision, suspicion, false",
        lasting!(),
        " FROM written RETURNING id"
    ),
    types: &CHANGE_TYPES,
};

/// Whether the job's row moves from `jobs` to `finished`.
pub(crate) fn leaves(change: &Change) -> bool {
    change.state.is_finished() && !change.unique_held
}

/// A run that succeeded, with nothing else to write.
pub(super) fn is_plain_success(change: &Change) -> bool {
    change.state == State::Completed
        && change.lease.is_some()
        && change.lease == change.lease_id
        && change.reason.is_none()
        && change.progress.is_none()
        && !change.unique_held
        && !change.has_stored_effects()
}

/// Writes runs that succeeded; answers with the jobs whose changes are written.
pub(super) async fn complete(core: &Core, changes: &[&Change], wait: Wait) -> Result<Vec<JobId>, Fault> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    ids(&core.writer.query_waiting(wait, &SUCCEED, &Successes::of(changes).params()).await?)
}

/// Writes changes by [`STAY`] or [`FINISH`]; answers with the jobs whose changes are written.
pub(super) async fn write_without_effects(
    core: &Core,
    sql: &'static Sql,
    changes: &[&Change],
    wait: Wait,
) -> Result<Vec<JobId>, Fault> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    ids(&core.writer.query_waiting(wait, sql, &ChangeColumns::of(changes)?.params()).await?)
}

/// The ids in the first column.
pub(super) fn ids(rows: &[Row]) -> Result<Vec<JobId>, Fault> {
    rows.iter().map(|row| Ok(JobId(row.try_get(0)?))).collect()
}
