//! The ways from each version of a store's tables to the newest, for operators who look first or run them by hand.
//!
//! Opening a store runs them; nothing here changes anything. A store in memory has no tables, so its version is that of
//! this program.

use super::StoreUrl;
use crate::Error;

/// The way from the version before to this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Version of the tables afterwards, from 1.
    pub version: u32,
    /// In a word, what it brings.
    pub name: String,
    /// To be run in one transaction; it also notes the version.
    pub sql: String,
}

/// Every migration of the kind of store that a URL names, the oldest first. Nothing is connected to.
///
/// Fails as [`Invalid`](crate::ErrorKind::Invalid) for a URL that [`Options::open`](crate::Options::open) would not take.
pub fn migrations(url: &str) -> Result<Vec<Migration>, Error> {
    match StoreUrl::of(url)? {
        StoreUrl::Memory => Ok(Vec::new()),
        #[cfg(feature = "sqlite")]
        StoreUrl::Sqlite(_) => Ok(super::sqlite::SqliteStore::migrations()),
        #[cfg(feature = "postgres")]
        StoreUrl::Postgres => {
            let schema = super::postgres::PostgresOptions::default().with_url(url)?.schema;
            let all = super::postgres::PostgresStore::migrations(&schema)?;
            Ok(all.into_iter().map(|(version, name, sql)| Migration { version, name, sql }).collect())
        }
    }
}

/// The version of the tables in a store; 0 where there are none, a file that does not exist included. Nothing is created
/// or changed.
///
/// Fails as opening the store would, except that tables newer than this program are no error.
pub async fn version(url: &str) -> Result<u32, Error> {
    match StoreUrl::of(url)? {
        StoreUrl::Memory => Ok(0),
        #[cfg(feature = "sqlite")]
        StoreUrl::Sqlite(path) => super::sqlite::SqliteStore::version(path).await,
        #[cfg(feature = "postgres")]
        StoreUrl::Postgres => super::postgres::PostgresStore::version(url).await,
    }
}
