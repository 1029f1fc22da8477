//! Builds every test program and runs some of them at once.
//!
//! `cargo test` runs one after the other, and most of ours wait: for servers, for processes that were killed, for clocks. What a program
//! prints is shown whole when it has ended, so that the lines of two never mix.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use serde_json::Value;

use crate::clock::{self, Stopwatch};
use crate::failure::Failure;
use crate::say;
use crate::system;

/// What the programs see besides the environment of this one.
pub(crate) type Variables = [(&'static str, String)];

/// Those that take longest on two cores. They start first, so that none is left alone at the end.
const LONGEST: &[&str] = &[
    "postgres_conformance",
    "brokers",
    "serve",
    "browser",
    "simulator",
    "work",
    "postgres_api",
    "api_sqlite",
];

/// Those that compare rates or measure what a process uses. They run at the end, one after the other, so that the load of others does
/// not count as theirs.
const ALONE: &[&str] = &["postgres_keys"];

/// A program that takes longer than this hangs: the longest takes four minutes on two cores.
const TIME_MAX: Duration = Duration::from_secs(15 * 60);

/// How often an end is looked for: a process that ends wakes no other thread than one that waits for it alone.
const PAUSE: Duration = Duration::from_millis(20);

/// A program that cargo built, as it says in its messages.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    name: String,
    executable: PathBuf,
    /// The folder of its crate, in which cargo would run it.
    folder: PathBuf,
}

struct Ran {
    program: Program,
    took: Duration,
    output: Vec<u8>,
    /// What happened, if it did not pass.
    failed: Option<String>,
}

/// Builds what `cargo` (a `cargo test` with its packages, features and targets) would run, and runs each program with `args`.
pub(crate) fn run(
    mut cargo: Command,
    args: &[&str],
    variables: &Variables,
    folder: &Path,
) -> Result<(), Failure> {
    let mut programs = build(&mut cargo)?;
    programs.sort_by_key(|program| (place(&program.name), program.name.clone()));
    let count = programs.len();
    let (alone, together): (Vec<_>, Vec<_>) =
        programs.into_iter().partition(|program| ALONE.contains(&&*program.name));
    if count == 0 {
        return Err(Failure::new("cargo built no test program", "read what it said above"));
    }
    std::fs::create_dir_all(folder).map_err(|error| {
        Failure::new(
            format!("{} cannot be made: {error}", folder.display()),
            "see who owns the folder above it",
        )
    })?;
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let mut ran = run_all(together, at_once, args, variables, folder)?;
    ran.extend(run_all(alone, 1, args, variables, folder)?);
    let failed: Vec<_> =
        ran.iter().filter(|ran| ran.failed.is_some()).map(|ran| &*ran.program.name).collect();
    let tally = Tally::of(ran.iter().map(|ran| &*ran.output));
    say::line(&format!("{count} test programs: {tally}"));
    for ran in &ran {
        for what in not_run(&ran.output) {
            say::line(&format!("  not run on this machine ({}): {what}", ran.program.name));
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        format!("{} of {count} test programs failed: {}", failed.len(), failed.join(", ")),
        "read the failures above; run one alone with `cargo test -p <crate> <part of its name>`",
    ))
}

/// Where in the order a program starts.
fn place(name: &str) -> usize {
    LONGEST.iter().position(|longest| *longest == name).unwrap_or(LONGEST.len())
}

fn build(cargo: &mut Command) -> Result<Vec<Program>, Failure> {
    cargo.args(["--no-run", "--message-format", "json-render-diagnostics"]);
    cargo.stdout(Stdio::piped());
    system::forget_ourselves(cargo);
    let text = system::spelled(cargo);
    let failure = |why: String| Failure::new(format!("`{text}` {why}"), "read what cargo said above");
    let mut child = cargo.spawn().map_err(|error| failure(format!("did not start: {error}")))?;
    let messages = child.stdout.take().expect("it is piped");
    let mut programs = Vec::new();
    for line in BufReader::new(messages).lines() {
        let line = line.map_err(|error| failure(format!("cannot be read: {error}")))?;
        programs.extend(program(&line));
    }
    let status = child.wait().map_err(|error| failure(format!("was lost: {error}")))?;
    if status.success() { Ok(programs) } else { Err(failure(format!("ended with {status}"))) }
}

/// The test program that a message of cargo tells of, if it tells of one.
fn program(message: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_test = message["reason"] == "compiler-artifact" && message["profile"]["test"] == true;
    let executable = message["executable"].as_str().filter(|_| is_test)?;
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    Some(Program {
        name: message["target"]["name"].as_str()?.to_owned(),
        executable: executable.into(),
        folder: folder.to_owned(),
    })
}

/// Runs them, so many at once, and shows each when it has ended.
fn run_all(
    programs: Vec<Program>,
    at_once: usize,
    args: &[&str],
    variables: &Variables,
    folder: &Path,
) -> Result<Vec<Ran>, Failure> {
    let count = programs.len();
    let left = Mutex::new(VecDeque::from(programs));
    std::thread::scope(|scope| {
        let (done, ended) = mpsc::channel();
        for number in 0..at_once {
            let (done, left, printed) = (done.clone(), &left, folder.join(format!("printed-{number}")));
            scope.spawn(move || {
                loop {
                    let next = left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(program) = next else { return };
                    if done.send(run_one(program, args, variables, &printed)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        let mut all = Vec::with_capacity(count);
        for ran in ended {
            let ran = ran?;
            show(&ran);
            all.push(ran);
        }
        Ok(all)
    })
}

fn show(ran: &Ran) {
    let ending = ran.failed.as_ref().map_or_else(|| "passed".to_owned(), |why| format!("FAILED: {why}"));
    say::line(&format!(
        "     Running {} ({})\n{}\n  {} {ending} after {:.1} s",
        ran.program.name,
        ran.program.executable.display(),
        String::from_utf8_lossy(&ran.output).trim_end(),
        ran.program.name,
        ran.took.as_secs_f64()
    ));
}

/// Both of its outputs go to one file, `printed`: a pipe would be held open by a process that outlives the program.
fn run_one(program: Program, args: &[&str], variables: &Variables, printed: &Path) -> Result<Ran, Failure> {
    let failure = |what: &str, error: std::io::Error| {
        let why = format!("the test program {} {what}: {error}", program.executable.display());
        Failure::new(why, "see whether the disk is full and what the system says")
    };
    let stopwatch = Stopwatch::start();
    let output = File::create(printed).map_err(|error| failure("has no file to print to", error))?;
    let errors = output.try_clone().map_err(|error| failure("has no file to print to", error))?;
    let mut command = Command::new(&program.executable);
    command.args(args).envs(variables.iter().map(|(name, text)| (name, text)));
    command.current_dir(&program.folder).env("CARGO_MANIFEST_DIR", &program.folder);
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let mut child = command.spawn().map_err(|error| failure("did not start", error))?;
    let ended = loop {
        if let Some(status) = child.try_wait().map_err(|error| failure("was lost", error))? {
            break Some(status);
        }
        if stopwatch.elapsed() > TIME_MAX {
            child.kill().and_then(|()| child.wait()).map_err(|error| failure("cannot be killed", error))?;
            break None;
        }
        clock::pause(PAUSE);
    };
    let took = stopwatch.elapsed();
    let output = std::fs::read(printed).map_err(|error| failure("printed what cannot be read", error))?;
    Ok(Ran { failed: why_failed(ended), program, took, output })
}

fn why_failed(ended: Option<ExitStatus>) -> Option<String> {
    match ended {
        Some(status) if status.success() => None,
        Some(status) => Some(status.to_string()),
        None => Some(format!("it hung and was killed after {} minutes", TIME_MAX.as_secs() / 60)),
    }
}

/// What tests say that they cannot show on this machine.
fn not_run(output: &[u8]) -> Vec<String> {
    let output = String::from_utf8_lossy(output);
    output.lines().filter_map(|line| line.split_once("not run: ")).map(|(_, what)| what.to_owned()).collect()
}

/// The sum of the closing lines of all programs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    fn of<'a>(outputs: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut tally = Self::default();
        for output in outputs {
            let output = String::from_utf8_lossy(output);
            for part in output
                .lines()
                .filter(|line| line.starts_with("test result: "))
                .flat_map(|line| line.split("; "))
            {
                let words: Vec<_> = part.split(' ').rev().take(2).collect();
                let (Some(name), Some(Ok(count))) =
                    (words.first(), words.get(1).map(|count| count.parse::<u64>()))
                else {
                    continue;
                };
                match *name {
                    "passed" => tally.passed += count,
                    "failed" => tally.failed += count,
                    "ignored" => tally.ignored += count,
                    _ => {}
                }
            }
        }
        tally
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tests passed, {} failed, {} ignored", self.passed, self.failed, self.ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_built_to_test_is_a_program() {
        let message = |test: bool, executable: &str| {
            format!(
                r#"{{"reason": "compiler-artifact", "manifest_path": "/crate/Cargo.toml", "target": {{"name": "serve"}},
                    "profile": {{"test": {test}}}, "executable": {executable}}}"#
            )
        };
        let serve = Program { name: "serve".into(), executable: "/serve-1".into(), folder: "/crate".into() };
        assert_eq!(program(&message(true, r#""/serve-1""#)), Some(serve));
        assert_eq!(program(&message(false, r#""/serve-1""#)), None);
        assert_eq!(program(&message(true, "null")), None);
        assert_eq!(program("warning: no message"), None);
    }

    #[test]
    fn closing_lines_are_added_up() {
        let outputs: [&[u8]; 2] = [
            b"test a ... ok\n\ntest result: ok. 54 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.32s\n",
            b"test result: FAILED. 1 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        ];
        assert_eq!(Tally::of(outputs.into_iter()), Tally { passed: 55, failed: 3, ignored: 2 });
    }

    #[test]
    fn what_cannot_run_here_is_found_even_behind_the_name_of_a_test() {
        let output = b"test a ... not run: memory limits: no controller\nok\nnot run: users: not root\ntest b ... ok\n";
        assert_eq!(not_run(output), ["memory limits: no controller", "users: not root"]);
    }

    #[test]
    fn the_longest_start_first() {
        assert!(place(LONGEST[0]) < place(LONGEST[1]));
        assert!(place(LONGEST[LONGEST.len() - 1]) < place("short"));
    }

    #[test]
    fn a_program_that_fails_is_a_failure() {
        let program = |executable: &str| Program {
            name: executable.into(),
            executable: executable.into(),
            folder: "/".into(),
        };
        let printed = std::env::temp_dir().join(format!("backroom-printed-{}", std::process::id()));
        let ran = |executable| {
            run_one(program(executable), &["given"], &[], &printed).map_err(|failure| failure.why)
        };
        assert_eq!(ran("/bin/true").map(|ran| ran.failed), Ok(None));
        assert!(ran("/bin/false").is_ok_and(|ran| ran.failed.is_some()));
        assert_eq!(ran("/bin/echo").map(|ran| ran.output), Ok(b"given\n".to_vec()));
        assert!(ran("/bin/no-such-program").is_err_and(|why| why.contains("did not start")));
        std::fs::remove_file(printed).expect("it was written");
    }
}
