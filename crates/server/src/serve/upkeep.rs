//! The worker of the server: it does the upkeep of the store.

use std::sync::Arc;

use backroom::{RunningWorker, Worker};

use super::AppState;
use crate::terminal::Problem;

/// Starts it, unless the settings say that other processes do the upkeep.
pub(super) async fn start(state: &AppState) -> Result<Option<RunningWorker>, Problem> {
    let settings = state.settings.now();
    if !settings.upkeep {
        return Ok(None);
    }
    let metrics = Arc::clone(&state.metrics);
    let worker = Worker::new(&state.backroom).only_upkeep().on_end(move |end| metrics.ended(end));
    Ok(Some(worker.start().await?))
}
