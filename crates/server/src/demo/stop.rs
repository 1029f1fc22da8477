//! Ctrl-C: the first one stops softly, the second one at once.

use std::io;

use tokio::sync::watch;

use super::DemoError;

/// What a shell reports of a program that Ctrl-C ended (128 + SIGINT).
const EXIT_INTERRUPTED: i32 = 130;

/// Becomes true at the first Ctrl-C (or SIGTERM). At the second one the process ends where it stands: nothing is
/// lost, its jobs are taken up again when their leases end.
pub(crate) fn listen() -> Result<watch::Receiver<bool>, DemoError> {
    let (asked, stop) = watch::channel(false);
    let mut signals = Signals::new().map_err(DemoError::io("listen for Ctrl-C"))?;
    tokio::spawn(async move {
        signals.next().await;
        asked.send_replace(true);
        signals.next().await;
        std::process::exit(EXIT_INTERRUPTED);
    });
    Ok(stop)
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn new() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) {
        let _ = self.0.recv().await;
    }
}
