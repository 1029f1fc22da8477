//! What client, worker and upkeep share: the store, the clock, the source of ids, and the bounds.

use std::sync::Arc;

use crate::{clock::Clock, ids::Ids, store::Store, telemetry::TraceContext};

/// One open store and what belongs to it.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<Ids>,
    /// Bound on args and output, each, in bytes of JSON text.
    pub(crate) json_bytes_max: usize,
    /// Bound on the bytes that a worker holds in hand, and on those that one call reads.
    pub(crate) bytes_max: usize,
    /// What joins spans with traces of other processes; none where traces end in this process.
    pub(crate) traces: Option<Arc<dyn TraceContext>>,
    /// The SQLite store, for steps of workflows that write rows of the application; none for other stores.
    #[cfg(feature = "sqlite")]
    pub(crate) sqlite: Option<Arc<crate::store::sqlite::SqliteStore>>,
    /// The schema of a PostgreSQL store, for enqueueing in transactions of the caller; none for other stores.
    #[cfg(feature = "postgres")]
    pub(crate) postgres_within: Option<Arc<crate::store::postgres::Within>>,
}
