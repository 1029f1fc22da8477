//! A thread that drives one connection, independent of the runtimes of its callers.

use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

use crate::{Error, ErrorKind};

/// A thread with a runtime, started at the first use. It ends when this is dropped.
#[derive(Default)]
pub(crate) struct Home {
    runtime: Mutex<Option<Handle>>,
    ended: CancellationToken,
}

impl Home {
    /// Runs a future on that thread. Tasks that the future spawns stay there.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Error> {
        let running = self.runtime()?.spawn(future);
        running.await.map_err(|error| Error::closed("store").caused_by(error))
    }

    /// Ends the thread, and every connection that it drives.
    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    fn runtime(&self) -> Result<Handle, Error> {
        let mut runtime_of_thread = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = &*runtime_of_thread {
            return Ok(handle.clone());
        }
        let failed = |error: std::io::Error| {
            let message = "connect to PostgreSQL: no thread could be started for the connection";
            Error::new(ErrorKind::Unavailable, message).caused_by(error)
        };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let ended = self.ended.clone();
        let subscriber = tracing::dispatcher::get_default(Clone::clone);
        let driving = move || {
            tracing::dispatcher::with_default(&subscriber, || runtime.block_on(ended.cancelled()));
            // A lookup of a host name may still be under way; nothing waits for it.
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("backroom-postgres".into()).spawn(driving).map_err(failed)?;
        *runtime_of_thread = Some(handle.clone());
        Ok(handle)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.end();
    }
}
