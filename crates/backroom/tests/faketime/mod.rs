//! Processes whose wall clock a test sets while they run: libfaketime, preloaded. Their monotonic clock is the machine's.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    env,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use backroom::{Backroom, Context, Failure, JobRow, Json, RetryPolicy, Timestamp, Worker};

/// What a child process does: `URL ROLE ARGUMENTS`.
const CHILD: &str = "BACKROOM_TEST_CLOCK_CHILD";
/// The test that is the child's `main`; each test file that has children declares it.
const MAIN: &str = "a_process_with_a_clock_of_its_own";
/// Short, so that many leases pass within seconds.
const LEASE: Duration = Duration::from_secs(2);
/// Nothing takes longer, however busy the machine.
const LIMIT: Duration = Duration::from_secs(90);

/// The wall clock of some processes.
pub(crate) struct WallClock {
    folder: tempfile::TempDir,
    library: PathBuf,
}

impl WallClock {
    pub(crate) fn new() -> Self {
        let clock = Self { folder: tempfile::tempdir().unwrap(), library: library() };
        clock.step_to(0);
        clock
    }

    /// Sets it so many seconds ahead of the machine's clock; behind, if negative.
    pub(crate) fn step_to(&self, secs: i64) {
        let next = self.folder.path().join("next");
        std::fs::write(&next, format!("{secs:+}\n")).unwrap();
        // The processes read the file whenever they read the clock, so it must never be half written.
        std::fs::rename(next, self.file()).unwrap();
    }

    /// What a process needs in its environment to have this clock.
    pub(crate) fn variables(&self) -> [(&'static str, PathBuf); 4] {
        [
            ("LD_PRELOAD", self.library.clone()),
            ("FAKETIME_TIMESTAMP_FILE", self.file()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }

    /// Lets processes of other users read it.
    pub(crate) fn open_to_all(&self) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(self.folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("clock")
    }
}

/// Fills a folder with the server's programs, of which `postgres` has this clock.
pub(crate) fn postgres_with(clock: &WallClock, bin: &Path, folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    // The server runs as another user where the tests run as root.
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    for program in std::fs::read_dir(bin).unwrap() {
        let program = program.unwrap().path();
        let name = program.file_name().unwrap();
        if name != "postgres" {
            std::os::unix::fs::symlink(&program, folder.join(name)).unwrap();
        }
    }
    let variables = clock.variables().map(|(name, value)| format!("{name}='{}'", value.display())).join(" ");
    let script = format!("#!/bin/sh\nexec env {variables} '{}' \"$@\"\n", bin.join("postgres").display());
    let file = folder.join("postgres");
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Its absence is a failure, never a pass.
fn library() -> PathBuf {
    let folders = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
        "/usr/local/lib",
    ];
    let files = folders.map(|folder| Path::new(folder).join("faketime/libfaketimeMT.so.1"));
    files.into_iter().find(|file| file.exists()).unwrap_or_else(|| {
        panic!("libfaketime is not installed; run the tests by `cargo xtask test`, or install it (Debian: apt-get install faketime)")
    })
}

/// A process of this test program; killed when it is dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(url: &str, role: &str, clock: Option<&WallClock>) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([MAIN, "--exact", "--nocapture"]).env(CHILD, format!("{url} {role}"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(if env::var_os("BACKROOM_TEST_TALK").is_some() {
            Stdio::inherit()
        } else {
            Stdio::null()
        });
        if let Some(clock) = clock {
            command.envs(clock.variables());
        }
        Self(command.spawn().unwrap())
    }

    /// A process that works: one worker with this many slots on this queue.
    pub(crate) fn worker(url: &str, queue: &str, slots: u32, clock: Option<&WallClock>) -> Self {
        Self::start(url, &format!("worker {queue} {slots}"), clock)
    }

    /// A process that enqueues jobs to start at once by its own clock, then ends.
    pub(crate) fn enqueue(url: &str, queue: &str, kind: &str, jobs: u32, clock: &WallClock) {
        let status =
            Self::start(url, &format!("enqueue {queue} {kind} {jobs}"), Some(clock)).0.wait().unwrap();
        assert!(status.success(), "{status}");
    }

    /// Stops it as `SIGSTOP` does, or lets it go on.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap();
        assert!(status.success(), "{status}");
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// The `main` of a child. Without the variable this is no child and has nothing to do.
pub(crate) async fn main() {
    let Ok(orders) = env::var(CHILD) else { return };
    let words: Vec<&str> = orders.split(' ').collect();
    let backroom = Backroom::open(words[0]).await.unwrap();
    match words[1..] {
        ["worker", queue, slots] => {
            let worker = Worker::new(&backroom).queue(queue, slots.parse().unwrap());
            let worker = worker.lease(LEASE).poll(Duration::from_millis(200));
            let worker = worker.handle_untyped("hang", async |_, _: Context| {
                std::future::pending::<Result<Json, Failure>>().await
            });
            let worker = worker.handle_untyped("work", async |_, _| Ok(Json::null()));
            let worker =
                worker.handle_untyped("fail_once", async |_, context: Context| match context.attempt() {
                    1 => Err(Failure::retry("the first attempt fails")),
                    _ => Ok(Json::null()),
                });
            let _running = worker.start().await.unwrap();
            // Until the parent kills it.
            std::future::pending::<()>().await;
        }
        ["enqueue", queue, kind, jobs] => {
            for _ in 0..jobs.parse::<u32>().unwrap() {
                backroom.enqueue_untyped(kind, Json::null()).queue(queue).await.unwrap();
            }
            backroom.close().await.unwrap();
        }
        _ => panic!("{orders}"),
    }
}

