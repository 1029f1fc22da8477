//! The steps that are tools over the source: rustfmt, clippy, rustdoc, cargo-deny and the test runner.
//!
//! Each tool writes straight to the terminal: what it found is its own to say, in full and in colour.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build_space;
use crate::failure::Failure;
use crate::say;
use crate::step::Ended;
use crate::system::{self, Repository};
use crate::test_programs::{self, Variables};

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
    // Installing gcc would not bring about a compiler that the user asked for by name.
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

/// Tests run the timers of the system that trigger schedules: cron, and the check of systemd's units.
pub(crate) fn timers() -> Result<(), Failure> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let missing = || -> Vec<&str> {
        let systemd = system::answer_of("systemd-analyze", &["--version"]).is_some();
        let unshare = system::answer_of("unshare", &["--version"]).is_some();
        [("cron", Path::new("/usr/sbin/cron").exists()), ("systemd", systemd), ("util-linux", unshare)]
            .into_iter()
            .filter(|(_, is_there)| !is_there)
            .map(|(package, _)| package)
            .collect()
    };
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    if system::installs_with_apt() {
        system::apt_get_install(&packages)?;
        if missing().is_empty() {
            return Ok(());
        }
    }
    Err(Failure::new(
        format!("{} missing, with which tests trigger schedules from outside", packages.join(" and ")),
        format!("install {} as root (Debian: apt-get install {0})", packages.join(" ")),
    ))
}

/// The clients in Python and TypeScript are packed, installed and tested with Python's venv, and with Node.js and npm.
pub(crate) fn client_languages() -> Result<(), Failure> {
    let node_is_there = || {
        let version = system::answer_of("node", &["--version"]);
        let major = version
            .as_deref()
            .and_then(|version| version.trim().strip_prefix('v')?.split('.').next()?.parse().ok());
        major.is_some_and(|major: u32| major >= 20)
    };
    let missing = || -> Vec<&str> {
        let venv = system::answer_of("python3", &["-c", "import ensurepip, venv"]).is_some();
        [("python3-venv", venv), ("nodejs", node_is_there()), ("npm", system::find_program("npm").is_some())]
            .into_iter()
            .filter(|(_, is_there)| !is_there)
            .map(|(package, _)| package)
            .collect()
    };
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    if system::installs_with_apt() {
        system::apt_get_install(&packages)?;
        if missing().is_empty() {
            return Ok(());
        }
    }
    Err(Failure::new(
        format!("{} missing, with which the clients are tested", missing().join(" and ")),
        "install Python 3.9 or newer with venv, and Node.js 20 or newer with npm (Debian: apt-get install python3-venv nodejs npm)",
    ))
}

/// Tests set the wall clock of single processes with libfaketime.
pub(crate) fn clock_setter() -> Result<(), Failure> {
    // Those tests are for Linux, where a library can be preloaded into any program.
    let is_there =
        || !cfg!(target_os = "linux") || LIBRARY_FOLDERS.iter().any(|folder| has_clock_setter(folder));
    if is_there() {
        return Ok(());
    }
    if system::installs_with_apt() {
        system::apt_get_install(&["libfaketime"])?;
        if is_there() {
            return Ok(());
        }
    }
    Err(Failure::new(
        format!(
            "the library faketime/{CLOCK_SETTER} is missing, with which tests set the clocks of processes; none of {} has it",
            LIBRARY_FOLDERS.join(", ")
        ),
        "install it as root (Debian: apt-get install libfaketime)",
    ))
}

/// What tests preload (`crates/backroom/tests/faketime`).
const CLOCK_SETTER: &str = "libfaketimeMT.so.1";
/// Where those tests search for it.
const LIBRARY_FOLDERS: [&str; 5] =
    ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib"];

