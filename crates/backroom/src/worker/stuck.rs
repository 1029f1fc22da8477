//! Handlers that do not stop although they were asked to.

use std::time::Duration;

use super::shared::Shared;

/// Counts these handlers, and logs each once: a handler that does not stop occupies a slot or a thread, and only a new process
/// frees it.
pub(super) fn report(shared: &Shared, now: Duration) -> u32 {
    let span = shared.settings.stuck_after;
    let active = shared.work.active.all().into_iter().filter(|run| run.goes_on());
    let runs = active.chain(shared.work.detached.all());
    let stuck: Vec<_> = runs.filter(|run| run.is_stuck(span, now)).collect();
    for run in &stuck {
        if run.first_stuck_report() {
            let why = run.stop_reason().map(|reason| reason.to_string()).unwrap_or_default();
            tracing::error!(
                job = %run.job.id, kind = %run.job.kind, why,
                "the handler is stuck: it was asked to stop and goes on; let it check Context::is_cancelled"
            );
        }
    }
    u32::try_from(stuck.len()).unwrap_or(u32::MAX)
}
