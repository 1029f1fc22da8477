//! Inside a `rusqlite` transaction.

use super::handle;
use crate::{
    Error,
    client::{Enqueue, JobHandle},
    store::sqlite::SqliteStore,
};

impl<'a, J: 'a> Enqueue<'a, J> {
    /// Enqueues inside a `rusqlite` transaction on the same file: the job comes into being when the caller commits,
    /// and never if the caller rolls back. Workers see it within milliseconds of the commit.
    ///
    /// Waiting on the handle before the commit waits for a job that does not exist yet, and answers
    /// [`NotFound`](crate::ErrorKind::NotFound). The driver is [`backroom::rusqlite`](crate::rusqlite).
    ///
    /// ```
    /// # use backroom::{Backroom, Job};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Receipt { order: i64 }
    /// # impl Job for Receipt { const KIND: &'static str = "receipt"; type Output = (); }
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let file = dir.path().join("shop.db");
    /// # let backroom = Backroom::open(&format!("sqlite:{}", file.display())).await?;
    /// let mut shop = backroom::rusqlite::Connection::open(&file)?;
    /// shop.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT)")?;
    /// let transaction = shop.transaction()?;
    /// transaction.execute("INSERT INTO orders (item) VALUES ('a pair of socks')", [])?;
    /// let order = transaction.last_insert_rowid();
    /// backroom.enqueue(Receipt { order }).within(&transaction)?;
    /// transaction.commit()?; // the order and its receipt, or neither
    /// # Ok(()) }
    /// ```
    pub fn within(self, transaction: &rusqlite::Transaction<'_>) -> Result<JobHandle<J>, Error> {
        let backroom = self.backroom;
        let new = self.check()?;
        let (id, now) = (new.job.id, new.job.created_at);
        let answers = SqliteStore::insert_in(transaction, &[new], now)?;
        handle(backroom, id, &answers)
    }
}
