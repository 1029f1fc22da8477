//! What the tasks of one running worker share.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use backroom_core::bounds::{NAME_BYTES_MAX, clip};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore, mpsc},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    active_runs::{Held, Strays},
    blocked::Watched,
    build::Settings,
    hand::Hand,
    neighbours::Neighbours,
    notes::Notes,
    pool::Pool,
    report::Report,
    trial::Suspects,
    trouble::Trouble,
};
use crate::{
    Middleware, Timestamp,
    ended::Ends,
    engine::Engine,
    handler::{Handler, States},
    repeated::Repeats,
    upkeep::Pulse,
};

/// So much of a name is left when a random part is added.
const FIRST_NAME_BYTES_MAX: usize = NAME_BYTES_MAX - 9;

/// One running worker.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    /// Its name at this moment.
    pub(super) identity: Mutex<Identity>,
    /// Heartbeats so far.
    pub(super) beats: AtomicU64,
    /// Cancelled once the first heartbeat is written: no jobs are claimed before, because nobody could tell that their worker lives.
    pub(super) registered: CancellationToken,
    pub(crate) started_at: Timestamp,
    pub(crate) handlers: HashMap<String, Arc<Handler>>,
    pub(crate) kinds: Arc<Vec<String>>,
    pub(crate) middleware: Vec<Arc<dyn Middleware>>,
    pub(crate) state: States,
    /// One permit for each blocking handler that may run at once.
    pub(crate) threads: Arc<Semaphore>,
    pub(crate) settings: Settings,
    /// The runs whose leases this worker holds.
    pub(crate) held: Held,
    /// The bytes of these runs.
    pub(crate) hand: Arc<Hand>,
    /// Its beats, for the upkeep beside it.
    pub(crate) pulse: Arc<Pulse>,
    /// Where every recorded end is reported.
    pub(crate) ends: Arc<Ends>,
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
    /// Jobs given back since the worker is stopping.
    pub(crate) released: AtomicU64,
    /// Claims under way: jobs that are neither in the store's queue nor among the held ones.
    pub(crate) claiming: Claiming,
    /// What was reported once and is counted now.
    pub(crate) repeats: Repeats,
    /// Runs that ended here while their handler still held a thread.
    pub(crate) strays: Strays,
    /// Its slots.
    pub(crate) pools: Vec<Arc<Pool>>,
    /// All handlers of this process.
    pub(crate) neighbours: Arc<Neighbours>,
    /// Jobs that are suspected of killing their worker.
    pub(crate) suspects: Suspects,
    /// Held while the worker's row is written: an older one must not come after a newer one.
    pub(crate) row: tokio::sync::Mutex<()>,
    /// What keeps it from its work.
    pub(crate) trouble: Trouble,
    /// Whether its runtime is blocked.
    pub(super) watched: Watched,
    /// The runtime that writes its row; none where that is the caller's.
    pub(super) heart: OnceLock<Handle>,
}

/// Who a worker is for the store, until it is declared dead.
pub(crate) struct Identity {
    /// What it was called at its start.
    pub(super) first_name: String,
    pub(super) name: String,
    pub(super) incarnation: Uuid,
}

impl Shared {
    /// Whether this condition is to be reported; met again and again, it is only counted.
    pub(crate) fn is_news(&self, condition: &'static str) -> bool {
        self.repeats.met(condition, self.engine.clock.monotonic())
    }

    /// Its name in the store at this moment.
    pub(crate) fn name(&self) -> String {
        self.identity().name.clone()
    }

    pub(super) fn incarnation(&self) -> Uuid {
        self.identity().incarnation
    }

    /// Takes a fresh name: the one it had is another worker's, or that of a dead one.
    pub(super) fn rename(&self) {
        let incarnation = self.engine.ids.lease().0;
        let mut identity = self.identity();
        let random = incarnation.simple().to_string();
        identity.name = format!("{}~{}", clip(&identity.first_name, FIRST_NAME_BYTES_MAX), &random[..8]);
        identity.incarnation = incarnation;
    }

    fn identity(&self) -> MutexGuard<'_, Identity> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no job is anywhere between the store's queue and its recorded end. The count of claims so far comes
    /// with it: equal counts mean that none came and went in between two answers.
    pub(crate) fn at_rest(&self) -> Option<u64> {
        let begun = self.claiming.begun.load(Ordering::SeqCst);
        if self.is_claiming() || !self.held.is_empty() { None } else { Some(begun) }
    }

    /// Whether a claim is under way.
    pub(crate) fn is_claiming(&self) -> bool {
        self.claiming.begun.load(Ordering::SeqCst) != self.claiming.ended.load(Ordering::SeqCst)
    }

    /// A claim is under way until the answer is dropped.
    pub(crate) fn begin_claim(self: &Arc<Self>) -> ClaimUnderWay {
        self.claiming.begun.fetch_add(1, Ordering::SeqCst);
        ClaimUnderWay(Arc::clone(self))
    }
}

/// Counts claims.
#[derive(Default)]
pub(crate) struct Claiming {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// One claim from before it is sent until its jobs are in the pool, given back, or known not to come.
pub(crate) struct ClaimUnderWay(Arc<Shared>);

impl Drop for ClaimUnderWay {
    fn drop(&mut self) {
        self.0.claiming.ended.fetch_add(1, Ordering::SeqCst);
        // Whoever waits for the worker to be at rest looks again, even if nothing came.
        self.0.settled.notify_waiters();
    }
}
