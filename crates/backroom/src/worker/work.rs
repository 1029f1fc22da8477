//! What a worker holds and runs at the moment.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use super::{
    active_runs::{ActiveRuns, DetachedRuns},
    held_bytes::HeldBytes,
    pool::Pool,
    suspects::Suspects,
};

/// The jobs of one worker, from the claim to the recorded end.
pub(crate) struct Work {
    /// Its slots.
    pub(crate) pools: Vec<Arc<Pool>>,
    /// The runs whose leases it holds.
    pub(crate) active: ActiveRuns,
    /// Runs that ended while their handler goes on.
    pub(crate) detached: DetachedRuns,
    /// Jobs that are suspected of killing their worker.
    pub(crate) suspects: Suspects,
    /// The bytes of its jobs and their outputs.
    pub(crate) bytes: Arc<HeldBytes>,
    /// Handlers running now.
    pub(crate) running: AtomicU32,
    /// Jobs given back since the worker is stopping.
    pub(crate) released: AtomicU64,
    /// Claims under way: their jobs are neither in the store's queue nor among the active runs.
    claiming: Claiming,
}

/// Counts claims.
#[derive(Default)]
struct Claiming {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Work {
    pub(super) fn new(pools: Vec<Arc<Pool>>, bytes: Arc<HeldBytes>) -> Self {
        Self {
            pools,
            active: ActiveRuns::default(),
            detached: DetachedRuns::default(),
            suspects: Suspects::default(),
            bytes,
            running: AtomicU32::new(0),
            released: AtomicU64::new(0),
            claiming: Claiming::default(),
        }
    }

    /// A claim is sent.
    pub(super) fn claim_begins(&self) {
        self.claiming.begun.fetch_add(1, Ordering::SeqCst);
    }

    /// Its jobs are in the pool, or given back, or known not to come.
    pub(super) fn claim_ends(&self) {
        self.claiming.ended.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether no job is between the store's queue and its recorded end. Returns the count of claims so far: two equal counts
    /// mean that no claim was made in between.
    pub(crate) fn at_rest(&self) -> Option<u64> {
        let begun = self.claiming.begun.load(Ordering::SeqCst);
        let is_claiming = begun != self.claiming.ended.load(Ordering::SeqCst);
        if is_claiming || !self.active.is_empty() { None } else { Some(begun) }
    }

    /// Takes out all runs that have not begun.
    pub(crate) fn take_waiting(&self) -> Vec<Arc<super::run::Run>> {
        let waiting = self.pools.iter().flat_map(|pool| pool.take_waiting());
        waiting.chain(self.suspects.take_waiting()).collect()
    }
}
