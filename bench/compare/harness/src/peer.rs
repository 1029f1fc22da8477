//! What a library must be able to do to be compared.

use std::future::Future;

use crate::{Email, Request};

/// Whatever went wrong in a peer's own words.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A job library on a fresh store. Its clones share that store.
///
/// A worker's handler calls [`ran`](crate::ran) as its first line and does nothing else.
pub trait Peer: Clone + Send + Sync + 'static {
    /// Workers that run; dropping or [`stop`](Peer::stop)ping it ends them.
    type Worker: Send;

    /// Connects to the empty database that the request names, or makes its file in the empty folder it names, and makes
    /// the library's tables.
    fn open(request: &Request) -> impl Future<Output = Result<Self, Error>> + Send;

    /// Enqueues one job; it is as durable as it will be when this returns.
    fn enqueue(&self, email: Email) -> impl Future<Output = Result<(), Error>> + Send;

    /// Enqueues these jobs in one call of the library's own call for many.
    fn enqueue_batch(&self, emails: Vec<Email>) -> impl Future<Output = Result<(), Error>> + Send;

    /// Starts workers with as many slots as the request says.
    fn start(&self) -> impl Future<Output = Result<Self::Worker, Error>> + Send;

    /// Ends the workers.
    fn stop(&self, worker: Self::Worker) -> impl Future<Output = Result<(), Error>> + Send;

    /// How many jobs the store holds that are not finished.
    fn unfinished(&self) -> impl Future<Output = Result<u64, Error>> + Send;

    /// How many finished jobs the store keeps.
    fn finished(&self) -> impl Future<Output = Result<u64, Error>> + Send;

    /// How safe an acknowledged write is, read from a connection as the library makes it wherever one can be had.
    fn durability(&self) -> impl Future<Output = Result<String, Error>> + Send;
}
