//! Ctrl-C: the first one stops softly, the second one at once.

use tokio::sync::watch;

/// What a shell reports of a program that Ctrl-C ended (128 + SIGINT).
const EXIT_INTERRUPTED: i32 = 130;

/// Becomes true at the first Ctrl-C (or SIGTERM). At the second one the process ends where it stands: nothing is
/// lost, its jobs run again when their leases end.
pub(crate) fn listen() -> watch::Receiver<bool> {
    let (asked, stop) = watch::channel(false);
    tokio::spawn(async move {
        signal().await;
        asked.send_replace(true);
        signal().await;
        std::process::exit(EXIT_INTERRUPTED);
    });
    stop
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => _ = terminate.recv().await,
            // Where no handler can be set, the signal still ends the process.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = crate::terminal::interrupted() => {}
        () = terminated => {}
    }
}

#[cfg(not(unix))]
async fn signal() {
    crate::terminal::interrupted().await;
}
