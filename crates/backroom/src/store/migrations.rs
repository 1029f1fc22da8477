//! The ways from each version of a store's tables to the newest, for operators who look first or run them by hand.
//!
//! Opening a store runs them; nothing here changes anything. A store in memory has no tables, so its version is that of
//! this program.

use crate::{Error, ErrorKind};

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
/// Fails as [`Invalid`](ErrorKind::Invalid) for a URL that [`Options::open`](crate::Options::open) would not take.
pub fn migrations(url: &str) -> Result<Vec<Migration>, Error> {
    match Kind::of(url)? {
        Kind::Memory => Ok(Vec::new()),
        #[cfg(feature = "sqlite")]
        Kind::Sqlite(_) => Ok(super::sqlite::SqliteStore::migrations()),
        #[cfg(feature = "postgres")]
        Kind::Postgres => {
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
    match Kind::of(url)? {
        Kind::Memory => Ok(0),
        #[cfg(feature = "sqlite")]
        Kind::Sqlite(path) => super::sqlite::SqliteStore::version(path).await,
        #[cfg(feature = "postgres")]
        Kind::Postgres => super::postgres::PostgresStore::version(url).await,
    }
}

/// What a URL names.
pub(crate) enum Kind<'a> {
    /// `memory:`.
    Memory,
    /// `sqlite:PATH`.
    #[cfg(feature = "sqlite")]
    Sqlite(&'a str),
    /// `postgres://…`.
    #[cfg(feature = "postgres")]
    Postgres,
    #[cfg(not(feature = "sqlite"))]
    #[expect(dead_code, reason = "holds the lifetime where no other kind needs it")]
    Nothing(std::convert::Infallible, &'a ()),
}

impl<'a> Kind<'a> {
    pub(crate) fn of(url: &'a str) -> Result<Self, Error> {
        match url.split_once(':') {
            Some(("memory", _)) => Ok(Self::Memory),
            #[cfg(feature = "sqlite")]
            Some(("sqlite", place)) => sqlite_path(place).map(Self::Sqlite),
            #[cfg(feature = "postgres")]
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres),
            _ => Err(unknown_url(url)),
        }
    }
}

/// The file of a SQLite store's URL; none for the URL of another store, and for one that is refused.
#[cfg(feature = "sqlite")]
pub fn sqlite_file(url: &str) -> Option<std::path::PathBuf> {
    sqlite_path(url.strip_prefix("sqlite:")?).ok().map(Into::into)
}

/// The path after `sqlite:`. `?mode=rwc`, which other libraries need for a file to be made, says what is done anyway; all other
/// parameters would be left undone without a word, or would make a file of a strange name.
#[cfg(feature = "sqlite")]
fn sqlite_path(place: &str) -> Result<&str, Error> {
    let refused = |why: &str| {
        let message = format!("open store \"sqlite:{place}\": {why}");
        Err(Error::new(ErrorKind::Invalid, message))
    };
    let (path, parameters) = place.split_once('?').map_or((place, None), |(path, rest)| (path, Some(rest)));
    if !matches!(parameters, None | Some("" | "mode=rwc")) {
        return refused("a SQLite URL takes no parameters but mode=rwc; write sqlite:PATH");
    }
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.ends_with(['/', '\\']) {
        return refused("it names a folder; name the file in it, like sqlite:folder/backroom.db");
    }
    Ok(path)
}

/// What is compiled in, in the words of an error.
const KNOWN: &[&str] = &[
    #[cfg(feature = "sqlite")]
    "sqlite:PATH for a file",
    #[cfg(feature = "postgres")]
    "postgres://USER@HOST/DATABASE for a PostgreSQL server",
    "memory: for tests",
];

fn unknown_url(url: &str) -> Error {
    let shown = crate::without_password(url);
    let lacks = match url.split_once(':') {
        Some(("sqlite", _)) => "this program was built without the feature `sqlite`; ",
        Some(("postgres" | "postgresql", _)) => "this program was built without the feature `postgres`; ",
        _ => "",
    };
    Error::new(ErrorKind::Invalid, format!("open store {shown:?}: {lacks}write {}", KNOWN.join(", or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_url_names_what_there_is() {
        let said = unknown_url("mysql://ada:secret@host/db").to_string();
        assert!(said.contains("memory:") && !said.contains("secret"), "{said}");
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn a_sqlite_url_is_meant_well_or_refused() {
        let file = |url: &str| sqlite_file(url).map(|path| path.display().to_string());
        assert_eq!(file("sqlite:x.db").as_deref(), Some("x.db"));
        assert_eq!(file("sqlite:x.db?mode=rwc").as_deref(), Some("x.db"));
        assert_eq!(file("sqlite:///var/x.db?mode=rwc").as_deref(), Some("/var/x.db"));
        for (url, why) in [
            ("sqlite:x.db?mode=ro", "no parameters but mode=rwc"),
            ("sqlite:x.db?cache=shared&mode=rwc", "no parameters but mode=rwc"),
            ("sqlite:what?.db", "no parameters but mode=rwc"),
            ("sqlite:folder/", "names a folder"),
            ("sqlite:///?mode=rwc", "names a folder"),
        ] {
            let said = Kind::of(url).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(said.contains(why), "{url}: {said}");
        }
    }
}
