//! What the workers of one process share: how many handlers run there, which suspect is on trial, and whether a prime suspect
//! runs alone.
//!
//! A process dies as a whole. So a trial proves something only if all workers of the process take part, also those of other
//! stores.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use backroom_core::JobId;
use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore};

/// The wait of a prime suspect that could not run alone; doubled each time.
const AGAIN: Duration = Duration::from_secs(30);
/// No such wait is longer.
const AGAIN_MAX: Duration = Duration::from_secs(30 * 60);
/// Most jobs whose failed tries are counted.
const TRIES_MAX: usize = 1000;

/// The handlers of one process.
#[derive(Debug)]
pub struct Neighbours {
    /// Handlers that run, in slots and on threads whose run has ended.
    running: AtomicUsize,
    /// Only the prime suspect may begin.
    is_closed: AtomicBool,
    opened: Notify,
    emptied: Notify,
    /// One suspect of the process is on trial at a time.
    trial: Arc<Semaphore>,
    tries: Mutex<HashMap<JobId, u32>>,
}

static THIS_PROCESS: LazyLock<Arc<Neighbours>> = LazyLock::new(|| Arc::new(Neighbours::new()));

impl Neighbours {
    /// Those of this process.
    pub(crate) fn here() -> Arc<Self> {
        Arc::clone(&THIS_PROCESS)
    }

    /// Those of a process that a simulation plays.
    pub fn new() -> Self {
        Self {
            running: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            opened: Notify::new(),
            emptied: Notify::new(),
            trial: Arc::new(Semaphore::new(1)),
            tries: Mutex::default(),
        }
    }

    /// A handler is about to begin; none if a prime suspect runs alone.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Running> {
        let running = self.begin_alone();
        // Counted before this check, and `close` comes before the check of the count: one of the two sees the other.
        if self.is_closed() { None } else { Some(running) }
    }

    /// The prime suspect is about to begin.
    pub(crate) fn begin_alone(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::SeqCst);
        Running(Arc::clone(self))
    }

    /// Whether nothing may begin.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Returns when handlers may begin.
    pub(crate) async fn open(&self) {
        loop {
            let opened = self.opened.notified();
            tokio::pin!(opened);
            opened.as_mut().enable();
            if !self.is_closed() {
                return;
            }
            opened.await;
        }
    }

    /// Lets nothing begin until the guard is dropped. Only the holder of the trial may call it.
    pub(crate) fn close(self: &Arc<Self>) -> Closed {
        self.is_closed.store(true, Ordering::SeqCst);
        Closed(Arc::clone(self))
    }

    /// Returns when no handler runs.
    pub(crate) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            if self.running.load(Ordering::SeqCst) == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Waits for the right to let a suspect begin.
    pub(crate) async fn trial(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.trial).acquire_owned().await
    }

    /// How long this prime suspect waits that could not run alone once more.
    pub(crate) fn again(&self, job: JobId) -> Duration {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        if tries.len() >= TRIES_MAX {
            tries.clear();
        }
        let tries = tries.entry(job).or_default();
        let wait = AGAIN.saturating_mul(2u32.saturating_pow(*tries)).min(AGAIN_MAX);
        *tries += 1;
        wait
    }

    /// This prime suspect runs alone.
    pub(crate) fn found(&self, job: JobId) {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner).remove(&job);
    }
}

impl Default for Neighbours {
    fn default() -> Self {
        Self::new()
    }
}

/// A handler runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Running(Arc<Neighbours>);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::SeqCst) == 1 && self.0.is_closed() {
            self.0.emptied.notify_waiters();
        }
    }
}

/// Nothing begins until this is dropped.
#[derive(Debug)]
pub(crate) struct Closed(Arc<Neighbours>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.is_closed.store(false, Ordering::SeqCst);
        self.0.opened.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_begins_while_a_prime_suspect_runs_alone() {
        let process = Arc::new(Neighbours::new());
        let before = process.begin().expect("open");
        let closed = process.close();
        assert!(process.begin().is_none());
        drop(before);
        process.empty().await;
        let prime = process.begin_alone();
        assert!(process.begin().is_none());
        drop((prime, closed));
        process.open().await;
        assert!(process.begin().is_some());
    }

    #[test]
    fn a_prime_suspect_that_cannot_run_alone_waits_longer_each_time() {
        let (process, job) = (Neighbours::new(), JobId(uuid::Uuid::nil()));
        let waits: Vec<_> = (0..8).map(|_| process.again(job).as_secs()).collect();
        assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1800, 1800]);
        process.found(job);
        assert_eq!(process.again(job), AGAIN);
    }
}
