//! What the tests of commands share: a worker that runs shell scripts, and a view of the machine's processes.
#![allow(dead_code, reason = "every test file uses its own part")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "in a test a panic is the report, on real time"
)]

use std::{
    fs,
    time::{Duration, Instant},
};

use backroom::{
    Attempt, Backroom, JobHandle, JobRow, Json, RunningWorker, Untyped, Worker, command::CommandSpec,
};

/// Nothing takes longer, however busy the machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A shell script as a command, with a short grace.
pub(crate) fn sh(script: &str) -> CommandSpec {
    CommandSpec::new("sh")
        .arguments(["-c", script])
        .grace(Duration::from_millis(300))
        .supervised_by(SUPERVISOR)
}

/// The program that supervises the commands of tests.
pub(crate) const SUPERVISOR: &str = env!("CARGO_BIN_EXE_backroom-exec");

/// A store in memory and a worker that runs the command for the kind `command`.
pub(crate) struct Office {
    pub(crate) backroom: Backroom,
    pub(crate) worker: RunningWorker,
}

impl Office {
    pub(crate) async fn new(spec: CommandSpec) -> Self {
        let backroom = Backroom::open("memory:").await.unwrap();
        let worker = Worker::new(&backroom).queue("default", 8).command("command", spec);
        let worker = worker.grace(Duration::from_millis(100)).start().await.unwrap();
        Self { backroom, worker }
    }

    pub(crate) async fn enqueue(&self, args: &str) -> JobHandle<Untyped> {
        self.backroom.enqueue_untyped("command", json(args)).max_attempts(1).await.unwrap()
    }

    /// Runs one job and returns it with its attempts.
    pub(crate) async fn run(&self, args: &str) -> Run {
        let job = self.enqueue(args).await;
        self.finished(&job).await
    }

    pub(crate) async fn finished(&self, job: &JobHandle<Untyped>) -> Run {
        let row = tokio::time::timeout(LIMIT, job.finished()).await.expect("the job ends").unwrap();
        let attempts = self.backroom.attempts(row.id).await.unwrap();
        let mut log = Vec::new();
        loop {
            let lines = self.backroom.log(row.id, log.len()).await.unwrap();
            if lines.is_empty() {
                break;
            }
            log.extend(lines);
        }
        Run { row, attempts, log: log.into_iter().map(|line| line.line).collect() }
    }
}

/// A finished job.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) row: JobRow,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) log: Vec<String>,
}

impl Run {
    pub(crate) fn output(&self) -> &str {
        self.row.output.as_ref().unwrap_or_else(|| panic!("an output: {self:#?}")).as_str()
    }

    /// The error of its last attempt.
    pub(crate) fn error(&self) -> &str {
        &self.attempts.last().unwrap_or_else(|| panic!("an attempt that did not succeed: {self:#?}")).error
    }
}

/// One job by a worker of its own.
pub(crate) async fn run(spec: CommandSpec, args: &str) -> Run {
    let office = Office::new(spec).await;
    let run = office.run(args).await;
    office.worker.stop().await.unwrap();
    run
}

pub(crate) fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

/// The ids of living processes whose command line holds this text.
pub(crate) fn living(mark: &str) -> Vec<i32> {
    let ids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let holds = |id: &i32| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(mark) && !is_zombie(*id)
    };
    ids.filter(holds).collect()
}

fn is_zombie(id: i32) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')))
}

/// Zombies that this process has not collected.
pub(crate) fn zombies() -> usize {
    let own = std::process::id().to_string();
    let ids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let fields: Vec<_> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        fields.first() == Some(&"Z") && fields.get(1) == Some(&own.as_str())
    })
    .count()
}

pub(crate) fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A text that no other process has on its command line: a number of seconds to sleep.
pub(crate) fn mark() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("9{:05}.{:07}", NEXT.fetch_add(1, Ordering::Relaxed), std::process::id())
}

pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LIMIT, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Says what a test cannot show on this machine. `cargo xtask test` lists these lines at its end. They do not go through the
/// captured output, which is shown for failing tests only.
pub(crate) fn not_run(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "not run: {what}");
}
