//! Inside a transaction of sqlx on SQLite.

use backroom_core::{Timestamp, draft::NewJob};
use sqlx::{Sqlite, Transaction};

use super::{CallersTransaction, enqueue, enqueue_many};
use crate::{
    Error,
    client::{Enqueue, EnqueueMany, EnqueuedMany, JobHandle},
    engine::Engine,
    store::{InsertLinked, Inserted, sqlite::SqliteStore},
};

struct Callers<'a, 't>(&'a mut Transaction<'t, Sqlite>);

impl CallersTransaction for Callers<'_, '_> {
    async fn insert(&mut self, jobs: &[NewJob], now: Timestamp) -> Result<Vec<Inserted>, Error> {
        SqliteStore::insert_in_sqlx(self.0, jobs, now).await
    }

    async fn insert_linked(
        &mut self,
        _: &Engine,
        jobs: &InsertLinked,
        now: Timestamp,
    ) -> Result<Vec<Inserted>, Error> {
        SqliteStore::insert_linked_in_sqlx(self.0, jobs, now).await
    }
}

impl<'a, J: 'a> Enqueue<'a, J> {
    /// Enqueues inside a transaction of sqlx on the same SQLite file. The job exists once the caller commits, and never if the
    /// caller rolls back, also to a savepoint (a transaction begun inside another). Workers see it within milliseconds of the
    /// commit. Feature `sqlx-sqlite`; the driver is [`backroom::sqlx`](crate::sqlx).
    ///
    /// Before the commit the job does not exist, and waiting on its handle answers
    /// [`NotFound`](crate::ErrorKind::NotFound).
    ///
    /// Begin the transaction with `begin_with("BEGIN IMMEDIATE")`. `begin()` begins it as DEFERRED, which takes the write lock
    /// only at the first write. If the transaction has read before, and another connection committed in between, the
    /// enqueue fails as [`Unavailable`](crate::ErrorKind::Unavailable) at once, whatever the busy timeout.
    ///
    /// The job may run after others and be a member of a batch. The predecessors may be jobs of the same transaction.
    ///
    /// ```
    /// # use backroom::{Backroom, Job};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Receipt { order: i64 }
    /// # impl Job for Receipt { const KIND: &'static str = "receipt"; type Output = (); }
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let url = format!("sqlite:{}", dir.path().join("shop.db").display());
    /// let backroom = Backroom::open(&url).await?;
    /// let shop = sqlx::SqlitePool::connect(&url).await?;
    /// # sqlx::query("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT)").execute(&shop).await?;
    ///
    /// let mut transaction = shop.begin_with("BEGIN IMMEDIATE").await?;
    /// let order = sqlx::query("INSERT INTO orders (item) VALUES ('a pair of socks')")
    ///     .execute(&mut *transaction)
    ///     .await?
    ///     .last_insert_rowid();
    /// backroom.enqueue(Receipt { order }).within_sqlx_sqlite(&mut transaction).await?;
    /// transaction.commit().await?; // the order and its receipt, or neither
    /// # Ok(()) }
    /// ```
    pub async fn within_sqlx_sqlite(
        self,
        transaction: &mut Transaction<'_, Sqlite>,
    ) -> Result<JobHandle<J>, Error> {
        enqueue(self, Callers(transaction)).await
    }
}

impl EnqueueMany<'_> {
    /// Enqueues the jobs inside a transaction of sqlx. All of them exist once the caller commits, and none if the caller rolls
    /// back. Otherwise as [`Enqueue::within_sqlx_sqlite`].
    ///
    /// After any error only a part of them is in the transaction, so roll it back.
    pub async fn within_sqlx_sqlite(
        self,
        transaction: &mut Transaction<'_, Sqlite>,
    ) -> Result<EnqueuedMany, Error> {
        enqueue_many(self, Callers(transaction)).await
    }
}
