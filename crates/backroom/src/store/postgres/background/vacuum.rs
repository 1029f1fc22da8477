//! Sweeping behind ourselves.
//!
//! Each claim and each end of a run leaves a dead row and dead index entries at the very place where the next claim
//! begins to look, and each tray a hundred dead pieces. They are stepped over one by one until vacuum takes them away, and
//! the server's own vacuum looks in once a minute: by then a busy queue has left millions, and a claim that should take half
//! a millisecond takes many. So the store asks for a vacuum by itself once it has left enough. Vacuum stops nobody, and
//! where another process sweeps already this one does not wait for it.

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

/// Dead rows of this process after which it sweeps: about ten milliseconds of vacuum.
const ROWS: u64 = 20_000;
/// The least time between two sweeps.
const SPAN: Duration = Duration::from_millis(200);
/// And so many times as long as the last one took: vacuum reads whole indexes, and over a backlog of millions it would
/// otherwise do nothing else.
const RESTS: u32 = 9;

/// To give the end of a file back would lock the table, and the next jobs need the room anyway.
const VACUUM: &str = "VACUUM (SKIP_LOCKED, TRUNCATE OFF, INDEX_CLEANUP ON) {schema}.jobs, {schema}.trays";

/// Dead rows among the live jobs, as the server counts them. Behind a vacuum they are those that it could not take away.
/// Parameter: schema.
static DEAD: Sql = Sql {
    text: "SELECT n_dead_tup FROM pg_catalog.pg_stat_user_tables WHERE schemaname = $1 AND relname = 'jobs'",
    types: &[Type::TEXT],
};

/// Learns how many dead rows there are.
pub(crate) async fn count(core: &Core) {
    match core.claims.query(&DEAD, &[&core.settings.schema()]).await {
        Ok(rows) => {
            let dead = rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or(0);
            core.frontiers.counted(dead);
        }
        Err(fault) => {
            let error = fault.into_error("count dead rows");
            tracing::debug!(%error, "dead rows were not counted");
        }
    }
}

/// What this process has left lying since it last swept.
#[derive(Debug, Default)]
pub(crate) struct DeadRows {
    rows: AtomicU64,
    enough: Notify,
}

impl DeadRows {
    /// So many rows were left.
    pub(crate) fn add(&self, rows: usize) {
        let rows = rows as u64;
        if self.rows.fetch_add(rows, Ordering::Relaxed) + rows >= ROWS {
            self.enough.notify_one();
        }
    }
}

/// Sweeps whenever there is enough to sweep, until the store is closed.
pub(crate) async fn sweep(core: Arc<Core>) {
    let closed = core.settings.closed.clone();
    tokio::select! {
        () = closed.cancelled() => {}
        () = sweep_for_ever(&core) => {}
    }
}

async fn sweep_for_ever(core: &Core) {
    let words = named(VACUUM, core.settings.schema());
    loop {
        core.dead_rows.enough.notified().await;
        core.dead_rows.rows.store(0, Ordering::Relaxed);
        let began = core.settings.clock.monotonic();
        let swept = match core.reads.live().await {
            Ok(live) => live.execute(&words).await.map_err(|fault| fault.into_error("vacuum the jobs")),
            Err(error) => Err(error),
        };
        if let Err(error) = swept {
            // The server's own vacuum comes in its time.
            tracing::debug!(%error, "the jobs were not swept");
        }
        let took = core.settings.clock.monotonic().saturating_sub(began);
        count(core).await;
        core.settings.clock.sleep(SPAN.max(took * RESTS)).await;
    }
}
