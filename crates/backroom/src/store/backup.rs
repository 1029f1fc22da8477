//! Copying a store to a file.

use std::path::Path;

use super::StoreUrl;
use crate::{Error, ErrorKind};

/// How far a backup has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupProgress {
    /// Pages copied so far.
    pub copied: u64,
    /// Pages of the store.
    pub pages: u64,
}

/// A backup that is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackedUp {
    /// Size of the file.
    pub bytes: u64,
    /// Jobs in it.
    pub jobs: u64,
}

/// Copies the store at `url` to a new file, as it is at one moment, while other processes use it; see `SqliteStore::backup`.
///
/// SQLite only. For PostgreSQL it fails as [`Invalid`](ErrorKind::Invalid) and names the command that does it: a dump has
/// to be made by the tools of that server's version.
pub async fn backup(
    url: &str,
    to: &Path,
    progress: impl FnMut(BackupProgress) + Send + 'static,
) -> Result<BackedUp, Error> {
    match StoreUrl::of(url)? {
        StoreUrl::Memory => {
            _ = (to, progress);
            let why = "back up the store: it is in memory; there is nothing to copy";
            Err(Error::new(ErrorKind::Invalid, why))
        }
        #[cfg(feature = "sqlite")]
        StoreUrl::Sqlite(path) => super::sqlite::SqliteStore::backup(path, to, progress).await,
        #[cfg(feature = "postgres")]
        StoreUrl::Postgres => {
            let schema = super::postgres::PostgresOptions::default().with_url(url)?.schema;
            let why = format!(
                "back up a PostgreSQL store: its own tool does that; run `pg_dump --format=custom --schema='\"{schema}\"' \
                 --file={} DATABASE-URL`",
                to.display()
            );
            Err(Error::new(ErrorKind::Invalid, why))
        }
    }
}
