//! Handlers that still run when their worker has stopped: nothing can stop a thread from outside.

use std::{sync::Arc, time::Duration};

use backroom_core::{JobId, Timestamp};

use super::run::Run;

/// A blocking handler that goes on after its worker has stopped. Its job runs again elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StillRunning {
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: String,
    /// Its queue.
    pub queue: String,
    /// Which attempt it was.
    pub attempt: u32,
    /// When the handler began.
    pub since: Option<Timestamp>,
}

impl StillRunning {
    pub(super) fn of(run: &Run) -> Self {
        let job = &run.job;
        Self {
            id: job.id,
            kind: job.kind.clone(),
            queue: job.queue.clone(),
            attempt: job.attempt,
            since: run.began_at(),
        }
    }
}

/// Most of them that are named, one by one.
pub(super) const NAMED_MAX: usize = 100;
/// Most of them that one report logs.
const LOGGED_MAX: usize = 10;
/// The first wait between two reports; each further one doubles it.
const WAIT_MIN: Duration = Duration::from_secs(2);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Logs which handlers hold the process, at once and repeatedly until they have ended. It uses a thread of its own, because the
/// runtime may be shutting down and waits for these handlers.
pub(super) fn keep_reporting(worker: &str, mut runs: Vec<Arc<Run>>) {
    if runs.is_empty() {
        return;
    }
    report(worker, &runs);
    let worker = worker.to_owned();
    let subscriber = tracing::dispatcher::get_default(Clone::clone);
    let reporting = move || {
        tracing::dispatcher::with_default(&subscriber, || {
            let mut wait = WAIT_MIN;
            loop {
                std::thread::park_timeout(wait);
                wait = (wait * 2).min(WAIT_MAX);
                runs.retain(|run| run.goes_on());
                if runs.is_empty() {
                    tracing::info!(worker, "the handlers that went on after the stop have ended");
                    return;
                }
                report(&worker, &runs);
            }
        });
    };
    if let Err(error) = std::thread::Builder::new().name("backroom-stopped".into()).spawn(reporting) {
        tracing::warn!(%error, "no thread could be started that reports these handlers again");
    }
}

fn report(worker: &str, runs: &[Arc<Run>]) {
    for run in runs.iter().take(LOGGED_MAX) {
        let (job, since) = (&run.job, run.began_at().map(|at| at.to_string()).unwrap_or_default());
        tracing::error!(
            worker, job = %job.id, kind = %job.kind, since,
            "the worker has stopped, but this blocking handler goes on and prevents the end of the process; let it check \
             Context::is_cancelled, or end the process by std::process::exit"
        );
    }
    if runs.len() > LOGGED_MAX {
        tracing::error!(
            worker,
            handlers = runs.len() - LOGGED_MAX,
            "further blocking handlers go on as well"
        );
    }
}
