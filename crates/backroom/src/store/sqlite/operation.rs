//! One write on its way through the writer thread.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{error::Fault, hints::Hints};
use crate::{Error, ErrorKind};

/// What the writer needs to know of an operation before it runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weight {
    /// Roughly how many rows it writes.
    pub(super) rows: usize,
    /// Roughly how many bytes it writes, or holds until it is committed: args, outputs, log lines.
    pub(super) bytes: usize,
    /// Whether its answer promises that it survives the loss of power.
    pub(super) durable: bool,
}

impl Weight {
    /// Of an operation whose answer promises that it survives the loss of power.
    pub(super) fn durable(rows: usize) -> Self {
        Self { rows, bytes: 0, durable: true }
    }

    /// Of an operation that only matters while its workers live.
    pub(super) fn passing(rows: usize) -> Self {
        Self { rows, bytes: 0, durable: false }
    }

    /// The same with this many bytes.
    pub(super) fn bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }
}

/// An operation whose types are forgotten.
pub(super) trait Operation: Send {
    fn weight(&self) -> Weight;

    /// Whether its caller left and has long been answered that nothing was written.
    fn is_withdrawn(&self) -> bool;

    /// Runs it within the current transaction and stores the answer. Whether it succeeded. May run again after its
    /// transaction was rolled back.
    fn run(&mut self, connection: &Connection, path: &Path, hints: &mut Hints) -> bool;

    /// Puts this error in the place of the answer: the transaction failed.
    fn fail(&mut self, error: Error);

    /// Gives the answer to the caller, who may have left.
    fn answer(self: Box<Self>);
}

/// No caller of an enqueue waits longer. An operation that is dropped earlier is written all the same: its caller does not
/// want to wait, which says nothing about the job.
const WITHDRAWN_AFTER: Duration = Duration::from_secs(10);

/// An operation and who waits for it.
pub(super) struct Pending<T, F> {
    weight: Weight,
    work: F,
    result: Option<Result<T, Error>>,
    reply: oneshot::Sender<Result<T, Error>>,
    since: Instant,
    /// Its place in the queue of the writer, free again once this is dropped.
    _place: OwnedSemaphorePermit,
}

impl<T, F> Pending<T, F> {
    #[expect(clippy::disallowed_methods, reason = "how long it waited; nothing about a job depends on it")]
    pub(super) fn new(
        weight: Weight,
        work: F,
        reply: oneshot::Sender<Result<T, Error>>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { weight, work, result: None, reply, since: Instant::now(), _place: place }
    }
}

impl<T, F> Operation for Pending<T, F>
where
    T: Send,
    F: FnMut(&Connection, &mut Hints) -> Result<T, Fault> + Send,
{
    fn weight(&self) -> Weight {
        self.weight
    }

    fn is_withdrawn(&self) -> bool {
        self.reply.is_closed() && self.since.elapsed() >= WITHDRAWN_AFTER
    }

    fn run(&mut self, connection: &Connection, path: &Path, hints: &mut Hints) -> bool {
        let work = &mut self.work;
        // The caller undoes what was half done by rolling back, in SQLite and in the hints alike.
        let result = catch_unwind(AssertUnwindSafe(|| work(connection, hints)));
        let result = match result {
            Ok(done) => done.map_err(|fault| fault.explain(path)),
            Err(_) => Err(Error::new(ErrorKind::Internal, "write to the store: the operation panicked")),
        };
        let ok = result.is_ok();
        self.result = Some(result);
        ok
    }

    fn fail(&mut self, error: Error) {
        self.result = Some(Err(error));
    }

    fn answer(self: Box<Self>) {
        let unanswered =
            || Err(Error::new(ErrorKind::Internal, "write to the store: the operation never ran"));
        // Fails when the caller has dropped its future. Its operation is written all the same.
        _ = self.reply.send(self.result.unwrap_or_else(unanswered));
    }
}
