//! A process that enqueues on command, and programs that open and close its file.

#![expect(clippy::print_stdout, reason = "the process answers on its standard output")]

use std::{
    collections::HashSet,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
};

use backroom::{
    Backroom, JobId, Json,
    store::{Filter, ReadVerbs as _, sqlite::SqliteStore},
};
use rusqlite::Connection;

const PATH: &str = "BACKROOM_TEST_OFFICE_PATH";
const SCENARIO: &str = "BACKROOM_TEST_OFFICE_SCENARIO";
/// Begins each line that the office says: the test harness writes lines of its own.
const SAYS: &str = "office: ";

/// The parent's side.
pub(crate) struct Office {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Office {
    pub(crate) fn start(scenario: &str, path: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "office_process", "--nocapture"])
            .env(PATH, path)
            .env(SCENARIO, scenario)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut office = Self { child, commands, answers, log, _folder: folder };
        assert_eq!(office.hear(), "ready");
        office
    }

    /// Has it enqueue so many jobs, one after the other. The ids that were acknowledged, or the first error.
    pub(crate) fn enqueue(&mut self, jobs: usize) -> Result<Vec<JobId>, String> {
        self.say(&format!("enqueue {jobs}"));
        let answer = self.hear();
        match answer.split_once(' ').unwrap() {
            ("acknowledged", ids) => Ok(ids.split(' ').map(|id| id.parse().unwrap()).collect()),
            (_, error) => Err(error.to_owned()),
        }
    }

    /// What a read answers, and what its health says.
    pub(crate) fn read_and_health(&mut self) -> (String, String) {
        self.say("look");
        (self.hear(), self.hear())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Has it close the store and end.
    pub(crate) fn close(&mut self) {
        self.commands = None;
        assert!(self.child.wait().unwrap().success(), "{}", self.logged());
    }

    /// What it logged so far.
    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn say(&mut self, command: &str) {
        writeln!(self.commands.as_mut().unwrap(), "{command}").unwrap();
    }

    fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            let bytes = self.answers.read_line(&mut line).unwrap();
            assert!(bytes > 0, "the office ended: {}", self.logged());
            // The harness may leave an unfinished line before ours.
            if let Some(at) = line.find(SAYS) {
                return line[at + SAYS.len()..].trim_end().to_owned();
            }
        }
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The child's side: does nothing unless it was started as an office.
pub(crate) fn work_if_asked() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let scenario = std::env::var(SCENARIO).unwrap();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    block_on(work(Path::new(&path), &scenario));
}

async fn work(path: &Path, scenario: &str) {
    let url = format!("sqlite:{}", path.display());
    // Held until the end where the scenario says so.
    let mut connections = Vec::new();
    let mut others = Vec::new();
    let backroom = match scenario {
        "plain" => Backroom::open(&url).await.unwrap(),
        "application-first" => {
            connections.push(touched(path));
            Backroom::open(&url).await.unwrap()
        }
        "application-around" => {
            let before = touched(path);
            let backroom = Backroom::open(&url).await.unwrap();
            drop(touched(path));
            drop(before);
            connections.push(touched(path));
            backroom
        }
        "several-opens" => {
            let backroom = Backroom::open(&url).await.unwrap();
            others.push(Backroom::open(&url).await.unwrap());
            Backroom::open(&url).await.unwrap().close().await.unwrap();
            backroom
        }
        "version-beside" => {
            let backroom = Backroom::open(&url).await.unwrap();
            assert!(SqliteStore::version(path).await.unwrap() > 0);
            assert!(backroom.health().await.unwrap().checks.iter().all(|check| check.ok));
            backroom
        }
        "careless" => {
            let backroom = Backroom::open(&url).await.unwrap();
            enqueue(&backroom, 1).await;
            // What an application must not do: closing the file drops the locks of the whole process.
            drop(std::fs::File::open(path).unwrap());
            backroom
        }
        "relative" => {
            std::env::set_current_dir(path.parent().unwrap()).unwrap();
            let name = Path::new(path.file_name().unwrap());
            connections.push(touched(name));
            let backroom = Backroom::open(&format!("sqlite:{}", name.display())).await.unwrap();
            std::env::set_current_dir("/").unwrap();
            backroom
        }
        other => panic!("no scenario {other}"),
    };
    println!("{SAYS}ready");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        if let Some(jobs) = line.strip_prefix("enqueue ") {
            println!("{SAYS}{}", enqueue(&backroom, jobs.parse().unwrap()).await);
        } else {
            let read = backroom.list(Filter::default(), None, 1).await;
            println!("{SAYS}{}", read.map_or_else(|error| said(&error), |_| "read".into()));
            let health = backroom.health().await.unwrap();
            let failed = health.checks.iter().filter(|check| !check.ok).map(|check| check.found.clone());
            println!("{SAYS}{}", failed.collect::<Vec<_>>().join(" | "));
        }
    }
    for other in others {
        other.close().await.unwrap();
    }
    backroom.close().await.unwrap();
}

async fn enqueue(backroom: &Backroom, jobs: usize) -> String {
    let mut answer = "acknowledged".to_owned();
    for _ in 0..jobs {
        match backroom.enqueue_untyped("mail", Json::null()).await {
            Ok(handle) => answer += &format!(" {}", handle.id()),
            Err(error) => return format!("refused {}", said(&error)),
        }
    }
    answer
}

fn said(error: &backroom::Error) -> String {
    format!("{:?}: {error}", error.kind())
}

/// A connection of the application that has used the file.
fn touched(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).unwrap();
    connection
}

/// A program of another process that opens the file, looks and closes it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outsider {
    /// The `sqlite3` shell.
    Shell,
    /// Python's module.
    Python,
    /// A store of ours.
    Ours,
}

impl Outsider {
    pub(crate) const ALL: [Self; 3] = [Self::Shell, Self::Python, Self::Ours];

    pub(crate) fn visits(self, path: &Path) {
        assert!(self.begin(path).wait().unwrap().success(), "{self:?}");
    }

    /// A program that holds the write lock until it is killed; it does already.
    pub(crate) fn locks(path: &Path) -> Child {
        let mut command = Command::new("python3");
        command.args(["-c", LOCKS]).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "locked");
        child
    }

    /// `cargo xtask test` installs the programs where they are missing.
    pub(crate) fn begin(self, path: &Path) -> Child {
        let mut command = match self {
            Self::Shell => {
                let mut command = Command::new("sqlite3");
                command.arg(path).arg("SELECT count(*) FROM backroom_jobs");
                command
            }
            Self::Python => {
                let mut command = Command::new("python3");
                command.args(["-c", PYTHON]).arg(path);
                command
            }
            Self::Ours => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.args(["--exact", "office_process", "--nocapture"]);
                command.env(PATH, path).env(SCENARIO, "plain");
                command
            }
        };
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap_or_else(|error| panic!("{self:?} does not start: {error}"))
    }
}

const PYTHON: &str = "\
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute('SELECT count(*) FROM backroom_jobs').fetchone())
connection.close()";

const LOCKS: &str = "\
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute('BEGIN IMMEDIATE')
print('locked', flush=True)
sys.stdin.read()";

/// The ids of the jobs in the file, which no process has open.
pub(crate) fn stored(path: &Path) -> HashSet<JobId> {
    block_on(async {
        let store = SqliteStore::open(path, backroom::store::sqlite::SqliteOptions::default()).await.unwrap();
        let jobs = store.list(Arc::new(Filter::default()), None, 100_000).await.unwrap();
        jobs.into_iter().map(|job| job.id).collect()
    })
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
