//! Runs the kinds of the settings: inside `backroom serve`, in `backroom work` beside a store, and in `backroom work --server` on
//! another machine.
//!
//! All three are a [`Worker`] of the library. On another machine its store is a [`RemoteStore`]: the few verbs that a worker
//! needs, as calls to the API of a server.

mod outcome;
mod remote_store;
mod wire;

use std::{sync::Arc, time::Duration};

use backroom::{JobRow, QueueOrder, RunKey, Worker};

pub(crate) use self::remote_store::RemoteStore;
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
        worker = match &kind.url {
            Some(url) => {
                let mut spec = config::kinds::endpoint(name, kind, url, &settings.callbacks.source)?;
                if let Some(CallBack { url, token }) = call_back.cloned() {
                    spec = spec.call_back_at(url, move |run| token(run));
                }
                worker.endpoint(name, spec)
            }
            None => with_command(worker, name, kind, call_back)?,
        };
    }
    Ok(worker.cancel_grace(grace.saturating_add(GRACE_EXTRA)))
}

#[cfg(target_os = "linux")]
fn with_command(
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
fn with_command(_: Worker, name: &str, _: &config::Kind, _: Option<&CallBack>) -> Result<Worker, Problem> {
    Err(Problem::new(format_args!("run the kind {name:?}"), &"commands run on Linux only"))
}

/// What a program needs to call back.
fn variables(call_back: &CallBack, job: &JobRow) -> Vec<(String, String)> {
    let run = job.lease_id.map(|lease| RunKey { job: job.id, lease });
    let Some(token) = run.and_then(|run| (call_back.token)(run)) else { return Vec::new() };
    vec![("BACKROOM_SERVER".into(), call_back.url.clone()), ("BACKROOM_TOKEN".into(), token)]
}
