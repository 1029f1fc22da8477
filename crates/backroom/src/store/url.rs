//! What a store's URL names.

use crate::{Error, ErrorKind};

/// What a URL names.
pub(crate) enum StoreUrl<'a> {
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

impl<'a> StoreUrl<'a> {
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

/// The path after `sqlite:`. `?mode=rwc`, which other libraries need for a file to be made, says what is done anyway.
/// All other parameters would be ignored without a notice, or would make a file of a strange name.
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
            let said = StoreUrl::of(url).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(said.contains(why), "{url}: {said}");
        }
    }
}
