//! Real processes run the schedules of one store: some are killed, stopped and continued, or have a wrong clock. Every occurrence
//! becomes one job.
#![cfg(all(feature = "sqlite", feature = "postgres", target_os = "linux"))]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "in a test a panic is the report, on real time"
)]

mod faketime;
mod postgres_support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use backroom::{
    Backroom, Filter, JobId, JobRow, Json, Schedule, Timestamp, Worker,
    schedule::policy::{CatchUp, Overlap},
};
use faketime::{Process, WallClock, until};
use postgres_support::{client, server, with};

const SECOND: Duration = Duration::from_secs(1);
/// Schedules that fire every second.
const SCHEDULES: usize = 100;
/// So many occurrences of each.
const OCCURRENCES: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_with_a_clock_of_its_own() {
    faketime::main().await;
}

fn every_second(name: &str) -> Schedule {
    let schedule = Schedule::every(SECOND).name(name).frequent().overlap(Overlap::AllowAll);
    let catch_up = CatchUp::All { window: Duration::from_secs(3600), max: 1000 };
    schedule.catch_up(catch_up).job_untyped("work", Json::null())
}

async fn put_all(backroom: &Backroom) {
    for number in 0..SCHEDULES {
        backroom.schedules().put(every_second(&format!("schedule {number}"))).await.unwrap();
    }
}

/// The jobs of all schedules.
async fn runs(backroom: &Backroom) -> Vec<JobRow> {
    let (mut all, mut before) = (Vec::new(), None::<JobId>);
    loop {
        let page = backroom.store().list(Arc::new(Filter::default()), before, 1000).await.unwrap();
        let Some(last) = page.last() else { return all };
        before = Some(last.id);
        all.extend(page);
    }
}

/// Waits until every schedule has fired often enough, then ends all of them.
async fn until_all_have_fired(backroom: &Backroom, times: usize) {
    until("every schedule has fired", async || {
        let list = backroom.schedules().list(None, 1000).await.unwrap();
        list.iter().all(|of| of.state.as_ref().unwrap().counters.fired as usize >= times)
    })
    .await;
}

/// Each schedule has one job for each second from its first to its last occurrence, and as many as it counted.
async fn assert_each_once(backroom: &Backroom) -> Vec<JobRow> {
    let list = backroom.schedules().list(None, 1000).await.unwrap();
    let all = runs(backroom).await;
    let mut by_schedule: BTreeMap<&str, Vec<Timestamp>> = BTreeMap::new();
    for job in &all {
        let occurrence = job.extras.occurrence.as_ref().unwrap();
        by_schedule.entry(&occurrence.schedule).or_default().push(occurrence.nominal);
    }
    assert_eq!(by_schedule.len(), SCHEDULES);
    for (name, mut nominals) in by_schedule {
        nominals.sort_unstable();
        let gaps = nominals.windows(2).filter(|pair| pair[1].duration_since(pair[0]).as_secs() != 1).count();
        assert_eq!(gaps, 0, "{name} has lost or repeated an occurrence: {nominals:?}");
        let state = list.iter().find(|of| of.name == name).unwrap().state.as_ref().unwrap();
        assert_eq!(state.counters.fired, nominals.len() as u64, "{name}");
        assert_eq!((state.counters.missed, state.counters.skipped), (0, 0), "{name}");
    }
    all
}

/// Kills one process, stops another for a while, and leaves one with its clock 90 seconds ahead.
async fn disturb(backroom: &Backroom, mut processes: Vec<Process>) -> Vec<Process> {
    until_all_have_fired(backroom, 3).await;
    processes.remove(0).kill();
    processes[0].signal("-STOP");
    until_all_have_fired(backroom, OCCURRENCES / 2).await;
    processes[0].signal("-CONT");
    until_all_have_fired(backroom, OCCURRENCES).await;
    processes
}

