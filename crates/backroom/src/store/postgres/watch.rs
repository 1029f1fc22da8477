//! Hearing what other processes tell, and keeping our clock aligned to the database's.

use std::sync::Arc;

use super::{Core, hints::channel, settings::Settings};
use crate::clock::Clock;

/// How often the offset between the clocks is measured.
const ALIGN_EVERY: std::time::Duration = std::time::Duration::from_secs(30);

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
                // Whatever was told while nobody listened.
                core.hints.wakes.ring_all();
                core.reads.ended().await;
            }
            Err(error) => {
                tracing::debug!(%error, "not listening for hints; polling goes on");
                pause(&core.settings).await;
            }
        }
    }
}

/// Measures the offset between the clocks from time to time, until the store is closed.
pub(super) async fn align(core: Arc<Core>) {
    let closed = core.settings.closed.clone();
    let measuring = async {
        loop {
            core.settings.clock.sleep(ALIGN_EVERY).await;
            if let Err(error) = core.database_time.measure(&core.claims).await {
                // The offset measured before goes on to hold.
                tracing::debug!(%error, "the database's clock was not read");
            }
        }
    };
    tokio::select! {
        () = closed.cancelled() => {}
        () = measuring => {}
    }
}

async fn pause(settings: &Settings) {
    settings.clock.sleep(std::time::Duration::from_millis(200)).await;
}
