//! Listening for notifications of other processes, and measuring the database's clock.

use std::{sync::Arc, time::Duration};

use super::{hints::channel, vacuum};
use crate::clock::Clock;
use crate::store::postgres::{Core, schema::STANDBY, wire::connection::Live};

/// How often the store measures the database's clock: after that clock was set, processes disagree about the time for
/// this long at most.
const MEASURE_EVERY: Duration = Duration::from_secs(10);

/// The pause before listening is tried again: after an outage, and after the server refused it.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_LONG: Duration = Duration::from_secs(10);

async fn is_standby(live: &Live) -> bool {
    let rows = live.query(&STANDBY, &[]).await;
    rows.is_ok_and(|rows| rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)))
}

/// Listens on the connection for reads, and again on every new one, until the store is closed.
pub(crate) async fn listen(core: Arc<Core>) {
    let closed = core.settings.closed.clone();
    tokio::select! {
        () = closed.cancelled() => {}
        () = listen_repeatedly(&core) => {}
    }
}

async fn listen_repeatedly(core: &Core) {
    let statement = format!("LISTEN \"{}\"", channel(core.settings.schema()));
    loop {
        let listening = match core.reads.live().await {
            Ok(live) if is_standby(&live).await => {
                // A standby sends no notifications, and LISTEN would end the connection.
                core.settings.clock.sleep(PAUSE_LONG).await;
                continue;
            }
            Ok(live) => {
                live.execute(&statement).await.map_err(|fault| fault.into_error("listen for notifications"))
            }
            Err(error) => Err(error),
        };
        match listening {
            Ok(()) => {
                // Notifications were lost while this process did not listen.
                core.hints.wakes.notify_all();
                // The connection is new, so the server may be another one, with another clock.
                measure(core).await;
                core.reads.ended().await;
            }
            Err(error) => {
                tracing::debug!(%error, "not listening for notifications; workers find jobs by polling");
                let pause = if error.is_transient() { PAUSE } else { PAUSE_LONG };
                core.settings.clock.sleep(pause).await;
            }
        }
    }
}

/// Measures the database's clock from time to time, until the store is closed.
pub(crate) async fn align(core: Arc<Core>) {
    let closed = core.settings.closed.clone();
    let measuring = async {
        loop {
            core.settings.clock.sleep(MEASURE_EVERY).await;
            measure(&core).await;
            vacuum::count(&core).await;
        }
    };
    tokio::select! {
        () = closed.cancelled() => {}
        () = measuring => {}
    }
}

async fn measure(core: &Core) {
    if let Err(error) = core.database_time.measure(&core.claims).await {
        // The store goes on with the last measurement.
        tracing::debug!(%error, "the database's clock was not read");
    }
}
