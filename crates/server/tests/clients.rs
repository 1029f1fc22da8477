//! The clients in Python and TypeScript, packed as for their registries, installed below `target`, and tested against this binary by
//! their own test runners. Without a registry the tests fail.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test stops at what it did not expect, on real time"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Longest time for the tests of one client, without its installation.
const TESTS_MAX: Duration = Duration::from_secs(85);
/// What a client's folder holds that is made from the rest.
const MADE: [&str; 6] = ["node_modules", "dist", "build", "venv", "__pycache__", "wheels"];

/// A copy of a client's folder below `target`, under a name of its own. What was installed there before stays.
fn copied(client: &str, name: &str) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients").join(client);
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients").join(name);
    fs::create_dir_all(&to).unwrap();
    for entry in fs::read_dir(&to).unwrap().flatten() {
        let name = entry.file_name();
        if ["node_modules", "venv", "package-lock.json"].iter().all(|stays| name != *stays) {
            let path = entry.path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
    }
    copy(&from, &to);
    // Its programs are tested, too.
    fs::copy(from.join("../../docs/languages.md"), to.join("languages.md")).unwrap();
    // Sealed values that all languages open.
    copy(&from.join("../vectors"), &to.join("vectors"));
    to
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let name = entry.file_name();
        if MADE.iter().any(|made| name == *made) || name.to_string_lossy().ends_with(".egg-info") {
            continue;
        }
        let target = to.join(&name);
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Runs a command to its end, or ends it with its children when the time is over. What it writes is shown if it fails.
fn run(mut command: Command, most: Duration) {
    use std::os::unix::process::CommandExt as _;
    let log = tempfile_of(&command);
    let file = fs::File::create(&log).unwrap();
    command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).process_group(0);
    let began = Instant::now();
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}; see `cargo xtask test`"));
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if began.elapsed() > most {
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    if status.is_none() {
        // The group: test runners have children.
        let ended =
            Command::new("kill").args(["-s", "KILL", "--", &format!("-{}", child.id())]).status().unwrap();
        assert!(ended.success());
        child.wait().unwrap();
    }
    let said = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
    let ended = status.map_or_else(|| format!("not ended within {most:?}"), |status| status.to_string());
    assert!(status.is_some_and(|status| status.success()), "{command:?}: {ended}\n{said}");
}

/// Where a command writes.
fn tempfile_of(command: &Command) -> PathBuf {
    let dir = command.get_current_dir().unwrap();
    let name = command.get_program().to_string_lossy().replace('/', "_");
    dir.join(format!("{name}.log"))
}

fn command(program: impl AsRef<std::ffi::OsStr>, args: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).env("BACKROOM_BIN", env!("CARGO_BIN_EXE_backroom"));
    command.env_remove("PYTHONPATH").env_remove("NODE_TEST_CONTEXT");
    command
}

const INSTALL_MAX: Duration = Duration::from_secs(300);

/// How often server and worker are killed in the longer test. The ordinary one kills each three times.
const TURNS: (&str, &str) = ("TURNS", "30");
/// Longest time for that.
const KILLS_MAX: Duration = Duration::from_secs(900);

/// Installs the client for Python from its wheel. Answers the folder with its tests, and the interpreter.
fn python(name: &str) -> (PathBuf, PathBuf) {
    let dir = copied("python", name);
    let python = dir.join("venv/bin/python");
    if !python.is_file() {
        run(command("python3", &["-m", "venv", "--clear", "venv"], &dir), INSTALL_MAX);
    }
    let pip = ["-m", "pip", "--quiet", "--disable-pip-version-check"];
    run(
        command(&python, &[&pip[..], &["wheel", "--no-deps", "--wheel-dir", "wheels", "."]].concat(), &dir),
        INSTALL_MAX,
    );
    let wheel = "wheels/backroom_client-0.1.0-py3-none-any.whl";
    run(
        command(&python, &[&pip[..], &["install", "--force-reinstall", "--no-deps", wheel]].concat(), &dir),
        INSTALL_MAX,
    );
    // What seals, and another library that must open it.
    run(
        command(&python, &[&pip[..], &["install", "cryptography==50.0.2", "jwcrypto==1.6.1"]].concat(), &dir),
        INSTALL_MAX,
    );
    // The wheel is tested, and not the sources beside it.
    fs::remove_dir_all(dir.join("src")).unwrap();
    (dir, python)
}

