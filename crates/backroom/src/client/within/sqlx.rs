//! Inside a transaction of sqlx.

use sqlx::{Postgres, Transaction};

use super::{handle, postgres::within_of};
use crate::{
    Error,
    client::{Enqueue, EnqueueMany, EnqueuedMany, JobHandle, many::after},
    store::postgres::PostgresStore,
};

impl<'a, J: 'a> Enqueue<'a, J> {
    /// Enqueues inside a transaction of sqlx on the same PostgreSQL database: the job comes into being when the caller
    /// commits, and never if the caller rolls back, also to a savepoint (a transaction begun inside another). The commit
    /// notifies workers, each queue once however many jobs it has in the transaction; `notify_within=false` in the URL turns
    /// that off. Feature `sqlx`; the driver is [`backroom::sqlx`](crate::sqlx).
    ///
    /// Waiting on the handle before the commit waits for a job that does not exist yet, and answers
    /// [`NotFound`](crate::ErrorKind::NotFound). A unique key that another transaction is about to take is waited for
    /// until that one ends, so enqueue late and commit soon. Where a job holds the key already, it does not begin or end
    /// until then; one that runs goes on and keeps its lease. Other jobs are not touched.
    ///
    /// Fails as [`Invalid`](crate::ErrorKind::Invalid) on a client that was not opened with a `postgres://` URL, and
    /// otherwise as an enqueue does. After an error that the server told, the transaction can only be rolled back, and
    /// a commit does just that, without an error of sqlx; so look at the answer of every enqueue. When the future was
    /// dropped before it answered, roll back too.
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
        let backroom = self.backroom;
        let within = within_of(backroom)?;
        let new = self.check()?;
        let (id, now) = (new.job.id, new.job.created_at);
        let answers = PostgresStore::insert_in_sqlx(transaction, &*within, &[new], now).await?;
        handle(backroom, id, &answers)
    }
}

impl EnqueueMany<'_> {
    /// Enqueues the jobs inside a transaction of sqlx: all of them come into being when the caller commits, and none if
    /// the caller rolls back. Otherwise as [`Enqueue::within_sqlx`].
    ///
    /// After any error only a part of them is in the transaction, so roll it back.
    pub async fn within_sqlx(
        mut self,
        transaction: &mut Transaction<'_, Postgres>,
    ) -> Result<EnqueuedMany, Error> {
        let within = within_of(self.backroom)?;
        let engine = self.backroom.engine().clone();
        let mut sum = EnqueuedMany::default();
        loop {
            let chunk = self.chunk(&engine).map_err(|error| after(&sum, error))?;
            if chunk.is_empty() {
                return Ok(sum);
            }
            let answers =
                PostgresStore::insert_in_sqlx(transaction, &*within, &chunk, engine.clock.now()).await;
            sum.count(&answers.map_err(|error| after(&sum, error))?);
        }
    }
}
