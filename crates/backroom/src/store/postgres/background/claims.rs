//! Finds out which followed jobs were claimed by other processes.
//!
//! A claim notifies no other process: there would be as many notifications as jobs. So a follower that waits for the claim of its
//! job says so, and the store asks for all such jobs together, some times a second, for as long as there are any
//! (`docs/decisions/0132`).

use std::{sync::Arc, time::Duration};

use backroom_core::JobId;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::clock::Clock as _;
use crate::store::postgres::{
    Core,
    wire::{error::Fault, sql::Sql},
};

/// How often it asks while few jobs are waited for.
const OFTEN: Duration = Duration::from_millis(500);
/// The pause for each job that is waited for: of many, each is asked about less often, so that the question costs less than a hundredth of
/// a processor.
const PER_JOB: Duration = Duration::from_micros(200);
/// Most jobs in one question. Of more, each question has the next ones.
const JOBS_MAX: usize = 10_000;

/// Which of these jobs wait in a queue no more. A claimed job has another state, or lies on a tray and is not in the table.
/// Parameter: ids.
static NOT_QUEUED: Sql = Sql {
    text: "SELECT asked.id FROM unnest($1::uuid[]) AS asked (id) WHERE NOT EXISTS ( \
             SELECT FROM {schema}.jobs WHERE jobs.id = ANY (ARRAY[asked.id]) AND state = 'queued')",
    types: &[Type::UUID_ARRAY],
};

/// Notifies followers whose jobs were claimed, until the store is closed.
pub(crate) async fn watch(core: Arc<Core>) {
    let closed = core.settings.closed.clone();
    tokio::select! {
        () = closed.cancelled() => {}
        () = watch_repeatedly(&core) => {}
    }
}

async fn watch_repeatedly(core: &Core) {
    let mut last = None;
    loop {
        core.hints.wakes.some_await_claims().await;
        let ids = core.hints.wakes.awaiting_claims(last, JOBS_MAX);
        last = ids.last().copied();
        if let Err(fault) = notify_claimed(core, &ids).await {
            // A follower reads without a hint, too, though seldom.
            let error = fault.into_error("find out which followed jobs were claimed");
            tracing::debug!(%error, "followers see claims late");
        }
        let jobs = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        core.settings.clock.sleep(OFTEN.max(PER_JOB.saturating_mul(jobs))).await;
    }
}

async fn notify_claimed(core: &Core, ids: &[JobId]) -> Result<(), Fault> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    for row in core.reads.query(&NOT_QUEUED, &[&ids]).await? {
        core.hints.wakes.notify_job(JobId(row.try_get(0)?));
    }
    Ok(())
}
