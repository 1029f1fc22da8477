//! Requests to write the worker's row now, to the one task that writes it.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::{Error, ErrorKind};

/// Most requests on their way. Only trials make them, one after another.
const REQUESTS_MAX: usize = 16;

/// Answered once the row is written.
pub(super) type RowWrite = oneshot::Sender<Result<(), Error>>;

/// Asks for writes of the row.
#[derive(Clone)]
pub(crate) struct RowWrites(mpsc::Sender<RowWrite>);

/// Where these requests arrive. The task that writes the row takes it once.
pub(crate) struct RowRequests(Mutex<Option<mpsc::Receiver<RowWrite>>>);

pub(super) fn channel() -> (RowWrites, RowRequests) {
    let (sender, receiver) = mpsc::channel(REQUESTS_MAX);
    (RowWrites(sender), RowRequests(Mutex::new(Some(receiver))))
}

impl RowWrites {
    /// Returns once the row is written as it is now.
    pub(crate) async fn write(&self) -> Result<(), Error> {
        let (request, written) = oneshot::channel();
        let ended = || Error::new(ErrorKind::Unavailable, "write the worker's row: the worker has stopped");
        self.0.send(request).await.map_err(|_| ended())?;
        written.await.unwrap_or_else(|_| Err(ended()))
    }
}

impl RowRequests {
    pub(super) fn take(&self) -> Option<mpsc::Receiver<RowWrite>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
