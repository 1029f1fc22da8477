//! `cargo xtask faktory`: runs the tests of crates.io `faktory`, unmodified, against `backroom serve --faktory`.
//!
//! The crate is fetched from its registry and copied to a folder below `target`. Its build takes minutes, so it is no step of the
//! test command. Without two variables its tests pass in silence: both are set. [`NOT_PASSED`] names the tests that cannot pass, with
//! the reason; one that passes all the same, or one that fails and is not named, fails the task.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::failure::Failure;
use crate::say;
use crate::system::{self, Repository};

/// The release whose tests run.
const RELEASE: &str = "0.13.1";

/// Tests that do not pass, each with the reason.
const NOT_PASSED: &[(&str, &str)] = &[];

/// Tests that pass without having tested anything.
const EMPTY: &[(&str, &str)] = &[(
    "community::mutation_requeue_jobs",
    "it starts a server of its own with Docker; a test of ours does the same",
)];

pub(crate) fn run() -> Result<(), Failure> {
    let repository = Repository::find()?;
    let suite = suite(&repository)?;
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--workspace", "--all-features", "--bin", "backroom"]);
    system::run(repository.command(cargo), "mend what the compiler says above")?;
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--features", "ent", "--test", "real", "--no-run"]).current_dir(&suite);
    system::run(cargo, "the crate is unmodified: see whether this compiler can build it")?;
    let served = Served::start(&repository)?;
    // The last one pauses all queues, so it runs by itself.
    let mut ended = tests(&suite, &served.url, &[])?;
    ended.extend(tests(&suite, &served.url, &["--ignored"])?);
    report(&ended)
}

/// The sources of the release, as the registry has them, in a folder below `target`.
fn suite(repository: &Repository) -> Result<PathBuf, Failure> {
    let folder = repository.target("faktory-suite");
    let failed = |what: &str, why: &dyn std::fmt::Display| {
        Failure::new(format!("{what}: {why}"), "see that the folder can be written and the registry answers")
    };
    let stub = folder.join("fetch");
    std::fs::create_dir_all(stub.join("src")).map_err(|error| failed("make a folder", &error))?;
    let manifest = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[dependencies]\nfaktory = \"={RELEASE}\"\n[workspace]\n"
    );
    std::fs::write(stub.join("Cargo.toml"), manifest).map_err(|error| failed("write a manifest", &error))?;
    std::fs::write(stub.join("src/lib.rs"), "").map_err(|error| failed("write a file", &error))?;
    let mut metadata = Command::new("cargo");
    metadata.args(["metadata", "--format-version", "1"]).current_dir(&stub).stderr(Stdio::inherit());
    let output = metadata.output().map_err(|error| failed("run cargo metadata", &error))?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| failed("fetch crates.io faktory", &error))?;
    let package =
        metadata["packages"].as_array().into_iter().flatten().find(|package| package["name"] == "faktory");
    let manifest = package
        .and_then(|package| package["manifest_path"].as_str())
        .ok_or_else(|| failed("fetch crates.io faktory", &"cargo did not say where it is"))?;
    let Some(from) = Path::new(manifest).parent() else {
        return Err(failed("fetch crates.io faktory", &"its manifest has no folder"));
    };
    let to = folder.join(format!("faktory-{RELEASE}"));
    if !to.join("Cargo.toml").is_file() {
        let mut copy = Command::new("cp");
        copy.args(["-R", "--no-preserve=mode"]).arg(from).arg(&to);
        system::run(copy, "see that the folder can be written")?;
        let workspace = to.join("Cargo.toml");
        let text =
            std::fs::read_to_string(&workspace).map_err(|error| failed("read its manifest", &error))?;
        // Below our folder cargo would take it for a member of our workspace.
        std::fs::write(&workspace, text + "\n[workspace]\n")
            .map_err(|error| failed("write its manifest", &error))?;
    }
    Ok(to)
}

/// The tests that ran, and whether each passed.
fn tests(suite: &Path, url: &str, more: &[&str]) -> Result<BTreeMap<String, bool>, Failure> {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--features", "ent", "--test", "real", "--no-fail-fast", "--"]).args(more);
    cargo.current_dir(suite).env("FAKTORY_URL", url).env("FAKTORY_ENT", "1").stderr(Stdio::inherit());
    let output = cargo
        .output()
        .map_err(|error| Failure::new(format!("cargo test did not start: {error}"), "run it by hand"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    say::line(&text);
    let line = |line: &str| {
        let (name, end) = line.strip_prefix("test ")?.split_once(" ... ")?;
        match end.trim() {
            "ok" => Some((name.to_owned(), true)),
            "FAILED" => Some((name.to_owned(), false)),
            _ => None,
        }
    };
    Ok(text.lines().filter_map(line).collect())
}

fn report(ended: &BTreeMap<String, bool>) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    for (name, passed) in ended {
        let reason = NOT_PASSED.iter().find(|(listed, _)| listed == name).map(|(_, reason)| *reason);
        let empty = EMPTY.iter().find(|(listed, _)| listed == name).map(|(_, reason)| *reason);
        match (passed, reason, empty) {
            (true, None, None) => {}
            (true, None, Some(why)) => say::line(&format!("  tested nothing: {name}: {why}")),
            (false, Some(why), _) => say::line(&format!("  does not pass: {name}: {why}")),
            (true, Some(_), _) => wrong.push(format!("{name} passes: take it off the list")),
            (false, None, _) => wrong.push(format!("{name} failed")),
        }
    }
    let missing = NOT_PASSED.iter().filter(|(name, _)| !ended.contains_key(*name));
    wrong.extend(missing.map(|(name, _)| format!("{name} did not run")));
    if ended.len() < 28 {
        wrong.push(format!("only {} tests ran", ended.len()));
    }
    if wrong.is_empty() {
        let passed = ended.values().filter(|passed| **passed).count();
        say::line(&format!(
            "xtask faktory: {passed} of {} tests of crates.io faktory {RELEASE} passed",
            ended.len()
        ));
        return Ok(());
    }
    Err(Failure::new(wrong.join("; "), "read what the tests say above"))
}

/// The server that the tests connect to. Dropping it ends it.
struct Served {
    child: Child,
    url: String,
    folder: PathBuf,
}

impl Served {
    fn start(repository: &Repository) -> Result<Self, Failure> {
        let folder = repository.target("faktory-suite").join(format!("served-{}", std::process::id()));
        let failed = |why: &dyn std::fmt::Display| {
            Failure::new(format!("`backroom serve --faktory` could not be started: {why}"), "run it by hand")
        };
        std::fs::create_dir_all(&folder).map_err(|error| failed(&error))?;
        let mut child = Command::new(repository.target("debug/backroom"))
            .args(["serve", "--listen", "127.0.0.1:0", "--faktory", "127.0.0.1:0", "--faktory-flush", "true"])
            .current_dir(&folder)
            .env_remove("BACKROOM_STORE")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        let log = child.stderr.take();
        let mut served = Self { child, url: String::new(), folder };
        let mut lines =
            log.map(|log| BufReader::new(log).lines()).ok_or_else(|| failed(&"it has no stderr"))?;
        let listening = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening for Faktory clients on ").map(str::to_owned));
        served.url = listening.ok_or_else(|| failed(&"it ended before it listened"))?;
        // A server whose stderr is not read would stop.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Ok(served)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
