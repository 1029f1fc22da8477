//! A store that was restored from a backup. Occurrences that the backup knows do not run again; the others were missed, and `catch_up`
//! decides about them. Those that run again have the ids that they had before.
#![cfg(all(feature = "sqlite", feature = "postgres", target_os = "linux"))]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "in a test a panic is the report, on real time"
)]

mod faketime;
mod postgres_support;

use std::{collections::BTreeMap, path::PathBuf, process::Command, sync::Arc, time::Duration};

use backroom::{
    Backroom, Filter, JobId, JobRow, Json, Schedule, State, Timestamp,
    core::{bounds::later, schedule::every::Every},
    schedule::{
        Spec, What,
        plan::Why,
        policy::{CatchUp, Overlap},
    },
};
use backroom_testbed::{Login, Place as ServerPlace, Server};
use faketime::{Process, WallClock, until};

const MINUTE: Duration = Duration::from_secs(60);
/// Between two occurrences.
const INTERVAL: Duration = Duration::from_secs(600);
/// The schedules, each with another policy.
const NAMES: [&str; 3] = ["all", "once", "none"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_with_a_clock_of_its_own() {
    faketime::main().await;
}

/// A store that can be backed up and restored, and whose clock can be set.
trait Place {
    fn url(&self) -> String;
    fn clock(&self) -> &WallClock;
    /// The clock of the processes that work.
    fn clock_of_workers(&self) -> Option<&WallClock>;
    async fn back_up(&mut self);
    async fn restore(&mut self);
}

struct SqliteFile {
    folder: tempfile::TempDir,
    clock: WallClock,
}

impl SqliteFile {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: WallClock::new() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Place for SqliteFile {
    fn url(&self) -> String {
        format!("sqlite:{}", self.file("backroom.db").display())
    }

    fn clock(&self) -> &WallClock {
        &self.clock
    }

    fn clock_of_workers(&self) -> Option<&WallClock> {
        Some(&self.clock)
    }

    async fn back_up(&mut self) {
        backroom::store::backup(&self.url(), &self.file("copy.db"), |_| ()).await.unwrap();
    }

    async fn restore(&mut self) {
        for end in ["", "-wal", "-shm"] {
            let file = self.file(&format!("backroom.db{end}"));
            assert!(std::fs::remove_file(file).is_ok() || !end.is_empty());
        }
        std::fs::rename(self.file("copy.db"), self.file("backroom.db")).unwrap();
    }
}

/// A server with a clock of its own.
struct Database {
    server: Server,
    bin: PathBuf,
    folder: tempfile::TempDir,
    clock: WallClock,
    name: &'static str,
}

impl Database {
    fn new() -> Self {
        let clock = WallClock::new();
        clock.open_to_all();
        let folder = tempfile::tempdir().unwrap();
        let bin: PathBuf = postgres_support::variable("BACKROOM_TEST_PG_BIN").into();
        faketime::postgres_with(&clock, &bin, folder.path());
        let settings = ["listen_addresses=127.0.0.1", "fsync=off", "full_page_writes=off"];
        let place = ServerPlace::make().unwrap();
        let mut server = Server::make(place, folder.path().into(), &settings, Login::Trust).unwrap();
        server.start().unwrap();
        Self { server, bin, folder, clock, name: "postgres" }
    }

    fn run(&self, program: &str, database: &str, arguments: &[&str]) {
        let dump = self.folder.path().join("dump.sql");
        let mut command = Command::new(self.bin.join(program));
        command.args(["--dbname", &self.server.url(database), "--file"]).arg(dump).args(arguments);
        let said = command.output().unwrap();
        assert!(said.status.success(), "{program}: {}", String::from_utf8_lossy(&said.stderr));
    }
}

impl Place for Database {
    fn url(&self) -> String {
        self.server.url(self.name)
    }

    fn clock(&self) -> &WallClock {
        &self.clock
    }

    fn clock_of_workers(&self) -> Option<&WallClock> {
        // Moments are the server's.
        None
    }

    async fn back_up(&mut self) {
        self.run("pg_dump", self.name, &[]);
    }

    async fn restore(&mut self) {
        let client = postgres_support::client(&self.server.url("postgres")).await;
        client.batch_execute("CREATE DATABASE restored").await.unwrap();
        self.run("psql", "restored", &["--quiet", "--set", "ON_ERROR_STOP=1"]);
        self.name = "restored";
    }
}

type Runs = BTreeMap<(String, Timestamp), JobRow>;

/// The runs of the schedules.
async fn runs(backroom: &Backroom) -> Runs {
    let jobs = backroom.store().list(Arc::new(Filter::default()), None, 1000).await.unwrap();
    let count = jobs.len();
    let of =
        |job: &JobRow| job.extras.occurrence.as_ref().map(|of| (of.schedule.clone(), of.nominal)).unwrap();
    let runs: Runs = jobs.into_iter().map(|job| (of(&job), job)).collect();
    assert_eq!(runs.len(), count, "an occurrence has two jobs");
    runs
}

fn of<'a>(runs: &'a Runs, name: &'a str) -> impl Iterator<Item = (Timestamp, JobId)> + 'a {
    runs.iter()
        .filter(move |((schedule, _), _)| schedule == name)
        .map(|((_, nominal), job)| (*nominal, job.id))
}

/// Waits until every schedule has decided about all up to a moment, and every job has completed.
async fn until_decided(backroom: &Backroom, up_to: Timestamp) {
    until("the schedules have decided", async || {
        let list = backroom.schedules().list(None, 10).await.unwrap();
        let decided = list.iter().all(|one| one.state.as_ref().unwrap().decided_until >= up_to);
        decided && runs(backroom).await.values().all(|job| job.state == State::Completed)
    })
    .await;
}

async fn put_all(backroom: &Backroom, anchor: Timestamp) {
    let window = 6 * 60 * MINUTE;
    let policies = [CatchUp::All { window, max: 1000 }, CatchUp::Once { window }, CatchUp::None];
    for (name, catch_up) in NAMES.into_iter().zip(policies) {
        let spec = Spec::Every(Every { anchor: Some(anchor), ..Every::new(INTERVAL) });
        let schedule = Schedule::spec(spec).name(name).starts_at(anchor).overlap(Overlap::AllowAll);
        backroom
            .schedules()
            .put(schedule.catch_up(catch_up).job_untyped("work", Json::null()))
            .await
            .unwrap();
    }
}

async fn a_restored_store_repeats_only_what_its_backup_does_not_know(mut place: impl Place) {
    let backroom = Backroom::open(&place.url()).await.unwrap();
    let anchor = later(backroom.clock().now(), Duration::from_secs(3));
    put_all(&backroom, anchor).await;
    let worker = Process::worker(&place.url(), "default", 4, place.clock_of_workers());
    until_decided(&backroom, anchor).await;
    until("each has run once", async || runs(&backroom).await.len() == 3).await;
    until_decided(&backroom, anchor).await;
    place.back_up().await;
    let known = runs(&backroom).await;
    worker.kill();
    backroom.close().await.unwrap();

    // What happens after the backup is not in it.
    place.clock().step_to(25 * 60);
    let backroom = Backroom::open(&place.url()).await.unwrap();
    let worker = Process::worker(&place.url(), "default", 4, place.clock_of_workers());
    until_decided(&backroom, later(anchor, 2 * INTERVAL)).await;
    let lost = runs(&backroom).await;
    assert_eq!(of(&lost, "all").count(), 3);
    worker.kill();
    backroom.close().await.unwrap();

    // Two hours later the backup takes the place of the store.
    place.restore().await;
    place.clock().step_to(125 * 60);
    let backroom = Backroom::open(&place.url()).await.unwrap();
    assert_eq!(runs(&backroom).await, known);
    let worker = Process::worker(&place.url(), "default", 4, place.clock_of_workers());
    let newest = later(anchor, 12 * INTERVAL);
    until_decided(&backroom, newest).await;
    let found = runs(&backroom).await;
    for (run, job) in &known {
        assert_eq!(found.get(run), Some(job), "it did not run again");
    }
    for (run, job) in &found {
        assert!(lost.get(run).is_none_or(|before| before.id == job.id), "{run:?} has another id than before");
    }
    let nominals = |name| of(&found, name).map(|(nominal, _)| nominal).collect::<Vec<_>>();
    assert_eq!(nominals("all"), (0..=12).map(|nth| later(anchor, nth * INTERVAL)).collect::<Vec<_>>());
    assert_eq!(nominals("once"), [anchor, newest]);
    assert_eq!(nominals("none"), [anchor]);
    let history = backroom.schedules().history("none", None, 100).await.unwrap();
    assert_eq!((history[0].what, history[0].count), (What::Passed(Why::NoCatchUp), 12), "{history:?}");
    worker.kill();
    backroom.close().await.unwrap();
}

#[tokio::test]
async fn a_restored_sqlite_file_repeats_only_what_it_does_not_know() {
    a_restored_store_repeats_only_what_its_backup_does_not_know(SqliteFile::new()).await;
}

#[tokio::test]
async fn a_restored_postgresql_dump_repeats_only_what_it_does_not_know() {
    a_restored_store_repeats_only_what_its_backup_does_not_know(Database::new()).await;
}
