//! A transaction that waits for answers between its statements.

use std::sync::Arc;

use tokio::sync::OwnedRwLockWriteGuard;
use tokio_postgres::Row;

use super::{Bound, Live, Param, RowsOfEach};
use crate::store::postgres::wire::{
    error::Fault,
    settings::{WAIT_BRIEFLY, Wait},
    sql::Sql,
};

/// A transaction that waits for answers. If it is dropped before its end, the connection is dropped with it, and the
/// server rolls it back.
pub(crate) struct Transaction {
    live: Arc<Live>,
    _turn: OwnedRwLockWriteGuard<()>,
    ended: bool,
}

impl Transaction {
    /// Waits until no other caller uses the connection.
    pub(super) async fn new(live: Arc<Live>) -> Self {
        let turn = Arc::clone(&live.turn).write_owned().await;
        Self { live, _turn: turn, ended: false }
    }

    pub(super) async fn begin(&self) -> Result<(), Fault> {
        self.live.execute(self.live.begin_text()).await
    }

    pub(super) async fn begin_with(&self, statements: &[Bound<'_>]) -> Result<RowsOfEach, Fault> {
        self.live.begin_with(statements).await
    }

    /// Runs one statement.
    pub(crate) async fn query(&self, sql: &'static Sql, params: &[Param<'_>]) -> Result<Vec<Row>, Fault> {
        self.live.query_within(sql, params).await
    }

    /// Runs a command without parameters or rows.
    pub(crate) async fn execute(&self, command: &str) -> Result<(), Fault> {
        self.live.execute(command).await
    }

    /// From here on, limits the wait for each row that another transaction has locked.
    pub(crate) async fn wait(&self, wait: Wait) -> Result<(), Fault> {
        match wait {
            // As it began.
            Wait::Usual => Ok(()),
            Wait::Briefly => self.live.execute(WAIT_BRIEFLY).await,
        }
    }

    /// Makes it durable.
    pub(crate) async fn commit(mut self) -> Result<(), Fault> {
        self.live.execute("COMMIT").await?;
        self.ended = true;
        Ok(())
    }

    /// Runs the last statements and makes all durable, in one round trip. If one of them fails, all is rolled back.
    pub(crate) async fn commit_with(mut self, statements: &[Bound<'_>]) -> Result<(), Fault> {
        match self.live.commit_with(statements).await {
            Ok(_) => {
                self.ended = true;
                Ok(())
            }
            Err(fault) => {
                // Where the server has ended the transaction already, this does nothing. The caller needs the cause.
                _ = self.rollback().await;
                Err(fault)
            }
        }
    }

    /// Undoes it. If the connection was given up, the server does that when the connection is dropped.
    pub(crate) async fn rollback(mut self) -> Result<(), Fault> {
        if !self.live.is_alive() {
            return Ok(());
        }
        self.live.execute("ROLLBACK").await?;
        self.ended = true;
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.ended {
            self.live.give_up();
        }
    }
}
