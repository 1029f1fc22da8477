//! Inside a `tokio_postgres` transaction.

use std::sync::Arc;

use super::handle;
use crate::{
    Error, ErrorKind,
    client::{Backroom, Enqueue, EnqueueMany, EnqueuedMany, JobHandle, many::after},
    store::postgres::{PostgresStore, Within},
};

impl<'a, J: 'a> Enqueue<'a, J> {
    /// Enqueues inside a `tokio_postgres` transaction on the same database: the job comes into being when the caller
    /// commits, and never if the caller rolls back. The commit notifies workers, each queue once however many jobs it has in
    /// the transaction; `notify_within=false` in the URL turns that off for programs that commit hundreds of such transactions
    /// per second, and workers find the jobs within a second.
    ///
    /// Waiting on the handle before the commit waits for a job that does not exist yet, and answers
    /// [`NotFound`](ErrorKind::NotFound). A unique key that another transaction is about to take is waited for until
    /// that one ends, so enqueue late and commit soon. Where a job holds the key already, it does not begin or end until
    /// then; one that runs goes on and keeps its lease. Other jobs are not touched.
    ///
    /// Fails as [`Invalid`](ErrorKind::Invalid) on a client that was not opened with a `postgres://` URL, and otherwise
    /// as an enqueue does. After an error that the server told, the transaction can only be rolled back; so should it be
    /// when the future was dropped before it answered.
    pub async fn within_postgres(
        self,
        transaction: &tokio_postgres::Transaction<'_>,
    ) -> Result<JobHandle<J>, Error> {
        let backroom = self.backroom;
        let within = within_of(backroom)?;
        let new = self.check()?;
        let (id, now) = (new.job.id, new.job.created_at);
        let answers = PostgresStore::insert_in(transaction, &*within, &[new], now).await?;
        handle(backroom, id, &answers)
    }
}

impl EnqueueMany<'_> {
    /// Enqueues the jobs inside a `tokio_postgres` transaction: all of them come into being when the caller commits,
    /// and none if the caller rolls back. Otherwise as [`Enqueue::within_postgres`].
    ///
    /// After any error only a part of them is in the transaction, so roll it back.
    pub async fn within_postgres(
        mut self,
        transaction: &tokio_postgres::Transaction<'_>,
    ) -> Result<EnqueuedMany, Error> {
        let within = within_of(self.backroom)?;
        let engine = self.backroom.engine().clone();
        let mut sum = EnqueuedMany::default();
        loop {
            let chunk = self.chunk(&engine).map_err(|error| after(&sum, error))?;
            if chunk.is_empty() {
                return Ok(sum);
            }
            let answers = PostgresStore::insert_in(transaction, &*within, &chunk, engine.clock.now()).await;
            sum.count(&answers.map_err(|error| after(&sum, error))?);
        }
    }
}

/// Where the client's store keeps its tables, and whether commits notify.
pub(super) fn within_of(backroom: &Backroom) -> Result<Arc<Within>, Error> {
    backroom.engine().postgres_within.clone().ok_or_else(|| {
        let why =
            "enqueue in a PostgreSQL transaction: the store is no PostgreSQL; open it with a postgres:// URL";
        Error::new(ErrorKind::Invalid, why)
    })
}
