//! `cargo xtask test`: everything a change must pass, as a list of steps.
//!
//! Cheap steps come first, and the tests last: their closing lines are what a reader looks for, so they must
//! not be followed by another step's pages.

use crate::api;
use crate::brokers;
use crate::browser;
use crate::build_space;
use crate::emulators;
use crate::failure::Failure;
use crate::macro_profiles;
use crate::oracles;
use crate::postgres::{
    self,
    versions::{self, Wanted},
};
use crate::rust_versions;
use crate::step::{self, Ended, Step};
use crate::system::Repository;
use crate::tools;
use crate::words;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    Full,
    /// Without what tells little about the change at hand: documentation, dependencies and other versions of
    /// PostgreSQL than the machine's.
    Quick,
}

pub(crate) fn run(extent: Extent) -> Result<(), Failure> {
    let repository = Repository::find()?;
    let steps = steps(extent, repository.holds("crates/backroom/src/store/postgres/mod.rs"));
    let task = match extent {
        Extent::Full => "test",
        Extent::Quick => "test --quick",
    };
    step::run_all(task, &steps, &repository)
}

/// `cargo xtask postgres-versions`: what only the full test does with PostgreSQL.
pub(crate) fn run_versions() -> Result<(), Failure> {
    let repository = Repository::find()?;
    step::run_all("postgres-versions", &[POSTGRES, POSTGRES_OLDEST, POSTGRES_NEWEST], &repository)
}

/// `cargo xtask words`: a step of the test by itself.
pub(crate) fn run_words() -> Result<(), Failure> {
    let repository = Repository::find()?;
    step::run_all("words", &[WORDS], &repository)
}

/// `cargo xtask api`: a step of the test by itself.
pub(crate) fn run_api() -> Result<(), Failure> {
    let repository = Repository::find()?;
    step::run_all("api", &[API], &repository)
}

/// `cargo xtask kills`: the tests that kill processes many times, which the test itself does a few times only.
pub(crate) fn run_kills() -> Result<(), Failure> {
    let repository = Repository::find()?;
    let steps = [OUTSIDE_CLIENTS, CLIENT_LANGUAGES, BROKERS, POSTGRES, KILLS];
    step::run_all("kills", &steps, &repository)
}

fn steps(extent: Extent, postgres_store_exists: bool) -> Vec<Step> {
    let mut steps = vec![
        DISK_SPACE,
        TOOLCHAIN,
        COMPILER,
        OUTSIDE_CLIENTS,
        CLIENT_LANGUAGES,
        BROWSER,
        CLOCK_SETTER,
        TIMERS,
        BROKERS,
        ORACLES,
        EMULATORS,
        FORMAT,
        WORDS,
        RUST_VERSIONS,
        MACRO_PROFILES,
        LINTS,
    ];
    if extent == Extent::Full {
        steps.extend([DOCUMENTATION, DEPENDENCIES, ADVISORIES]);
    }
    if postgres_store_exists {
        steps.push(POSTGRES);
        if extent == Extent::Full {
            steps.extend([POSTGRES_OLDEST, POSTGRES_NEWEST]);
        }
    }
    steps.extend([API, TESTS]);
    steps
}

const DISK_SPACE: Step = Step {
    name: "disk-space",
    what: "the disk can hold what is still to be built",
    run: |repository, _| build_space::check(repository).map(passed),
};

const TOOLCHAIN: Step = Step {
    name: "toolchain",
    what: "rustfmt and clippy are there, or are added with rustup",
    run: |_, _| tools::toolchain().map(passed),
};

const COMPILER: Step = Step {
    name: "compiler",
    what: "a C compiler is there, or is installed (SQLite is C)",
    run: |_, _| tools::c_compiler().map(passed),
};

const OUTSIDE_CLIENTS: Step = Step {
    name: "outside clients",
    what: "sqlite3 and Python are there, or are installed (tests open the store's file with them)",
    run: |_, _| tools::outside_clients().map(passed),
};

const CLIENT_LANGUAGES: Step = Step {
    name: "client languages",
    what: "Python with venv, Node.js and npm are there, or are installed (the clients are packed and tested with them)",
    run: |_, _| tools::client_languages().map(passed),
};

const BROWSER: Step = Step {
    name: "browser",
    what: "Chromium is there, or is installed (the pages of the dashboard are tested in it)",
    run: |_, _| browser::chromium().map(passed),
};

const CLOCK_SETTER: Step = Step {
    name: "clock setter",
    what: "faketime is there, or is installed (tests set the clocks of processes with it)",
    run: |_, _| tools::clock_setter().map(passed),
};

const TIMERS: Step = Step {
    name: "timers",
    what: "cron and systemd-analyze are there, or are installed (tests trigger schedules with them)",
    run: |_, _| tools::timers().map(passed),
};

const BROKERS: Step = Step {
    name: "brokers",
    what: "redis-server, nats-server, mosquitto and rabbitmq-server are there, or are installed (tests start their own)",
    run: |_, _| brokers::install().map(passed),
};

