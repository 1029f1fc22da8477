//! The thread that writes a worker's heartbeats.
//!
//! A handler that blocks the caller's runtime blocks every task on it. The heartbeats have a runtime of their own, so other
//! processes see that the worker lives as long as its process does. The thread ends with the worker, or with the caller's
//! runtime.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Builder;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{blocked, heartbeat, leases, shared::Shared};
use crate::{Error, ErrorKind, clock::Clock};

/// Longest wait for the end of the thread.
const END: Duration = Duration::from_secs(5);

/// A thread that writes heartbeats; it ends when this is dropped.
pub(super) struct HeartbeatThread {
    end: CancellationToken,
    ended: CancellationToken,
}

impl HeartbeatThread {
    /// Starts the heartbeats of a worker.
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Self, Error> {
        let failed = |error: std::io::Error| {
            let message = "start the worker: no thread could be started for its heartbeats";
            Error::new(ErrorKind::Unavailable, message).caused_by(error)
        };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_name("backroom-reads")
            .build()
            .map_err(failed)?;
        let (end, ended) = (CancellationToken::new(), CancellationToken::new());
        let beating = {
            let (shared, end, ended) = (Arc::clone(shared), end.clone(), ended.clone().drop_guard());
            let subscriber = tracing::dispatcher::get_default(Clone::clone);
            move || {
                let _ended = ended;
                tracing::dispatcher::with_default(&subscriber, || runtime.block_on(beat(shared, end)));
                // A read that is under way ends by itself.
                runtime.shutdown_background();
            }
        };
        std::thread::Builder::new().name("backroom-heartbeat".into()).spawn(beating).map_err(failed)?;
        Ok(Self { end, ended })
    }

    /// Ends the thread soon.
    pub(super) fn end(&self) {
        self.end.cancel();
    }

    /// Ends the thread when this is dropped, too.
    pub(super) fn ends_with(&self) -> DropGuard {
        self.end.clone().drop_guard()
    }

    /// Returns when the thread has written its last heartbeat, or after some seconds if it does not end.
    pub(super) async fn ended(&self, clock: &Arc<dyn Clock>) {
        tokio::select! {
            biased;
            () = self.ended.cancelled() => {}
            () = clock.sleep(END) => tracing::warn!("the thread of the heartbeats has not ended"),
        }
    }
}

impl Drop for HeartbeatThread {
    fn drop(&mut self) {
        self.end();
    }
}

async fn beat(shared: Arc<Shared>, end: CancellationToken) {
    tokio::select! {
        biased;
        () = end.cancelled() => {}
        () = heartbeat::keep_beating(Arc::clone(&shared)) => {}
        () = leases::keep_checking(Arc::clone(&shared)) => {}
        () = leases::keep_reading_cancels(Arc::clone(&shared)) => {}
        () = blocked::keep_watching(shared) => {}
    }
}
