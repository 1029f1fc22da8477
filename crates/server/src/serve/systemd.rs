//! Reports to systemd: ready, reloading, stopping, and a sign of life for its watchdog. Without systemd nothing happens.

use std::sync::Arc;

use backroom::clock::Clock;
use tokio::task::JoinHandle;

#[cfg(unix)]
mod of_unix {
    use sd_notify::NotifyState;

    use super::*;

    fn notify(states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            tracing::warn!(%error, "systemd could not be notified");
        }
    }

    /// The server answers requests.
    pub(in super::super) fn ready(status: &str) {
        notify(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The server reads its settings again; [`ready`] follows.
    pub(in super::super) fn reloading() {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(_) => notify(&[NotifyState::Reloading]),
        }
    }

    /// The server stops.
    pub(in super::super) fn stopping() {
        notify(&[NotifyState::Stopping, NotifyState::Status("finishing the requests that have begun")]);
    }

    /// Gives a sign of life twice in the time that systemd allows, if it wants any. The task runs on the runtime that answers
    /// requests: when that is blocked, the signs stop.
    pub(in super::super) fn watchdog(clock: Arc<dyn Clock>) -> Option<JoinHandle<()>> {
        let interval = sd_notify::watchdog_enabled()? / 2;
        Some(tokio::spawn(async move {
            loop {
                notify(&[NotifyState::Watchdog]);
                clock.sleep(interval).await;
            }
        }))
    }
}

#[cfg(not(unix))]
mod of_unix {
    use super::*;

    pub(in super::super) fn ready(_status: &str) {}

    pub(in super::super) fn reloading() {}

    pub(in super::super) fn stopping() {}

    pub(in super::super) fn watchdog(_clock: Arc<dyn Clock>) -> Option<JoinHandle<()>> {
        None
    }
}

pub(super) use of_unix::{ready, reloading, stopping, watchdog};
