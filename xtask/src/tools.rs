//! The steps that are tools over the source: rustfmt, clippy, rustdoc, cargo-deny and the test runner.
//!
//! Each tool writes straight to the terminal: what it found is its own to say, in full and in colour.

use std::process::Command;

use crate::failure::Failure;
use crate::say;
use crate::step::Ended;
use crate::system::{self, Repository};

pub(crate) fn toolchain() -> Result<(), Failure> {
    let missing = || -> Vec<&str> {
        [("fmt", "rustfmt"), ("clippy", "clippy")]
            .into_iter()
            .filter(|(subcommand, _)| !system::answers(cargo([subcommand, "--version"])))
            .map(|(_, component)| component)
            .collect()
    };

    let components = missing();
    if components.is_empty() {
        return Ok(());
    }
    let remedy = format!("run `rustup component add {}`", components.join(" "));
    if system::find_program("rustup").is_none() {
        return Err(Failure::new(
            format!(
                "the Rust toolchain lacks {}, and there is no rustup here to add it",
                components.join(" and ")
            ),
            "install it with what installed Rust, or install Rust with rustup",
        ));
    }
    say::line(&format!("  {} missing: rustup component add {0}", components.join(" ")));
    let mut rustup = Command::new("rustup");
    rustup.args(["component", "add"]).args(&components);
    system::run(rustup, &remedy)?;
    match missing().as_slice() {
        [] => Ok(()),
        still => {
            Err(Failure::new(format!("rustup added {}, yet it does not run", still.join(" and ")), remedy))
        }
    }
}

/// SQLite is compiled from its C source, so that every copy of the program has the same one.
pub(crate) fn c_compiler() -> Result<(), Failure> {
    let named = std::env::var("CC").ok();
    let compiler = named.as_deref().unwrap_or("cc");
    // CC may carry arguments ("ccache gcc"); the first word is what must exist.
    let is_there =
        || compiler.split_whitespace().next().is_some_and(|word| system::find_program(word).is_some());
    if is_there() {
        return Ok(());
    }
    // Installing gcc would not bring about a compiler that somebody asked for by name.
    if named.is_none() && system::installs_with_apt() {
        // gcc only recommends the C library's headers, and recommended packages are not installed.
        system::apt_get_install(&["gcc", "libc6-dev"])?;
        if is_there() {
            return Ok(());
        }
    }
    Err(Failure::new(
        format!("there is no C compiler `{compiler}`"),
        "install gcc or clang (Debian: apt-get install gcc libc6-dev; macOS: xcode-select --install), \
         or name one that is there in CC",
    ))
}

/// Tests let other programs open the SQLite store's file: the `sqlite3` shell and Python with its module.
pub(crate) fn outside_clients() -> Result<(), Failure> {
    let missing = || -> Vec<&str> {
        let python = system::answer_of("python3", &["-c", "import sqlite3"]).is_some();
        let shell = system::answer_of("sqlite3", &["--version"]).is_some();
        [("python3", python), ("sqlite3", shell)]
            .into_iter()
            .filter(|(_, is_there)| !is_there)
            .map(|(program, _)| program)
            .collect()
    };
    let programs = missing();
    if programs.is_empty() {
        return Ok(());
    }
    if system::installs_with_apt() {
        // Their packages have the same names.
        system::apt_get_install(&programs)?;
        if missing().is_empty() {
            return Ok(());
        }
    }
    Err(Failure::new(
        format!("{} missing, which tests run beside the SQLite store", programs.join(" and ")),
        format!("install {} (Debian: apt-get install {0})", programs.join(" ")),
    ))
}

pub(crate) fn format_everything() -> Result<(), Failure> {
    toolchain()?;
    let repository = Repository::find()?;
    system::run(repository.command(cargo(["fmt", "--all"])), "correct the syntax rustfmt names above")
}

pub(crate) fn format_is_kept(repository: &Repository) -> Result<(), Failure> {
    let check = repository.command(cargo(["fmt", "--all", "--check"]));
    system::run(check, "run `cargo xtask fmt` and look at what it changed")
}

pub(crate) fn lints(repository: &Repository) -> Result<(), Failure> {
    let clippy = cargo(["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"]);
    system::run(
        repository.command(clippy),
        "correct what is reported above; lift a lint only where the rule does not apply, with #[expect(…, reason = …)]",
    )
}

pub(crate) fn documentation(repository: &Repository) -> Result<(), Failure> {
    let mut rustdoc = repository.command(cargo(["doc", "--workspace", "--no-deps", "--all-features"]));
    rustdoc.env("RUSTDOCFLAGS", "-D warnings");
    system::run(rustdoc, "correct the documentation comments named above")
}

/// Not a test: it asks the world about the dependencies, so the same source may pass today and fail tomorrow. A
/// machine without the tool goes on, and says so twice: here and in the summary.
pub(crate) fn dependencies(repository: &Repository) -> Result<Ended, Failure> {
    if !system::answers(cargo(["deny", "--version"])) {
        return Ok(Ended::NotRun(
            "cargo-deny is not installed (`cargo install --locked cargo-deny`), so licences, sources and known faults of dependencies were not checked".into(),
        ));
    }
    let check = repository.command(cargo(["deny", "check"]));
    system::run(check, "replace the dependency named above, or change deny.toml and say why there")?;
    Ok(Ended::Passed)
}

pub(crate) fn tests(repository: &Repository, variables: &[(&'static str, String)]) -> Result<(), Failure> {
    run_tests(repository, &[], variables)
}

/// These test files only, without the tests whose names hold `without`. With the features of [`tests`], so that what is built serves both.
pub(crate) fn tests_in(
    repository: &Repository,
    files: &[&str],
    without: Option<&str>,
    variables: &[(&'static str, String)],
) -> Result<(), Failure> {
    let mut chosen: Vec<&str> = files.iter().flat_map(|file| ["--test", *file]).collect();
    if let Some(without) = without {
        chosen.extend(["--", "--skip", without]);
    }
    run_tests(repository, &chosen, variables)
}

fn run_tests(
    repository: &Repository,
    chosen: &[&str],
    variables: &[(&'static str, String)],
) -> Result<(), Failure> {
    let mut tests = cargo(["test", "--workspace", "--all-features", "--no-fail-fast"]);
    tests.args(chosen).envs(variables.iter().map(|(name, text)| (name, text)));
    system::run(
        repository.command(tests),
        "read the failures above; run one alone with `cargo test -p <crate> <part of its name>`",
    )
}

/// The cargo that runs us, so that `cargo +toolchain xtask` means that toolchain throughout.
fn cargo<const N: usize>(args: [&str; N]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(args);
    cargo
}
