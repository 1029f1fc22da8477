//! The worker of the server: it does the upkeep of the store, and sends callbacks.

use std::sync::Arc;

use backroom::{RunningWorker, Worker};

use super::AppState;
use crate::{config::callbacks, terminal::Problem};

/// Starts it, unless the settings leave it nothing to do.
pub(super) async fn start(state: &AppState) -> Result<Option<RunningWorker>, Problem> {
    let settings = state.settings.now();
    let metrics = Arc::clone(&state.metrics);
    let worker = Worker::new(&state.backroom).grace(settings.drain).on_end(move |end| metrics.ended(end));
    let worker = if settings.callbacks.send {
        let options = callbacks::options(&settings.callbacks)
            .map_err(|(key, why)| Problem::new(format_args!("read the setting `{key}`"), &why))?;
        worker.callbacks(options)?.upkeep(settings.upkeep)
    } else if settings.upkeep {
        worker.only_upkeep()
    } else {
        return Ok(None);
    };
    Ok(Some(worker.start().await?))
}