#[test]
fn the_python_client_passes_its_tests_as_an_installed_wheel() {
    let (dir, python) = python("python");
    run(command(&python, &["-m", "unittest"], &dir), TESTS_MAX);
}

#[test]
#[ignore = "thirty kills; the ordinary test has three"]
fn thirty_kills_of_python_workers_and_of_their_server_lose_nothing() {
    let (dir, python) = python("python-kills");
    let test = "tests.test_worker.Workers.test_kills_of_the_server_and_of_workers_lose_nothing_that_was_acknowledged";
    let mut command = command(&python, &["-m", "unittest", test], &dir);
    command.env(TURNS.0, TURNS.1);
    run(command, KILLS_MAX);
}

/// Installs the client for TypeScript as it is packed. Answers the folder with its tests.
fn typescript(name: &str) -> PathBuf {
    let dir = copied("typescript", name);
    let lock = |path: &Path| fs::read(path.join("package-lock.json")).ok();
    let installed = dir.join("node_modules");
    if lock(&installed) != lock(&dir) {
        run(command("npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund"], &dir), INSTALL_MAX);
        fs::copy(dir.join("package-lock.json"), installed.join("package-lock.json")).unwrap();
    }
    run(command("npm", &["run", "build"], &dir), INSTALL_MAX);
    run(command("npm", &["pack", "--ignore-scripts"], &dir), INSTALL_MAX);
    // The packed files are tested, and not the sources beside them.
    fs::remove_dir_all(dir.join("dist")).unwrap();
    fs::remove_dir_all(dir.join("src")).unwrap();
    run(command("tar", &["-xzf", "backroom-client-0.1.0.tgz", "--strip-components=1"], &dir), INSTALL_MAX);
    dir
}

#[test]
fn the_typescript_client_passes_its_tests_as_it_is_packed() {
    let dir = typescript("typescript");
    let files =
        ["client", "readme", "sealed", "worker", "workflow"].map(|name| format!("test/{name}.test.mjs"));
    let args: Vec<_> = ["--test"].into_iter().chain(files.iter().map(String::as_str)).collect();
    run(command("node", &args, &dir), TESTS_MAX);
}

#[test]
#[ignore = "thirty kills; the ordinary test has three"]
fn thirty_kills_of_node_workers_and_of_their_server_lose_nothing() {
    let dir = typescript("typescript-kills");
    let only = ["--test", "--test-name-pattern", "kills of the server", "test/worker.test.mjs"];
    let mut command = command("node", &only, &dir);
    command.env(TURNS.0, TURNS.1);
    run(command, KILLS_MAX);
}

#[test]
fn pip_installs_the_program_from_its_wheel() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wheel");
    // What an interrupted test left.
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/wheel/build.py");
    let build = [script.to_str().unwrap(), env!("CARGO_BIN_EXE_backroom"), "dist", "--stored"];
    run(command("python3", &build, &dir), INSTALL_MAX);
    let wheel = fs::read_dir(dir.join("dist")).unwrap().next().unwrap().unwrap().path();
    run(command("python3", &["-m", "venv", "venv"], &dir), INSTALL_MAX);
    let install = [
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "install",
        "--no-index",
        wheel.to_str().unwrap(),
    ];
    run(command(dir.join("venv/bin/python"), &install, &dir), INSTALL_MAX);
    let version = Command::new(dir.join("venv/bin/backroom")).arg("--version").output().unwrap();
    let said = String::from_utf8_lossy(&version.stdout).into_owned();
    assert!(
        version.status.success() && said.trim() == format!("backroom {}", env!("CARGO_PKG_VERSION")),
        "{said}"
    );
    // It is as large as the program, twice.
    fs::remove_dir_all(&dir).unwrap();
}
