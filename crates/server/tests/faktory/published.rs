//! The published clients, from their registries, installed below `target`: the programs of `docs/languages.md` run unchanged. Without a
//! registry the tests fail.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{cli_support::Place, serve_support::eventually, support::Served};

const PASSWORD: &str = "correct-horse";

/// A folder below `target` in which what was installed before stays.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faktory-clients").join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The program of the page whose first line has this name.
fn program(folder: &Path, name: &str) -> PathBuf {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/languages.md")).unwrap();
    let block = page
        .split("```")
        .find(|block| block.lines().nth(1).is_some_and(|line| line.ends_with(&format!(" {name}"))));
    let block = block.unwrap_or_else(|| panic!("no program {name} in docs/languages.md"));
    let (_, text) = block.split_once('\n').unwrap();
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn succeeds(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
}

/// A worker with its children, which is ended with the test.
struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn start(mut command: Command, log: PathBuf) -> Self {
        use std::os::unix::process::CommandExt as _;
        let file = fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).process_group(0);
        Self { child: command.spawn().unwrap(), log }
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The group: workers have children.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-s", "KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}

/// A client pushes two jobs, its worker does one and fails the other.
fn round_trip(name: &str, command: impl Fn(&Served) -> Command) {
    let place = Place::new();
    let served = Served::start(&place, &["--faktory-password", PASSWORD]);
    succeeds(command(&served).arg("push"));
    let jobs = || served.server.get("/v1/jobs").json()["jobs"].as_array().unwrap().clone();
    assert_eq!(jobs().len(), 2);
    let worker = Running::start(command(&served), folder(name).join("worker.log"));
    let ended = |job: &Value| job["finished_at"].is_string();
    eventually(&format!("{name} ends both jobs"), || jobs().iter().all(ended));
    let mut states: Vec<_> = jobs().iter().map(|job| (job["kind"].clone(), job["state"].clone())).collect();
    states.sort_by_key(|(kind, _)| kind.to_string());
    let expected = [("breaks", "cancelled"), ("words", "completed")];
    assert_eq!(states, expected.map(|(kind, state)| (kind.into(), state.into())), "{}", worker.log());
    eventually(&format!("{name} has counted the words"), || worker.log().contains('3'));
    drop(worker);
    served.server.stop();
}

fn python(name: &'static str, package: &str, program_name: &str) {
    let folder = folder(name);
    let python = folder.join("venv/bin/python");
    let marker = folder.join("venv").join(package);
    if !marker.is_file() {
        succeeds(Command::new("python3").args(["-m", "venv", "--clear", "venv"]).current_dir(&folder));
        let install = ["-m", "pip", "--quiet", "--disable-pip-version-check", "install", package];
        succeeds(Command::new(&python).args(install).current_dir(&folder));
        fs::write(&marker, "").unwrap();
    }
    let program = program(&folder, program_name);
    round_trip(name, |served| {
        let mut command = Command::new(&python);
        command.arg(&program).current_dir(&folder).env("FAKTORY_URL", served.url(Some(PASSWORD)));
        command.env_remove("PYTHONPATH");
        command
    });
}

#[test]
fn pyfaktory_of_pypi_works_unchanged() {
    python("pyfaktory", "pyfaktory==0.2.13", "pyfaktory_worker.py");
}

#[test]
fn faktory_of_pypi_works_unchanged() {
    python("faktory", "faktory==1.0.0", "faktory_worker.py");
}

#[test]
fn faktory_worker_of_npm_works_unchanged() {
    const PACKAGE: &str = r#"{"private":true,"dependencies":{"faktory-worker":"4.7.1"}}"#;
    let folder = folder("faktory-worker");
    let package = folder.join("package.json");
    if fs::read_to_string(&package).ok().as_deref() != Some(PACKAGE)
        || !folder.join("node_modules/faktory-worker").is_dir()
    {
        fs::write(&package, PACKAGE).unwrap();
        let install = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"];
        succeeds(Command::new("npm").args(install).current_dir(&folder));
    }
    let program = program(&folder, "faktory-worker.cjs");
    round_trip("faktory-worker", |served| {
        let mut command = Command::new("node");
        command.arg(&program).current_dir(&folder).env("FAKTORY_URL", served.url(Some(PASSWORD)));
        command
    });
}
