//! What the workers of one process agree on: how many handlers run there, which suspect is on trial, and whether a prime
//! suspect needs the process for itself.
//!
//! A process dies as a whole, so a trial means something only if all workers in it take part, whichever store they serve.

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

/// The wait of a prime suspect that found no quiet moment; doubled each time.
const AGAIN: Duration = Duration::from_secs(30);
/// No such wait is longer.
const AGAIN_MAX: Duration = Duration::from_secs(30 * 60);
/// Most jobs whose vain tries are counted.
const TRIES_MAX: usize = 1000;

/// The handlers of one process.
#[derive(Debug)]
pub struct Neighbours {
    /// Handlers that run, on slots and on threads that were given up on.
    running: AtomicUsize,
    /// Nothing may begin but the prime suspect.
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

    /// Those of a process that a test makes believe.
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

    /// A handler is about to begin; none if a prime suspect has the process for itself.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Running> {
        let running = self.begin_alone();
        // Counted before the look, and closed before the count is looked at: one of the two sees the other.
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

    /// Lets nothing begin until the answer is dropped. Only for whoever has the trial.
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

    /// The right to let a suspect begin.
    pub(crate) async fn trial(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.trial).acquire_owned().await
    }

    /// How long this prime suspect waits that found no quiet moment once more.
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

    /// This prime suspect found a quiet moment.
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
    async fn nothing_begins_while_a_prime_suspect_has_the_process() {
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
    fn a_prime_suspect_without_a_quiet_moment_asks_ever_more_seldom() {
        let (process, job) = (Neighbours::new(), JobId(uuid::Uuid::nil()));
        let waits: Vec<_> = (0..8).map(|_| process.again(job).as_secs()).collect();
        assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1800, 1800]);
        process.found(job);
        assert_eq!(process.again(job), AGAIN);
    }
}
