//! The store's tests on the ends of what is promised: the oldest PostgreSQL we name, and the newest there is.
//!
//! A version that cannot be had here is no fault of the change at hand: the step says that it was not run, why, and how
//! to have it run. It is never counted as passed.

use super::URL_VARIABLE;
use super::cluster::{Cluster, SETTINGS_FOR_TESTS};
use super::packed;
use super::programs::{Programs, Server};
use crate::failure::Failure;
use crate::servers::Servers;
use crate::step::Ended;
use crate::system::Repository;
use crate::{say, tools};

/// The README names it.
const OLDEST: u32 = 14;

/// What may differ between versions: every verb, the tables, and NOTIFY. What is about our own
/// processes (restarts, fail-over, the command line) is tested on the machine's version only.
const TEST_FILES: [&str; 8] = [
    "postgres_conformance",
    "postgres_races",
    "postgres_schema",
    "postgres_sqlx",
    "postgres_tray_races",
    "postgres_trays",
    "postgres_wakes",
    "postgres_within",
];

/// Left out here: the same statements once more, each lost in turn. They are lost in our own code, so that the machine's version tells
/// it for all, and it is most of the time.
const UNDER_FAULTS: &str = "under_faults";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Oldest,
    Newest,
}

/// Runs the tests on a server of that version, made for them and gone after.
pub(crate) fn test_on(
    wanted: Wanted,
    repository: &Repository,
    servers: &mut Servers,
) -> Result<Ended, Failure> {
    let Some(machines) = &servers.postgres else {
        return Ok(Ended::NotRun(format!("{URL_VARIABLE} names a server of yours, and no other is tested")));
    };
    let archive = match packed::fetch(wanted, &repository.target("postgres")) {
        Ok(archive) => archive,
        Err(why) => return Ok(Ended::NotRun(why)),
    };
    if major(&archive.version) == major(&machines.version()) {
        say::line("  that is the machine's own version, on which every test runs");
        return Ok(Ended::Passed);
    }
    let version = archive.version.clone();
    let programs = Programs { server: Server::Packed(archive), pgbouncer: machines.pgbouncer().to_owned() };
    let cluster = match Cluster::start(programs, &SETTINGS_FOR_TESTS) {
        Ok(cluster) => cluster,
        // Made for another system than this, perhaps. What it fails at is said; our tests have not failed.
        Err(failure) => {
            let why = format!("PostgreSQL {} does not run here: {}", version, failure.why);
            return Ok(Ended::NotRun(why));
        }
    };
    say::line(&format!("  {}", cluster.description()));
    tools::tests_in(repository, &TEST_FILES, Some(UNDER_FAULTS), &cluster.variables())?;
    servers.tested_on.push(format!("{}: the store's conformance and migrations", cluster.version()));
    Ok(Ended::Passed)
}

/// Of these versions the one that is wanted. By number, as "9" comes after "18" in the alphabet.
pub(super) fn choose(wanted: Wanted, versions: &[String]) -> Option<&String> {
    let fits = |version: &&String| match wanted {
        Wanted::Oldest => major(version) == Some(OLDEST),
        Wanted::Newest => true,
    };
    versions.iter().filter(fits).max_by_key(|version| numbers(version))
}

fn major(version: &str) -> Option<u32> {
    numbers(version).first().copied()
}

/// `18.4.0-beta.17` as 18, 4, 0, 17.
fn numbers(version: &str) -> Vec<u32> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_is_the_last_of_the_oldest_promised_and_newest_the_last_of_all() {
        let versions = ["12.22.0", "14.9.0-beta.2", "14.23.0-beta.17", "18.4.0-beta.9", "18.4.0-beta.17"];
        let versions = versions.map(str::to_owned);
        let chosen = |wanted| choose(wanted, &versions).map(String::as_str);
        assert_eq!(chosen(Wanted::Oldest), Some("14.23.0-beta.17"));
        assert_eq!(chosen(Wanted::Newest), Some("18.4.0-beta.17"));
        assert_eq!(choose(Wanted::Oldest, &versions[..1]), None);
    }

    #[test]
    fn versions_are_the_same_by_their_first_number() {
        assert_eq!(major("18.4.0-beta.17"), major("18.1"));
        assert_eq!(major("19beta1"), Some(19));
    }
}
