//! Giving jobs back that this worker claimed and does not finish.

use std::sync::{Arc, atomic::Ordering};

use super::{report::Report, run::Run, shared::Shared};

/// Reports runs that end without a result. Their jobs go back to the queue, and no attempt is charged.
pub(super) async fn give_back(shared: &Shared, runs: Vec<Arc<Run>>) {
    for run in runs {
        if run.end() {
            if shared.signals.stopping.is_cancelled() {
                shared.work.released.fetch_add(1, Ordering::Relaxed);
            }
            shared.reports.send(Report { run, result: None, output_bytes: None }).await;
        }
    }
}
