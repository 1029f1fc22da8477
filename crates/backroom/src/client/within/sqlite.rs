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
    /// [`NotFound`](crate::ErrorKind::NotFound).
    pub fn within(self, transaction: &rusqlite::Transaction<'_>) -> Result<JobHandle<J>, Error> {
        let backroom = self.backroom;
        let new = self.check()?;
        let (id, now) = (new.job.id, new.job.created_at);
        let answers = SqliteStore::insert_in(transaction, &[new], now)?;
        handle(backroom, id, &answers)
    }
}