fn has_clock_setter(folder: &str) -> bool {
    Path::new(folder).join("faketime").join(CLOCK_SETTER).exists()
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

/// The release of cargo-deny that `deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";

/// Licences, bans and sources: all that can be read from the lock file and the sources of dependencies.
pub(crate) fn dependencies(repository: &Repository) -> Result<Ended, Failure> {
    let Some(deny) = cargo_deny(repository)? else {
        return Ok(Ended::NotRun(format!(
            "cargo-deny is not installed and the registry does not answer, so licences, bans and sources of dependencies were \
             NOT CHECKED; run `cargo install --locked cargo-deny@{CARGO_DENY}` where it does"
        )));
    };
    let mut check = Command::new(deny);
    check.args(["check", "bans", "licenses", "sources"]);
    system::run(
        repository.command(check),
        "replace the dependency named above, or change deny.toml and say why there",
    )?;
    Ok(Ended::Passed)
}

/// Known faults of dependencies. Not a test: the same source may pass today and fail tomorrow, and the list of faults lies on
/// a server that may not be reachable.
pub(crate) fn advisories(repository: &Repository) -> Result<Ended, Failure> {
    let unchecked =
        |why: &str| Ok(Ended::NotRun(format!("{why}, so known faults of dependencies were NOT CHECKED")));
    let Some(deny) = cargo_deny(repository)? else {
        return unchecked("cargo-deny is not installed and the registry does not answer");
    };
    // A server that does not answer would be waited for without end.
    let mut fetch = match system::find_program("timeout") {
        Some(timeout) => {
            let mut limited = Command::new(timeout);
            limited.arg("90").arg(&deny);
            limited
        }
        None => Command::new(&deny),
    };
    fetch.args(["fetch", "db"]);
    if !system::answers(repository.command(fetch)) {
        return unchecked("the list of known faults cannot be fetched (`cargo deny fetch db` says why)");
    }
    let mut check = Command::new(deny);
    check.args(["check", "--disable-fetch", "advisories"]);
    system::run(
        repository.command(check),
        "update the dependency named above, or say in deny.toml why its fault is none here",
    )?;
    Ok(Ended::Passed)
}

fn cargo_deny(repository: &Repository) -> Result<Option<PathBuf>, Failure> {
    installed(repository, "cargo-deny", CARGO_DENY)
}

/// A program that cargo installs: the one on this machine, else one that is built into `target`, once. None when it cannot be
/// fetched.
pub(crate) fn installed(
    repository: &Repository,
    name: &str,
    version: &str,
) -> Result<Option<PathBuf>, Failure> {
    if let Some(installed) = system::find_program(name) {
        return Ok(Some(installed));
    }
    let tools = repository.target("tools");
    let built = tools.join("bin").join(name);
    if built.is_file() {
        return Ok(Some(built));
    }
    say::line(&format!("  building {name}, once: some minutes of a processor"));
    // Unoptimised: it runs for seconds, and optimising it would take minutes.
    let mut install =
        cargo(["install", "--quiet", "--locked", "--debug", "--version", version, name, "--root"]);
    install.arg(&tools).arg("--target-dir").arg(tools.join("build"));
    // A registry that does not answer is to be noticed in seconds.
    install.env("CARGO_NET_RETRY", "1").env("CARGO_HTTP_TIMEOUT", "20");
    let result = system::run(install, &format!("install {name} by hand and read what cargo says"));
    // Half a gigabyte that nothing needs any more.
    if let Err(error) = std::fs::remove_dir_all(tools.join("build"))
        && error.kind() != std::io::ErrorKind::NotFound
    {
        say::line(&format!("  the folder {} stays: {error}", tools.join("build").display()));
    }
    match result {
        Ok(()) => Ok(Some(built)),
        Err(failure) => {
            let mut asked = cargo(["info", "--quiet", name]);
            asked.env("CARGO_NET_RETRY", "1").env("CARGO_HTTP_TIMEOUT", "20");
            if system::answers(asked) { Err(failure) } else { Ok(None) }
        }
    }
}

/// Every test program, and then the examples in the documentation.
pub(crate) fn tests(repository: &Repository, variables: &Variables) -> Result<(), Failure> {
    let programs = run_tests(repository, &[], &[], variables);
    let mut examples = cargo(["test", "--workspace", "--all-features", "--no-fail-fast", "--doc"]);
    examples.envs(variables.iter().map(|(name, text)| (name, text)));
    let remedy = "read the failures above: an example in the documentation does not hold";
    programs.and(system::run(repository.command(examples), remedy))
}

/// These test files only, without the tests whose names hold `without`. With the features of [`tests`], so that what is built serves both.
pub(crate) fn tests_in(
    repository: &Repository,
    files: &[&str],
    without: Option<&str>,
    variables: &Variables,
) -> Result<(), Failure> {
    let chosen: Vec<&str> = files.iter().flat_map(|file| ["--test", *file]).collect();
    let skipped: Vec<&str> = without.into_iter().flat_map(|without| ["--skip", without]).collect();
    run_tests(repository, &chosen, &skipped, variables)
}

/// The ignored tests of these files that kill processes many times.
pub(crate) fn kills(repository: &Repository, variables: &Variables) -> Result<(), Failure> {
    let chosen = ["--test", "brokers", "--test", "clients", "--test", "workflow_kills"];
    run_tests(repository, &chosen, &["--ignored", "twenty_times", "thirty_kills"], variables)
}

fn run_tests(
    repository: &Repository,
    chosen: &[&str],
    args: &[&str],
    variables: &Variables,
) -> Result<(), Failure> {
    let mut tests = cargo(["test", "--workspace", "--all-features"]);
    tests.args(chosen);
    test_programs::run(repository.command(tests), args, variables, &repository.target("tmp"))
}

/// The cargo that runs us, so that `cargo +toolchain xtask` means that toolchain throughout.
fn cargo<const N: usize>(args: [&str; N]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(args);
    build_space::save_on_build_server(&mut cargo);
    cargo
}
