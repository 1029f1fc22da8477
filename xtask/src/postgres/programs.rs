//! Where PostgreSQL's programs are on this machine, and their installation where that is possible.

use std::path::{Path, PathBuf};

use super::URL_VARIABLE;
use super::packed::Archive;
use crate::failure::Failure;
use crate::system;

pub(crate) struct Programs {
    pub(crate) server: Server,
    pub(crate) pgbouncer: PathBuf,
}

/// Where `postgres` and `initdb` of one version are.
pub(crate) enum Server {
    /// In this folder.
    Installed(PathBuf),
    /// In this archive, to be unpacked where the server's account can reach it.
    Packed(Archive),
}

pub(crate) fn find_or_install() -> Result<Programs, Failure> {
    let missing = missing_packages();
    if !missing.is_empty() && system::installs_with_apt() {
        system::apt_get_install(&missing)?;
    }
    match (server_folder(), pgbouncer()) {
        (Some(bin), Some(pgbouncer)) => Ok(Programs { server: Server::Installed(bin), pgbouncer }),
        _ => Err(Failure::new(
            format!("programs the tests need are missing: {}", missing_packages().join(" and ")),
            format!(
                "install them (Debian: apt-get install postgresql pgbouncer; macOS: brew install postgresql \
                 pgbouncer), or set {URL_VARIABLE} to a server of yours"
            ),
        )),
    }
}

fn missing_packages() -> Vec<&'static str> {
    let found = [("postgresql", server_folder().is_some()), ("pgbouncer", pgbouncer().is_some())];
    found.into_iter().filter(|(_, is_here)| !is_here).map(|(package, _)| package).collect()
}

fn pgbouncer() -> Option<PathBuf> {
    system::find_program("pgbouncer")
}

/// Asks `pg_config` first, because a user with several versions chooses with it. It comes with the client's package
/// too, so what it names is believed only when the server is there.
fn server_folder() -> Option<PathBuf> {
    let configured = system::answer_of("pg_config", &["--bindir"]).map(PathBuf::from);
    let packaged = debian_folders();
    // PATH may hold a link to one program of the folder, so the link is followed.
    let on_path = system::find_program("postgres").and_then(|program| program.canonicalize().ok());
    let on_path = on_path.as_deref().and_then(Path::parent).map(Path::to_owned);
    configured
        .into_iter()
        .chain(packaged)
        .chain(on_path)
        .find(|folder| ["postgres", "initdb"].iter().all(|program| folder.join(program).is_file()))
}

/// Debian keeps versions side by side and out of PATH; the newest comes first.
fn debian_folders() -> Vec<PathBuf> {
    // No such folder on other systems, and nothing to tell about it: the other places are asked next.
    let Ok(entries) = std::fs::read_dir("/usr/lib/postgresql") else { return Vec::new() };
    newest_first(entries.flatten().map(|entry| entry.path()).collect())
        .into_iter()
        .map(|version| version.join("bin"))
        .collect()
}

/// By number, as "9.6" comes after "15" in the alphabet.
fn newest_first(mut folders: Vec<PathBuf>) -> Vec<PathBuf> {
    let version = |folder: &PathBuf| -> Vec<u32> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        name.split('.').map(|part| part.parse().unwrap_or(0)).collect()
    };
    folders.sort_by_key(|folder| std::cmp::Reverse(version(folder)));
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_version_comes_first_by_number() {
        let folders = ["9.6", "15", "18", "10"].map(|name| Path::new("/usr/lib/postgresql").join(name));
        let names: Vec<_> =
            newest_first(folders.to_vec()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["18", "15", "10", "9.6"]);
    }
}
