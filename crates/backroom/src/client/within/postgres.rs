//! Inside a `tokio_postgres` transaction.

use std::sync::Arc;

use backroom_core::{Timestamp, draft::NewJob};

use super::{CallersTransaction, enqueue, enqueue_many, mark_followed};
use crate::{
    Error, ErrorKind,
    client::{Backroom, Enqueue, EnqueueMany, EnqueuedMany, JobHandle},
    engine::Engine,
    store::{
        InsertLinked, Inserted,
        postgres::{PostgresStore, Within},
    },
};

struct Callers<'a, 't>(&'a tokio_postgres::Transaction<'t>, Arc<Within>);

impl CallersTransaction for Callers<'_, '_> {
    async fn insert(&mut self, jobs: &[NewJob], now: Timestamp) -> Result<Vec<Inserted>, Error> {
        PostgresStore::insert_in(self.0, &*self.1, jobs, now).await
    }

    async fn insert_linked(
        &mut self,
        engine: &Engine,
        jobs: &InsertLinked,
        now: Timestamp,
    ) -> Result<Vec<Inserted>, Error> {
        let unmarked = PostgresStore::unmarked_in(self.0, &self.1, jobs).await?;
        mark_followed(engine, unmarked).await?;
        PostgresStore::insert_linked_in(self.0, &*self.1, jobs, now).await
    }
}

impl<'a, J: 'a> Enqueue<'a, J> {
    /// Enqueues inside a `tokio_postgres` transaction on the same database. The job exists once the caller commits, and
    /// never if the caller rolls back. The commit notifies workers, each queue once however many jobs it has in
    /// the transaction. `notify_within=false` in the URL turns that off for programs that commit hundreds of such transactions
    /// per second; then workers find the jobs within a second.
    ///
    /// Before the commit the job does not exist, and waiting on its handle answers [`NotFound`](ErrorKind::NotFound).
    ///
    /// If another transaction has inserted a job with the same unique key, this call waits until that transaction ends. So
    /// enqueue late and commit soon. If a job holds the key already, it cannot begin or end before the commit; if it runs, it goes on
    /// and its lease is renewed. No other job waits. A call with unique keys is a savepoint of the transaction.
    ///
    /// The job may run after others and be a member of a batch. The predecessors may be jobs of the same transaction. A predecessor
    /// that lives cannot begin or end before the commit, and neither does its batch close: so commit soon.
    ///
    /// Fails as [`Invalid`](ErrorKind::Invalid) on a client that was not opened with a `postgres://` URL, and otherwise
    /// as an enqueue does. After an error from the server, or when the future was dropped before it answered, roll the
    /// transaction back.
    pub async fn within_postgres(
        self,
        transaction: &tokio_postgres::Transaction<'_>,
    ) -> Result<JobHandle<J>, Error> {
        let within = within_of(self.backroom)?;
        enqueue(self, Callers(transaction, within)).await
    }
}

impl EnqueueMany<'_> {
    /// Enqueues the jobs inside a `tokio_postgres` transaction. All of them exist once the caller commits, and none if the
    /// caller rolls back. Otherwise as [`Enqueue::within_postgres`].
    ///
    /// After any error only a part of them is in the transaction, so roll it back.
    pub async fn within_postgres(
        self,
        transaction: &tokio_postgres::Transaction<'_>,
    ) -> Result<EnqueuedMany, Error> {
        let within = within_of(self.backroom)?;
        enqueue_many(self, Callers(transaction, within)).await
    }
}

/// Where the client's store has its tables, and whether commits notify.
pub(super) fn within_of(backroom: &Backroom) -> Result<Arc<Within>, Error> {
    backroom.engine().postgres_within.clone().ok_or_else(|| {
        let why =
            "enqueue in a PostgreSQL transaction: the store is no PostgreSQL; open it with a postgres:// URL";
        Error::new(ErrorKind::Invalid, why)
    })
}
