//! What the repository can do to itself, as `cargo xtask <task>`.
//!
//! It prepares a machine (tools, compiler, a PostgreSQL server to throw away) and runs cargo on it. It never
//! holds a test: those live with the code they are about. Start reading at [`mod@test`], the list of steps;
//! [`step`] runs such a list, [`tools`] and [`postgres`] are the steps, [`system`] is the machine below them.
//! [`compare`] measures this library beside others.

#[cfg(not(unix))]
compile_error!("xtask starts and stops servers the Unix way; on Windows run it inside WSL");

mod api;
mod brokers;
mod browser;
mod build_space;
mod clock;
mod compare;
mod emulators;
mod failure;
mod faktory;
mod fuzz;
mod macro_profiles;
mod oracles;
mod postgres;
mod rust_versions;
mod say;
mod servers;
mod step;
mod system;
mod test;
mod test_programs;
mod tools;
mod words;

use std::process::ExitCode;

use failure::Failure;

const HELP: &str = "\
cargo xtask <task>

  test           everything a change must pass; stops at the first step that fails
  test --quick   the same without the documentation and dependency checks, on the machine's PostgreSQL alone
  postgres-versions
                 of the tests only those on the oldest and the newest PostgreSQL
  api            of the test only what holds the server against the document of its API
  kills          of the tests those that kill brokers' readers, clients and workflows twenty or thirty times; the test
                 itself kills them a few times
  faktory        run the tests of crates.io faktory, unmodified, against `backroom serve --faktory`
  words          find words in comments, messages and pages that are not plain English
  oracles        install what the tests of schedules are compared with (cronsim and dateutil, from PyPI)
  emulators      install the services of clouds that tests of triggers read (moto from PyPI, Azurite with npm)
  fmt            format every crate
  fuzz [--seconds N] [target…]
                 fuzz every parser that meets the outside, for so many seconds in all (180), with cargo-fuzz, which
                 is built if it is missing
  postgres <command> [argument…]
                 run one command beside a PostgreSQL server made for it and thrown away after,
                 e.g. cargo xtask postgres cargo test -p backroom --all-features
  compare [option…]
                 install other job libraries from their registries, measure them and this one side by side, and
                 print the result as Markdown; see cargo xtask compare --help
  help           this text

Variables
  BACKROOM_TEST_POSTGRES   the tests' PostgreSQL server, as postgres://user:password@host:port/database.
                           Set it to test against a server of yours; otherwise xtask starts one and sets it.
  BACKROOM_TEST_PG_BIN     the folder of the PostgreSQL server's programs, for tests that start their own.
                           Set by xtask, unless you name a server of yours.
  BACKROOM_TEST_ORACLES    a Python with cronsim and dateutil, for tests of schedules. Set by xtask; without it the tests
                           take the one that `cargo xtask oracles` installs.
  BACKROOM_TEST_EMULATORS  a folder with emulators of clouds, for tests of triggers. Set by xtask; without it the tests take
                           those that `cargo xtask emulators` installs.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ended = match args.as_slice() {
        ["test"] => test::run(test::Extent::Full),
        ["test", "--quick"] => test::run(test::Extent::Quick),
        ["postgres-versions"] => test::run_versions(),
        ["kills"] => test::run_kills(),
        ["faktory"] => faktory::run(),
        ["words"] => test::run_words(),
        ["oracles"] => oracles::install(),
        ["emulators"] => emulators::install_and_say(),
        ["api"] => test::run_api(),
        ["fuzz", args @ ..] => fuzz::run(args),
        ["fmt"] => tools::format_everything(),
        ["postgres", program, args @ ..] => postgres::run_beside(program, args),
        ["compare", args @ ..] => compare::run(args),
        [] | ["help" | "--help" | "-h"] => {
            say::line(HELP);
            Ok(())
        }
        other => Err(Failure::new(
            format!("there is no task `{}`", other.join(" ")),
            "see `cargo xtask help` for those there are",
        )),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say::failure(&failure);
            ExitCode::FAILURE
        }
    }
}
