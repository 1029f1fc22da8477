//! Vacuum of the dead rows that this process leaves.
//!
//! Each claim and each end of a run leaves a dead row and dead index entries just where the next claim begins to
//! search. Each tray leaves a hundred dead pieces. Claims skip them one by one until vacuum removes them. The server's
//! own vacuum runs once a minute: by then a busy queue has left millions, and a claim that should take half a
//! millisecond takes many. So the store runs a vacuum itself once it has left enough dead rows. Vacuum blocks no other
//! statement of the store, and does not wait for a vacuum of another process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use tokio_postgres::types::Type;

use crate::clock::Clock;
use crate::store::postgres::{
    Core,
    wire::sql::{Sql, named},
};

/// Dead rows of this process that start a vacuum: it takes about ten milliseconds.
const ROWS: u64 = 20_000;
/// The least time between two vacuums.
const SPAN: Duration = Duration::from_millis(200);
/// And at least so many times the length of the last vacuum: it reads whole indexes, and over a backlog of millions it
/// would otherwise run all the time.
const RESTS: u32 = 9;

/// Truncating the file would lock the table, and the next jobs need the space anyway.
const VACUUM: &str = "VACUUM (SKIP_LOCKED, TRUNCATE OFF, INDEX_CLEANUP ON) {schema}.jobs, {schema}.trays";

/// Dead rows in `jobs`, as the server counts them. After a vacuum they are those that it could not remove. Parameter:
/// schema.
static DEAD: Sql = Sql {
    text: "SELECT n_dead_tup FROM pg_catalog.pg_stat_user_tables WHERE schemaname = $1 AND relname = 'jobs'",
    types: &[Type::TEXT],
};

/// Reads how many dead rows there are.
pub(crate) async fn count(core: &Core) {
    match core.claims.query(&DEAD, &[&core.settings.schema()]).await {
        Ok(rows) => {
            let dead = rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or(0);
            core.frontiers.counted(dead);
        }
        Err(fault) => {
            let error = fault.into_error("count dead rows");
            tracing::debug!(%error, "the dead rows were not counted");
        }
    }
}

/// Counts the dead rows that this process has left since its last vacuum.
#[derive(Debug, Default)]
pub(crate) struct DeadRows {
    rows: AtomicU64,
    enough: Notify,
}

impl DeadRows {
    /// Adds dead rows.
    pub(crate) fn add(&self, rows: usize) {
        let rows = rows as u64;
        if self.rows.fetch_add(rows, Ordering::Relaxed) + rows >= ROWS {
            self.enough.notify_one();
        }
    }
}

/// Runs a vacuum whenever there are enough dead rows, until the store is closed.
pub(crate) async fn run(core: Arc<Core>) {
    let closed = core.settings.closed.clone();
    tokio::select! {
        () = closed.cancelled() => {}
        () = vacuum_repeatedly(&core) => {}
    }
}

async fn vacuum_repeatedly(core: &Core) {
    let statement = named(VACUUM, core.settings.schema());
    loop {
        core.dead_rows.enough.notified().await;
        core.dead_rows.rows.store(0, Ordering::Relaxed);
        let began = core.settings.clock.monotonic();
        let vacuumed = match core.reads.live().await {
            Ok(live) => live.execute(&statement).await.map_err(|fault| fault.into_error("vacuum the jobs")),
            Err(error) => Err(error),
        };
        if let Err(error) = vacuumed {
            // The server's own vacuum runs later.
            tracing::debug!(%error, "the vacuum of the jobs failed");
        }
        let took = core.settings.clock.monotonic().saturating_sub(began);
        count(core).await;
        core.settings.clock.sleep(SPAN.max(took * RESTS)).await;
    }
}
