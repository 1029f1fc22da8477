//! Inside a transaction of sqlx on PostgreSQL.

use std::sync::Arc;

use backroom_core::{Timestamp, draft::NewJob};
use sqlx::{Postgres, Transaction};

use super::{CallersTransaction, enqueue, enqueue_many, mark_followed, postgres::within_of};
use crate::{
    Error,
    client::{Enqueue, EnqueueMany, EnqueuedMany, JobHandle},
    engine::Engine,
    store::{
        InsertLinked, Inserted,
        postgres::{PostgresStore, Within},
    },
};

struct Callers<'a, 't>(&'a mut Transaction<'t, Postgres>, Arc<Within>);

impl CallersTransaction for Callers<'_, '_> {
    async fn insert(&mut self, jobs: &[NewJob], now: Timestamp) -> Result<Vec<Inserted>, Error> {
        PostgresStore::insert_in_sqlx(self.0, &*self.1, jobs, now).await
    }

    async fn insert_linked(
        &mut self,
        engine: &Engine,
        jobs: &InsertLinked,
        now: Timestamp,
    ) -> Result<Vec<Inserted>, Error> {
        let unmarked = PostgresStore::unmarked_in_sqlx(self.0, &self.1, jobs).await?;
        mark_followed(engine, unmarked).await?;
        PostgresStore::insert_linked_in_sqlx(self.0, &*self.1, jobs, now).await
    }
}

impl<'a, J: 'a> Enqueue<'a, J> {
    /// Enqueues inside a transaction of sqlx on the same PostgreSQL database, as [`within_postgres`](Self::within_postgres)
    /// does. A rollback to a savepoint (a transaction begun inside another) removes the job, too. Feature `sqlx`; the driver
    /// is [`backroom::sqlx`](crate::sqlx).
    ///
    /// After an error from the server a commit rolls the transaction back without an error of sqlx. So check the answer of
    /// every enqueue.
    ///
    /// ```no_run
    /// # use backroom::{Backroom, Job};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Receipt { order: i64 }
    /// # impl Job for Receipt { const KIND: &'static str = "receipt"; type Output = (); }
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let url = "postgres://shop@localhost/shop";
    /// let backroom = Backroom::open(url).await?;
    /// let shop = sqlx::PgPool::connect(url).await?;
    ///
    /// let mut transaction = shop.begin().await?;
    /// let order: i64 = sqlx::query_scalar("INSERT INTO orders (item) VALUES ('a pair of socks') RETURNING id")
    ///     .fetch_one(&mut *transaction)
    ///     .await?;
    /// backroom.enqueue(Receipt { order }).within_sqlx(&mut transaction).await?;
    /// transaction.commit().await?; // the order and its receipt, or neither
    /// # Ok(()) }
    /// ```
    pub async fn within_sqlx(
        self,
        transaction: &mut Transaction<'_, Postgres>,
    ) -> Result<JobHandle<J>, Error> {
        let within = within_of(self.backroom)?;
        enqueue(self, Callers(transaction, within)).await
    }
}

impl EnqueueMany<'_> {
    /// Enqueues the jobs inside a transaction of sqlx. All of them exist once the caller commits, and none if the caller rolls
    /// back. Otherwise as [`Enqueue::within_sqlx`].
    ///
    /// After any error only a part of them is in the transaction, so roll it back.
    pub async fn within_sqlx(
        self,
        transaction: &mut Transaction<'_, Postgres>,
    ) -> Result<EnqueuedMany, Error> {
        let within = within_of(self.backroom)?;
        enqueue_many(self, Callers(transaction, within)).await
    }
}