async fn pause_all(backroom: &Backroom) {
    for number in 0..SCHEDULES {
        backroom.schedules().pause(&format!("schedule {number}")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_processes_on_postgresql_fire_each_occurrence_once_and_none_early() {
    let url = with(&server(), "schema=schedule_processes");
    let client = client(&server()).await;
    client.batch_execute("DROP SCHEMA IF EXISTS schedule_processes CASCADE").await.unwrap();
    let backroom = Backroom::open(&url).await.unwrap();
    // The database's own clock says when a job was stored.
    client
        .batch_execute(
            "CREATE TABLE schedule_processes.seen (id uuid, at timestamptz); \
             CREATE FUNCTION schedule_processes.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
               INSERT INTO schedule_processes.seen VALUES (new.id, clock_timestamp()); RETURN NULL; END $$; \
             CREATE TRIGGER note AFTER INSERT ON schedule_processes.jobs FOR EACH ROW \
               EXECUTE FUNCTION schedule_processes.note()",
        )
        .await
        .unwrap();
    let ahead = WallClock::new();
    ahead.step_to(90);
    let process = |number: usize| Process::worker(&url, "default", 4, (number == 7).then_some(&ahead));
    let processes: Vec<Process> = (0..8).map(process).collect();
    put_all(&backroom).await;
    let processes = disturb(&backroom, processes).await;
    pause_all(&backroom).await;
    drop(processes);
    let all = assert_each_once(&backroom).await;
    assert!(all.len() >= SCHEDULES * OCCURRENCES, "{}", all.len());
    let seen = client.query("SELECT id::text, extract(epoch from min(at))::float8, count(*) FROM schedule_processes.seen GROUP BY id", &[]);
    let seen: BTreeMap<String, (f64, i64)> =
        seen.await.unwrap().iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
    for job in &all {
        let (at, times) = seen[&job.id.to_string()];
        let nominal = job.extras.occurrence.as_ref().unwrap().nominal.as_microsecond() as f64 / 1e6;
        assert_eq!(times, 1);
        // The offset to the database's clock is measured to some milliseconds on a busy machine.
        assert!(at >= nominal - 0.1, "job {} was stored {} s early", job.id, nominal - at);
    }
    backroom.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_on_sqlite_fire_each_occurrence_once_and_none_before_their_own_clock() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("jobs.db").display());
    let backroom = Backroom::open(&url).await.unwrap();
    let ahead = WallClock::new();
    ahead.step_to(90);
    let process = |number: usize| Process::worker(&url, "default", 4, (number == 3).then_some(&ahead));
    let processes: Vec<Process> = (0..4).map(process).collect();
    put_all(&backroom).await;
    let processes = disturb(&backroom, processes).await;
    pause_all(&backroom).await;
    drop(processes);
    for job in assert_each_once(&backroom).await {
        let nominal = job.extras.occurrence.as_ref().unwrap().nominal;
        assert!(job.created_at >= nominal, "{job:?}");
    }
    backroom.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_whose_row_a_user_has_locked_waits_and_the_others_go_on() {
    let url = with(&server(), "schema=schedule_locks");
    let mut client = client(&server()).await;
    client.batch_execute("DROP SCHEMA IF EXISTS schedule_locks CASCADE").await.unwrap();
    let backroom = Backroom::open(&url).await.unwrap();
    for name in ["locked", "free"] {
        backroom.schedules().put(every_second(name)).await.unwrap();
    }
    let worker = Process::worker(&url, "default", 4, None);
    let fired = async |name: &str| {
        let info = backroom.schedules().get(name).await.unwrap().unwrap();
        info.summary.state.unwrap().counters.fired
    };
    until("both fire", async || fired("locked").await > 0 && fired("free").await > 0).await;
    let transaction = client.transaction().await.unwrap();
    let lock = "SELECT FROM schedule_locks.schedules WHERE name = 'locked' FOR UPDATE";
    transaction.query(lock, &[]).await.unwrap();
    let (locked, free) = (fired("locked").await, fired("free").await);
    until("the other one goes on", async || fired("free").await >= free + 4).await;
    assert_eq!(fired("locked").await, locked, "its row is locked");
    transaction.rollback().await.unwrap();
    until("it fires what was due meanwhile", async || fired("locked").await >= locked + 4).await;
    let gone = worker;
    gone.kill();
    backroom.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_handles_of_one_process_on_one_file_fire_each_occurrence_once() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("backroom.db").display());
    let (one, other) = (Backroom::open(&url).await.unwrap(), Backroom::open(&url).await.unwrap());
    let mut workers = Vec::new();
    for handle in [&one, &other] {
        let worker = Worker::new(handle).queue("default", 2).poll(Duration::from_millis(200));
        workers.push(worker.handle_untyped("work", async |_, _| Ok(Json::null())).start().await.unwrap());
    }
    one.schedules().put(every_second("shared")).await.unwrap();
    until("it has fired through both", async || runs(&other).await.len() >= 6).await;
    other.schedules().pause("shared").await.unwrap();
    let all = runs(&one).await;
    let mut nominals: Vec<Timestamp> =
        all.iter().map(|job| job.extras.occurrence.as_ref().unwrap().nominal).collect();
    nominals.sort_unstable();
    assert!(nominals.windows(2).all(|pair| pair[1].duration_since(pair[0]).as_secs() == 1), "{nominals:?}");
    let counters = one.schedules().list(None, 10).await.unwrap()[0].state.as_ref().unwrap().counters;
    assert_eq!((counters.fired, counters.missed, counters.skipped), (nominals.len() as u64, 0, 0));
    for worker in workers {
        worker.stop().await.unwrap();
    }
    one.close().await.unwrap();
    other.close().await.unwrap();
}
