//! Whether anything will run what was enqueued.

use backroom::WorkerRow;

use crate::{target::Target, terminal::Problem};

/// Warns why a job will wait, if it is known already. `BACKROOM_LOG=off` silences it, as all warnings.
/// What was enqueued stays so if that cannot be read.
pub(super) async fn warn(target: &Target, queue: &str, kind: &str) {
    if let Err(problem) = look(target, queue, kind).await {
        tracing::warn!(
            error = problem.said(),
            "what was enqueued is stored; whether a worker will run it could not be read"
        );
    }
}

async fn look(target: &Target, queue: &str, kind: &str) -> Result<(), Problem> {
    let paused = target
        .queues()
        .await?
        .queues
        .into_iter()
        .any(|found| found.name == queue && found.paused_at.is_some());
    if paused {
        tracing::warn!("queue {queue} is paused; `backroom queues resume {queue}` ends it");
    }
    if let Some(why) = lacks(&target.workers().await?.workers, queue, kind) {
        tracing::warn!("{why}; the job waits until one does");
    }
    Ok(())
}

/// What no living worker does that the job needs; none if one would run it.
fn lacks(workers: &[WorkerRow], queue: &str, kind: &str) -> Option<String> {
    let serving: Vec<_> =
        workers.iter().filter(|worker| worker.queues.iter().any(|(name, _)| name == queue)).collect();
    if serving.is_empty() {
        let others = if workers.is_empty() { "no worker is alive, so none" } else { "no living worker" };
        return Some(format!("{others} serves queue {queue}"));
    }
    let able = serving.iter().any(|worker| worker.handles(kind));
    (!able).then(|| format!("no living worker of queue {queue} handles kind {kind}"))
}
