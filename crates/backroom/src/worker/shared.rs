//! What the tasks of one running worker share.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::{Arc, atomic::AtomicU32},
};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::{build::Settings, held::Held, notes::Notes, report::Report};
use crate::{Middleware, Timestamp, engine::Engine, handler::Handler};

/// One running worker.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) name: String,
    pub(crate) started_at: Timestamp,
    pub(crate) handlers: HashMap<String, Handler>,
    pub(crate) kinds: Arc<Vec<String>>,
    pub(crate) middleware: Vec<Arc<dyn Middleware>>,
    pub(crate) state: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    pub(crate) settings: Settings,
    /// The runs whose leases this worker keeps.
    pub(crate) held: Held,
    /// What handlers said and nobody wrote yet.
    pub(crate) notes: Notes,
    /// To the reporter. Bounded: when the store is slow, slots wait here and no more jobs are claimed.
    pub(crate) reports: mpsc::Sender<Report>,
    /// No more claims.
    pub(crate) stopping: CancellationToken,
    /// Runs are dropped where they stand.
    pub(crate) abandoned: CancellationToken,
    /// Rings whenever a run left its slot or was recorded.
    pub(crate) settled: Notify,
    /// Handlers running now.
    pub(crate) running: AtomicU32,
}
