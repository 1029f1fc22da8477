//! A handler as a worker holds it.

use std::time::Duration;

use backroom_core::{JobRow, Json, RetryPolicy};
use futures_util::future::BoxFuture;

use crate::{Context, Failure, handler_state::States};

/// A handler with its types erased: args and output are JSON.
pub(crate) struct Handler {
    /// The retry policy of jobs that have none of their own.
    pub(crate) retry: RetryPolicy,
    /// Whether it runs on a thread and may have to wait for a core.
    pub(crate) is_blocking: bool,
    /// The longest attempt, whatever the job allows. A job may have a shorter timeout of its own.
    pub(crate) timeout: Option<Duration>,
    /// The name of the key that its type is sealed with.
    pub(crate) seal: Option<&'static str>,
    /// How long it may go on after its time is over, to end in order. Its run ends after that.
    pub(crate) wind_up: Duration,
    /// Whether the worker has the state it takes; the name of the missing type otherwise.
    pub(crate) check_state: fn(&States) -> Result<(), &'static str>,
    pub(crate) run: Run,
}

impl Handler {
    /// How long an attempt of this job may take.
    pub(crate) fn timeout_of(&self, job: &JobRow) -> Option<Duration> {
        match (job.extras.timeout, self.timeout) {
            (Some(of_job), Some(of_kind)) => Some(of_job.min(of_kind)),
            (one, other) => one.or(other),
        }
    }
}

pub(crate) type Run = Box<dyn Fn(Context) -> BoxFuture<'static, Result<Json, Failure>> + Send + Sync>;
