//! The worker of the server: it does the upkeep of the store, sends callbacks, and runs the kinds of the settings.

use std::sync::Arc;

use backroom::{RunningWorker, Worker};

use super::AppState;
use crate::{
    config::callbacks,
    terminal::Problem,
    work::{self, CallBack},
};

/// Starts it, unless the settings leave it nothing to do. `url` is where the commands of jobs reach this server.
pub(super) async fn start(state: &AppState, url: &str) -> Result<Option<RunningWorker>, Problem> {
    let settings = state.settings.now();
    let metrics = Arc::clone(&state.metrics);
    let runs_kinds = settings.worker.run && !settings.kinds.is_empty();
    let mut worker = Worker::new(&state.backroom).grace(settings.drain).on_end(move |end| metrics.ended(end));
    if runs_kinds {
        let tokens = Arc::clone(&state.lease_tokens);
        let call_back = CallBack { url: url.into(), token: Arc::new(move |run| Some(tokens.issue(run))) };
        worker = work::with_kinds(worker, &settings, Some(&call_back))?;
    }
    if settings.callbacks.send {
        let options = callbacks::options(&settings.callbacks)
            .map_err(|(key, why)| Problem::new(format_args!("read the setting `{key}`"), &why))?;
        worker = worker.callbacks(options)?;
    }
    let sends_replies = !settings.brokers.is_empty();
    #[cfg(any(feature = "amqp", feature = "nats", feature = "redis"))]
    if sends_replies {
        let brokers = crate::config::brokers::replies(&settings).map_err(|(name, key, why)| {
            Problem::new(format_args!("read the setting `brokers.{name}.{key}`"), &why)
        })?;
        worker = brokers.serve(worker);
    }
    let worker = match (runs_kinds || settings.callbacks.send || sends_replies, settings.upkeep) {
        (true, upkeep) => worker.upkeep(upkeep),
        (false, true) => worker.only_upkeep(),
        (false, false) => return Ok(None),
    };
    Ok(Some(worker.start().await?))
}
