//! Inside a `rusqlite` transaction.

use backroom_core::{Timestamp, draft::NewJob};

use super::handle;
use crate::{
    Error, ErrorKind,
    client::{Enqueue, EnqueueMany, EnqueuedMany, JobHandle, links::Linked, many::after},
    store::{Inserted, sqlite::SqliteStore},
};

impl<'a, J: 'a> Enqueue<'a, J> {
    /// Enqueues inside a `rusqlite` transaction on the same file. The job exists once the caller commits, and never if the
    /// caller rolls back. Workers see it within milliseconds of the commit.
    ///
    /// Before the commit the job does not exist, and waiting on its handle answers
    /// [`NotFound`](crate::ErrorKind::NotFound). The driver is [`backroom::rusqlite`](crate::rusqlite).
    ///
    /// Begin the transaction as IMMEDIATE. `Connection::transaction` begins it as DEFERRED, which takes the write lock only
    /// at the first write. If the transaction has read before, and another connection (a worker, say) committed in between,
    /// SQLite cannot let it write on what it read: the enqueue fails as [`Unavailable`](crate::ErrorKind::Unavailable) at
    /// once, whatever the busy timeout. An IMMEDIATE transaction waits for the lock first and reads afterwards.
    ///
    /// ```
    /// # use backroom::{Backroom, Job, rusqlite::TransactionBehavior};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Receipt { order: i64 }
    /// # impl Job for Receipt { const KIND: &'static str = "receipt"; type Output = (); }
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let file = dir.path().join("shop.db");
    /// # let backroom = Backroom::open(&format!("sqlite:{}", file.display())).await?;
    /// let mut shop = backroom::rusqlite::Connection::open(&file)?;
    /// shop.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT)")?;
    /// shop.busy_timeout(std::time::Duration::from_secs(5))?; // how long to wait for the lock
    /// let transaction = shop.transaction_with_behavior(TransactionBehavior::Immediate)?;
    /// transaction.execute("INSERT INTO orders (item) VALUES ('a pair of socks')", [])?;
    /// let order = transaction.last_insert_rowid();
    /// backroom.enqueue(Receipt { order }).within(&transaction)?;
    /// transaction.commit()?; // the order and its receipt, or neither
    /// # Ok(()) }
    /// ```
    ///
    /// The job may run after others and be a member of a batch. The predecessors may be jobs of the same transaction.
    pub fn within(mut self, transaction: &rusqlite::Transaction<'_>) -> Result<JobHandle<J>, Error> {
        let backroom = self.backroom;
        let linked = std::mem::take(&mut self.linked);
        let (new, sending) = self.check()?;
        let (id, now) = (new.job.id, new.job.created_at);
        let answers = insert(transaction, &linked, vec![new], now);
        sending.ended(&answers);
        let answers = answers?;
        handle(backroom, id, &answers)
    }
}

impl EnqueueMany<'_> {
    /// Enqueues the jobs inside a `rusqlite` transaction. All of them exist once the caller commits, and none if the caller
    /// rolls back. After an error none of them is in the transaction, which goes on as it was. Otherwise as
    /// [`Enqueue::within`], so begin the transaction as IMMEDIATE.
    ///
    /// The write lock is held until the caller commits: other writes to the file wait that long.
    pub fn within(mut self, transaction: &rusqlite::Transaction<'_>) -> Result<EnqueuedMany, Error> {
        let engine = self.backroom.engine().clone();
        run(transaction, "SAVEPOINT backroom_many")?;
        let sending = self.begin(&engine);
        let mut sum = EnqueuedMany::default();
        let failed = loop {
            match self.chunk(&engine, &sending) {
                Ok(chunk) if chunk.is_empty() => break None,
                Ok(chunk) => match insert(transaction, &self.linked, chunk, engine.clock.now()) {
                    Ok(answers) => sum.count(&answers),
                    Err(error) => break Some(error),
                },
                Err(error) => break Some(error),
            }
        };
        let Some(error) = failed else {
            run(transaction, "RELEASE backroom_many")?;
            sending.is_of_many(sum.jobs());
            return Ok(sum);
        };
        // The savepoint is gone when the error was one that ends the whole transaction.
        if !transaction.is_autocommit() {
            run(transaction, "ROLLBACK TO backroom_many; RELEASE backroom_many")?;
        }
        Err(after(&EnqueuedMany::default(), error))
    }
}

/// Stores jobs, with links if there are any.
fn insert(
    transaction: &rusqlite::Transaction<'_>,
    linked: &Linked,
    jobs: Vec<NewJob>,
    now: Timestamp,
) -> Result<Vec<Inserted>, Error> {
    if linked.is_empty() {
        return SqliteStore::insert_in(transaction, &jobs, now);
    }
    SqliteStore::insert_linked_in(transaction, &linked.clone().of(jobs), now)
}

fn run(transaction: &rusqlite::Transaction<'_>, sql: &str) -> Result<(), Error> {
    transaction.execute_batch(sql).map_err(|error| {
        let why = "enqueue many in a transaction: SQLite refused a savepoint; roll the transaction back, then try again";
        Error::new(ErrorKind::Unavailable, why).caused_by(error)
    })
}
