//! The settings of a worker, and their defaults.

use std::{thread::available_parallelism, time::Duration};

use backroom_core::bounds::CRASH_SPAN;

/// How long a worker may be silent before its jobs run elsewhere.
const LEASE_DEFAULT: Duration = Duration::from_secs(30);
pub(super) const LEASE_MIN: Duration = Duration::from_millis(100);
/// With the grace of the cancel 25 s: Kubernetes kills a container 30 s after it asked it to stop.
const GRACE_DEFAULT: Duration = Duration::from_secs(20);
const CANCEL_GRACE_DEFAULT: Duration = Duration::from_secs(5);
/// Most threads for blocking handlers: those that tokio's runtime has by default.
pub(super) const THREADS_MAX: usize = 512;
/// Most slots of one worker.
pub(super) const SLOTS_MAX: u32 = 100_000;

/// The settings of one worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Liveness: how long the worker may be silent.
    pub(crate) lease: Duration,
    /// How often an idle worker asks the store for jobs without a notification.
    pub(crate) poll: Duration,
    /// How long a stopping worker lets its jobs finish.
    pub(crate) grace: Duration,
    /// How long it then waits for handlers that it asked to stop.
    pub(crate) cancel_grace: Duration,
    /// How long a handler may go on after it was asked to stop before it is reported as stuck.
    pub(crate) stuck_after: Duration,
    /// Whether this worker also does the upkeep of the store.
    pub(crate) upkeep: bool,
    /// How long a crash counts against its job.
    pub(crate) crash_span: Duration,
    /// Most bytes in hand; none for what the client was opened with.
    pub(crate) bytes_max: Option<usize>,
    /// Whether ends without failure are logged at INFO.
    pub(crate) log_successes: bool,
    /// Most blocking handlers at once.
    pub(crate) blocking_threads: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self {
            lease: LEASE_DEFAULT,
            poll: Duration::from_secs(1),
            grace: GRACE_DEFAULT,
            cancel_grace: CANCEL_GRACE_DEFAULT,
            stuck_after: Duration::from_secs(30),
            upkeep: true,
            crash_span: CRASH_SPAN,
            bytes_max: None,
            log_successes: false,
            blocking_threads: cores.min(THREADS_MAX),
        }
    }
}
