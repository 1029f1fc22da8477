//! Runs the kinds of the settings with a [`Worker`] of the library.

use std::{sync::Arc, time::Duration};

use backroom::{JobRow, QueueOrder, RunKey, Worker};

use crate::{
    config::{self, ServerSettings},
    terminal::Problem,
};

/// What a worker adds to the longest grace of its commands before it gives up on them.
const GRACE_EXTRA: Duration = Duration::from_secs(2);

/// How the programs of jobs call back: the URL of the server, and the token of each run.
#[derive(Clone)]
pub(crate) struct CallBack {
    /// The URL of the server.
    pub(crate) url: String,
    /// The token of a run.
    pub(crate) token: Arc<dyn Fn(RunKey) -> Option<String> + Send + Sync>,
}

/// Gives a worker the kinds and the queues of the settings.
pub(crate) fn with_kinds(
    worker: Worker,
    settings: &ServerSettings,
    call_back: Option<&CallBack>,
) -> Result<Worker, Problem> {
    let mut worker = worker.grace(settings.worker.grace);
    for queue in &settings.worker.queues {
        worker = worker.queues(QueueOrder::strict([queue.queue.clone()]), queue.slots);
    }
    let mut grace = Duration::ZERO;
    for (name, kind) in &settings.kinds {
        grace = grace.max(kind.grace);
        worker = with_kind(worker, name, kind, call_back)?;
    }
    Ok(worker.cancel_grace(grace.saturating_add(GRACE_EXTRA)))
}

#[cfg(target_os = "linux")]
fn with_kind(
    worker: Worker,
    name: &str,
    kind: &config::Kind,
    call_back: Option<&CallBack>,
) -> Result<Worker, Problem> {
    let mut spec = config::kinds::command(kind);
    if let Some(call_back) = call_back.cloned() {
        spec = spec.env_of_run(move |job| variables(&call_back, job));
    }
    Ok(worker.command(name, spec))
}

#[cfg(not(target_os = "linux"))]
fn with_kind(_: Worker, name: &str, _: &config::Kind, _: Option<&CallBack>) -> Result<Worker, Problem> {
    Err(Problem::new(format_args!("run the kind {name:?}"), &"commands run on Linux only"))
}

/// What a program needs to call back.
fn variables(call_back: &CallBack, job: &JobRow) -> Vec<(String, String)> {
    let run = job.lease_id.map(|lease| RunKey { job: job.id, lease });
    let Some(token) = run.and_then(|run| (call_back.token)(run)) else { return Vec::new() };
    vec![("BACKROOM_SERVER".into(), call_back.url.clone()), ("BACKROOM_TOKEN".into(), token)]
}
