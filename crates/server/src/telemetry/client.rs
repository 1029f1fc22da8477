//! Sends exports to the collector, and reports when that fails and when it works again.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use hyper::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;

use crate::{remote, terminal::Problem};

/// Longest time of one export.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Sends requests from the threads of the exporters, through the runtime of the server.
pub(super) struct Client {
    runtime: Handle,
    what: &'static str,
    /// Exports in a row that failed.
    failed: AtomicU64,
}

impl Client {
    /// `what` names for people what it sends.
    pub(super) fn new(runtime: Handle, what: &'static str) -> Self {
        Self { runtime, what, failed: AtomicU64::new(0) }
    }

    fn note_failure(&self, why: &dyn fmt::Display) {
        let what = self.what;
        if self.failed.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!("{what} could not be exported: {why}; further failures are counted");
        } else {
            tracing::debug!("{what} could not be exported: {why}");
        }
    }

    fn note_success(&self) {
        let failed = self.failed.swap(0, Ordering::Relaxed);
        if failed > 0 {
            tracing::warn!("{} are exported again, after {failed} exports that failed", self.what);
        }
    }
}

#[backroom::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The limit is made inside the runtime: this thread has no timers.
        let sending = async move { tokio::time::timeout(TIME_MAX, remote::exchange(request)).await };
        let sending = self.runtime.spawn(sending);
        let answer = match sending.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => {
                let why = format!("the collector did not answer within {} s", TIME_MAX.as_secs());
                Err(Problem::new("export", &why))
            }
            Err(_) => Err(Problem::new("export", &"the server has stopped")),
        };
        match answer {
            Ok(answer) if answer.status().is_success() => {
                self.note_success();
                Ok(answer)
            }
            Ok(answer) => {
                self.note_failure(&format_args!("the collector answers {}", answer.status()));
                Ok(answer)
            }
            Err(problem) => {
                self.note_failure(&problem);
                Err(problem.to_string().into())
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("what", &self.what).finish_non_exhaustive()
    }
}