const ORACLES: Step = Step {
    name: "oracles",
    what: "cronsim and dateutil are there, or are installed from PyPI (tests of schedules compare with them)",
    run: |repository, servers| {
        servers.oracles = Some(oracles::python(repository)?);
        Ok(Ended::Passed)
    },
};

const EMULATORS: Step = Step {
    name: "emulators",
    what: "moto and Azurite are there, or are installed from PyPI and npm (tests of triggers read queues and buckets of clouds)",
    run: |repository, servers| {
        servers.emulators = Some(emulators::folder(repository)?);
        Ok(Ended::Passed)
    },
};

const FORMAT: Step = Step {
    name: "format",
    what: "rustfmt would change nothing",
    run: |repository, _| tools::format_is_kept(repository).map(passed),
};

const RUST_VERSIONS: Step = Step {
    name: "rust-versions",
    what: "no dependency of a crate, and of each of its features, needs a newer Rust than the crate says",
    run: |repository, _| rust_versions::check(repository).map(passed),
};

const WORDS: Step = Step {
    name: "words",
    what: "comments, messages and pages are plain English",
    run: |repository, _| words::check(repository).map(passed),
};

const MACRO_PROFILES: Step = Step {
    name: "macro-profiles",
    what: "Cargo.toml lists every procedural macro, so that none is optimised",
    run: |repository, _| {
        let manifest = std::fs::read_to_string(repository.path("Cargo.toml")).map_err(|error| {
            Failure::new(format!("Cargo.toml cannot be read: {error}"), "see whether it may be read")
        })?;
        macro_profiles::check(&rust_versions::metadata(repository)?, &manifest).map(passed)
    },
};

const LINTS: Step = Step {
    name: "lints",
    what: "clippy finds nothing in any crate, with every feature, tests included",
    run: |repository, _| tools::lints(repository).map(passed),
};

const DOCUMENTATION: Step = Step {
    name: "documentation",
    what: "rustdoc builds it without a warning, so no link leads nowhere",
    run: |repository, _| tools::documentation(repository).map(passed),
};

const DEPENDENCIES: Step = Step {
    name: "dependencies",
    what: "cargo-deny, which is built if it is missing, accepts their licences and sources",
    run: |repository, _| tools::dependencies(repository),
};

const ADVISORIES: Step = Step {
    name: "advisories",
    what: "cargo-deny knows of no fault in them, as far as the list of faults can be fetched",
    run: |repository, _| tools::advisories(repository),
};

const POSTGRES: Step = Step {
    name: "postgres",
    what: "a PostgreSQL server for the tests is started, on this machine and to be thrown away",
    run: |_, servers| {
        servers.postgres = postgres::for_tests()?;
        Ok(Ended::Passed)
    },
};

const POSTGRES_OLDEST: Step = Step {
    name: "postgres-oldest",
    what: "the store's conformance and migrations on the oldest PostgreSQL we promise",
    run: |repository, servers| versions::test_on(Wanted::Oldest, repository, servers),
};

const POSTGRES_NEWEST: Step = Step {
    name: "postgres-newest",
    what: "the same on the newest PostgreSQL there is",
    run: |repository, servers| versions::test_on(Wanted::Newest, repository, servers),
};

const API: Step = Step {
    name: "api",
    what: "two validators accept the document of the API, and a tester finds no answer that it does not document",
    run: |repository, _| api::check(repository).map(passed),
};

const KILLS: Step = Step {
    name: "kills",
    what: "what brokers, clients in other languages and workflows hold loses nothing in twenty or thirty kills",
    run: |repository, servers| tools::kills(repository, &servers.variables()).map(passed),
};

const TESTS: Step = Step {
    name: "tests",
    what: "every test of every crate, with every feature, and the examples in the documentation",
    run: |repository, servers| {
        tools::tests(repository, &servers.variables())?;
        // Of a server that is not ours its owner knows the version.
        let version = servers.postgres.as_ref().map(postgres::Cluster::version);
        servers.tested_on.extend(version.map(|version| format!("{version}: every test")));
        Ok(Ended::Passed)
    },
};

fn passed((): ()) -> Ended {
    Ended::Passed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(extent: Extent, postgres_store_exists: bool) -> Vec<&'static str> {
        steps(extent, postgres_store_exists).iter().map(|step| step.name).collect()
    }

    #[test]
    fn tests_come_last_and_after_their_server() {
        for extent in [Extent::Full, Extent::Quick] {
            assert_eq!(names(extent, false).last(), Some(&"tests"));
            let names = names(extent, true);
            assert_eq!(names.last(), Some(&"tests"));
            assert!(names.contains(&"postgres"));
        }
    }

    #[test]
    fn quick_skips_documentation_dependencies_and_other_servers_only() {
        let skipped = ["documentation", "dependencies", "advisories", "postgres-oldest", "postgres-newest"];
        let mut full = names(Extent::Full, true);
        full.retain(|name| !skipped.contains(name));
        assert_eq!(full, names(Extent::Quick, true));
    }
}
