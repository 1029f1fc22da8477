//! Connections to the database, each made again when it is lost.
//!
//! [`Link`] is what verbs use: it hands out the living connection ([`Live`]) and makes one if there is none, with
//! back-off. The decorator of the store reports outages, once. Statements of several callers are sent one behind the
//! other without waiting for answers. A [`Transaction`] that waits for answers has the connection to itself.

mod link;
mod live;
mod transaction;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_postgres::{Notification, Row, types::ToSql};

pub(crate) use self::{link::Link, live::Live, transaction::Transaction};
use super::sql::Sql;

/// What a parameter is.
pub(crate) type Param<'a> = &'a (dyn ToSql + Sync);

/// A statement with its parameters.
pub(crate) type Bound<'a> = (&'static Sql, Vec<Param<'a>>);

/// The rows that each of several statements answered.
pub(crate) type RowsOfEach = Vec<Vec<Row>>;

/// Called with every notification.
pub(crate) type OnNotification = Arc<dyn Fn(Notification) + Send + Sync>;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The value is whole after every statement; a panic elsewhere does not damage it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
