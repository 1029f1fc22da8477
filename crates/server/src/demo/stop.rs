//! Ctrl-C: the first one stops softly, the second one at once.

use tokio::sync::watch;

/// What a shell reports of a program that Ctrl-C ended (128 + SIGINT).
const EXIT_INTERRUPTED: i32 = 130;

/// Becomes true at the first Ctrl-C (or SIGTERM). At the second one the process ends at once. Nothing is lost: its jobs run
/// again when their leases end.
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

async fn signal() {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        return tokio::select! {
            _ = crate::terminal::interrupted() => {}
            _ = terminate.recv() => {}
        };
    }
    crate::terminal::interrupted().await;
}
