//! The transaction that an insert runs in: one of ours or one of the caller's, through any of three drivers.
//!
//! It never begins or ends the transaction: its owner does.

#[cfg(feature = "sqlx")]
pub(crate) mod sqlx;

use futures_util::future::join;
use tokio_postgres::types::{FromSql, Type};

use super::{
    connection::{Param, Transaction},
    error::Fault,
    sql::Sql,
};
use crate::store::postgres::columns::row::Cells;

/// Stops the planner from reading whole tables until [`SEQSCAN_AS_BEFORE`], or until the transaction or savepoint is rolled
/// back. Answers with the setting as it was, which the inner query reads first.
static SEQSCAN_OFF: Sql = Sql {
    text: "SELECT before.setting, set_config('enable_seqscan', 'off', true) \
           FROM (SELECT current_setting('enable_seqscan') AS setting OFFSET 0) AS before",
    types: &[],
};

/// Restores the planner's setting. Parameter: the setting as it was.
static SEQSCAN_AS_BEFORE: Sql =
    Sql { text: "SELECT set_config('enable_seqscan', $1, true)", types: &[Type::TEXT] };

/// A transaction: of ours, or of the caller, whose schema is given.
pub(crate) enum Session<'a> {
    /// On our connection.
    Ours(&'a Transaction),
    /// On the caller's, through tokio-postgres.
    Theirs(&'a tokio_postgres::Transaction<'a>, &'a str),
    /// On the caller's, through sqlx.
    #[cfg(feature = "sqlx")]
    Sqlx(&'a mut ::sqlx::PgConnection, &'a str),
}

impl Session<'_> {
    pub(crate) async fn query(&mut self, sql: &'static Sql, params: &[Param<'_>]) -> Result<Vec<Row>, Fault> {
        let rows = match self {
            Self::Ours(transaction) => transaction.query(sql, params).await?,
            Self::Theirs(transaction, schema) => {
                let typed: Vec<_> = params.iter().copied().zip(sql.types.iter().cloned()).collect();
                transaction.query_typed(&sql.for_schema(schema), &typed).await?
            }
            #[cfg(feature = "sqlx")]
            Self::Sqlx(connection, schema) => {
                let rows = sqlx::query(connection, schema, sql, params).await?;
                return Ok(rows.into_iter().map(Row::Sqlx).collect());
            }
        };
        Ok(rows.into_iter().map(Row::Tokio).collect())
    }

    /// Runs two independent statements: on a connection of ours in one round trip.
    pub(crate) async fn query_both(
        &mut self,
        one: (&'static Sql, &[Param<'_>]),
        other: (&'static Sql, &[Param<'_>]),
    ) -> Result<(Vec<Row>, Vec<Row>), Fault> {
        if let Self::Ours(transaction) = self {
            let (one, other) =
                join(transaction.query(one.0, one.1), transaction.query(other.0, other.1)).await;
            let tokio = |rows: Vec<tokio_postgres::Row>| rows.into_iter().map(Row::Tokio).collect();
            return Ok((tokio(one?), tokio(other?)));
        }
        Ok((self.query(one.0, one.1).await?, self.query(other.0, other.1).await?))
    }

    /// Runs statements without parameters, in one round trip; what they answer is dropped.
    pub(crate) async fn run(&mut self, statements: &'static str) -> Result<(), Fault> {
        match self {
            Self::Ours(transaction) => transaction.execute(statements).await,
            Self::Theirs(transaction, _) => Ok(transaction.batch_execute(statements).await?),
            #[cfg(feature = "sqlx")]
            Self::Sqlx(connection, _) => sqlx::run(connection, statements).await,
        }
    }

    /// Runs a statement that reads many rows, each by its index.
    ///
    /// Our own connections always read so. In a caller's session the planner has the caller's settings. While it believes that
    /// `jobs` is empty, as it does after a vacuum at rest, it would compare every row with each of the batch, and a
    /// thousand rows took twenty seconds.
    pub(crate) async fn query_by_index(
        &mut self,
        sql: &'static Sql,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, Fault> {
        if let Self::Ours(_) = self {
            return self.query(sql, params).await;
        }
        let before = self.query(&SEQSCAN_OFF, &[]).await?;
        let rows = self.query(sql, params).await?;
        for row in before {
            self.query(&SEQSCAN_AS_BEFORE, &[&row.cell::<String>(0)?]).await?;
        }
        Ok(rows)
    }
}

/// A row as the driver of its session read it.
pub(crate) enum Row {
    Tokio(tokio_postgres::Row),
    #[cfg(feature = "sqlx")]
    Sqlx(::sqlx::postgres::PgRow),
}

impl Cells for Row {
    fn cell<'a, T: FromSql<'a>>(&'a self, column: usize) -> Result<T, Fault> {
        match self {
            Self::Tokio(row) => row.cell(column),
            #[cfg(feature = "sqlx")]
            Self::Sqlx(row) => sqlx::cell(row, column),
        }
    }
}