/// A retry after two seconds.
pub(crate) fn retry_after_two_secs() -> RetryPolicy {
    RetryPolicy::constant(Duration::from_secs(2))
}

/// The jobs of a queue, by id.
pub(crate) async fn jobs_of(backroom: &Backroom, queue: &str) -> Vec<JobRow> {
    let filter = backroom::Filter { queue: Some(queue.into()), ..Default::default() };
    let mut jobs = backroom.list(filter, None, 100).await.unwrap().jobs;
    jobs.sort_by_key(|job| job.id);
    jobs
}

/// Waits until a question is answered with yes; answers how long it took.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    start.elapsed()
}

pub(crate) async fn until_all_run(backroom: &Backroom, queue: &str, jobs: usize) -> Vec<JobRow> {
    until(&format!("{jobs} jobs of {queue} run"), async || {
        let found = jobs_of(backroom, queue).await;
        found.len() == jobs && found.iter().all(|job| job.state == backroom::State::Running)
    })
    .await;
    jobs_of(backroom, queue).await
}

/// Waits until each of so many workers has written ten heartbeats more: about three leases, in which each has had
/// time enough to take the others for dead.
pub(crate) async fn until_three_leases_passed(backroom: &Backroom, workers: usize) {
    let beats = async || -> Vec<(String, u64)> {
        let living = backroom.store().workers(Timestamp::UNIX_EPOCH).await.unwrap();
        living.into_iter().map(|worker| (worker.name, worker.beats)).collect()
    };
    until(&format!("there are {workers} workers"), async || beats().await.len() >= workers).await;
    let before = beats().await;
    // Three heartbeats per lease; one more for the one that was on its way.
    until("every worker goes on with its heartbeats", async || {
        let now = beats().await;
        before.iter().all(|(name, beats)| now.iter().any(|(other, now)| name == other && *now >= beats + 10))
    })
    .await;
}

/// The very runs of `before` go on: no other claim, no crash, no attempt that ended.
pub(crate) async fn assert_undisturbed(backroom: &Backroom, before: &[JobRow]) {
    for job in before {
        let now = backroom.job(job.id).await.unwrap();
        assert_eq!((now.state, now.lease_id, now.crashes), (job.state, job.lease_id, 0), "{now:?}");
        assert_eq!(backroom.attempts(job.id).await.unwrap(), []);
    }
}
