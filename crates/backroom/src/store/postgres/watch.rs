//! Listening for the hints of other processes, and measuring the database's clock.

use std::sync::Arc;

use super::{Core, hints::channel, settings::Settings};
use crate::clock::Clock;

/// How often the database's clock is measured: processes disagree about the time for no longer than this after it was set.
const MEASURE_EVERY: std::time::Duration = std::time::Duration::from_secs(10);

/// Listens on the connection for reads, and again on every new one, until the store is closed.
pub(super) async fn listen(core: Arc<Core>) {
    let closed = core.settings.closed.clone();
    tokio::select! {
        () = closed.cancelled() => {}
        () = listen_for_ever(&core) => {}
    }
}

async fn listen_for_ever(core: &Core) {
    let words = format!("LISTEN \"{}\"", channel(core.settings.schema()));
    loop {
        let listening = match core.reads.live().await {
            Ok(live) => live.say(&words).await.map_err(|fault| fault.into_error("listen for hints")),
            Err(error) => Err(error),
        };
        match listening {
            Ok(()) => {
                // Hints were lost while this process did not listen.
                core.hints.wakes.ring_all();
                // The connection is new, so the server may be another one, with another clock.
                measure(core).await;
                core.reads.ended().await;
            }
            Err(error) => {
                tracing::debug!(%error, "not listening for hints; polling goes on");
                pause(&core.settings).await;
            }
        }
    }
}

/// Measures the database's clock from time to time, until the store is closed.
pub(super) async fn align(core: Arc<Core>) {
    let closed = core.settings.closed.clone();
    let measuring = async {
        loop {
            core.settings.clock.sleep(MEASURE_EVERY).await;
            measure(&core).await;
        }
    };
    tokio::select! {
        () = closed.cancelled() => {}
        () = measuring => {}
    }
}

async fn measure(core: &Core) {
    if let Err(error) = core.database_time.measure(&core.claims).await {
        // The time of the last measurement is reckoned on.
        tracing::debug!(%error, "the database's clock was not read");
    }
}

async fn pause(settings: &Settings) {
    settings.clock.sleep(std::time::Duration::from_millis(200)).await;
}
