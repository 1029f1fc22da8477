//! Jobs that abort their process, beside jobs that do not, in real processes on a real file: no innocent job is lost, and
//! each killer is discarded. The test starts itself again as the worker process, and restarts it whenever it dies.

#![cfg(feature = "sqlite")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "in a test a panic is the report, on real time"
)]

use std::{
    env,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use backroom::{AttemptEnd, Backroom, Context, Failure, JobHandle, JobRow, Json, State, Untyped, Worker};

const CHILD: &str = "BACKROOM_TEST_POISON_CHILD";
/// Nothing takes longer, however busy the machine.
const LIMIT: Duration = Duration::from_secs(240);

/// The process of the workers: `file workers slots`. Without the variable it is no child and has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_of_workers() {
    let Ok(orders) = env::var(CHILD) else { return };
    let [file, workers, slots] = orders.split(' ').collect::<Vec<_>>()[..] else { panic!("{orders}") };
    let backroom = Backroom::open(&format!("sqlite:{file}")).await.unwrap();
    let mut running = Vec::new();
    for _ in 0..workers.parse::<u32>().unwrap() {
        let worker = Worker::new(&backroom).queue("default", slots.parse().unwrap());
        let worker = worker.lease(Duration::from_secs(2)).poll(Duration::from_millis(100));
        let worker = worker.handle_untyped("ends", async |args, _| {
            tokio::time::sleep(millis(&args)).await;
            Ok(Json::null())
        });
        let worker = worker.handle_untyped("kills", async |args, _: Context| -> Result<Json, Failure> {
            tokio::time::sleep(millis(&args)).await;
            std::process::abort()
        });
        running.push(worker.start().await.unwrap());
    }
    // Until the parent kills it, or a job does.
    std::future::pending::<()>().await;
}

fn millis(args: &Json) -> Duration {
    Duration::from_millis(args.decode::<u64>().unwrap())
}

/// A worker process that is started again whenever it dies.
struct Office {
    _dir: tempfile::TempDir,
    backroom: Backroom,
    orders: String,
    child: Option<Child>,
    deaths: Vec<Instant>,
    innocents: Vec<JobHandle<Untyped>>,
    killers: Vec<JobHandle<Untyped>>,
}

impl Office {
    async fn new(workers: u32, slots: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("jobs.db");
        let backroom = Backroom::open(&format!("sqlite:{}", file.display())).await.unwrap();
        let orders = format!("{} {workers} {slots}", file.display());
        let (deaths, innocents, killers) = (Vec::new(), Vec::new(), Vec::new());
        Self { _dir: dir, backroom, orders, child: None, deaths, innocents, killers }
    }

    async fn innocents(&mut self, count: usize, millis: u64) {
        for _ in 0..count {
            self.innocents
                .push(self.backroom.enqueue_untyped("ends", Json::encode(&millis).unwrap()).await.unwrap());
        }
    }

    async fn killer(&mut self, millis: u64) {
        self.killers
            .push(self.backroom.enqueue_untyped("kills", Json::encode(&millis).unwrap()).await.unwrap());
    }

    /// Restarts the process if it died. Returns whether it did.
    fn check(&mut self) -> bool {
        let died = self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_some());
        if died {
            self.child = None;
            self.deaths.push(Instant::now());
        }
        if self.child.is_none() {
            self.child = Some(start(&self.orders));
        }
        died
    }

    /// Until all jobs have ended; `each` is called at every check.
    async fn until_all_ended(&mut self, mut each: impl AsyncFnMut(&mut Self)) -> Vec<JobRow> {
        let start = Instant::now();
        loop {
            self.check();
            each(self).await;
            let mut rows = Vec::new();
            for handle in self.innocents.iter().chain(&self.killers) {
                rows.push(handle.status().await.unwrap());
            }
            if rows.iter().all(|row| row.state.is_finished()) {
                return rows;
            }
            assert!(start.elapsed() < LIMIT, "{} deaths: {rows:#?}", self.deaths.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// No innocent was lost, and each killer was discarded for what it did.
    async fn judge(&self) {
        for handle in &self.innocents {
            let row = handle.status().await.unwrap();
            assert_eq!(row.state, State::Completed, "{row:?}");
        }
        for handle in &self.killers {
            let row = handle.status().await.unwrap();
            assert_eq!(row.state, State::Discarded, "{row:?}");
            assert!(row.reason.as_deref().unwrap().starts_with("poison"), "{row:?}");
            let attempts = self.backroom.attempts(row.id).await.unwrap();
            let ends: Vec<_> = attempts.iter().map(|attempt| attempt.end).collect();
            assert!(ends.iter().all(|end| *end == AttemptEnd::Crashed), "{attempts:?}");
            let alone = attempts.iter().filter(|attempt| attempt.error.contains("only this job")).count();
            assert!(alone >= 2, "{attempts:?}");
        }
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn start(orders: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["a_process_of_workers", "--exact"])
        .env(CHILD, orders)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(if env::var_os("BACKROOM_TEST_TALK").is_some() { Stdio::inherit() } else { Stdio::null() })
        .spawn()
        .unwrap()
}

/// Twenty neighbours of three seconds on ten slots, and a killer among the first.
async fn twenty_and_a_killer(after_millis: u64) -> Duration {
    let mut office = Office::new(1, 10).await;
    office.innocents(4, 3000).await;
    office.killer(after_millis).await;
    office.innocents(16, 3000).await;
    let mut took = None;
    office
        .until_all_ended(async |office| {
            if took.is_some() || office.deaths.len() < 2 {
                return;
            }
            for handle in &office.innocents {
                if !handle.status().await.unwrap().state.is_finished() {
                    return;
                }
            }
            took = Some(office.deaths[1].elapsed());
        })
        .await;
    office.judge().await;
    took.unwrap_or_default()
}

#[tokio::test]
async fn twenty_neighbours_end_soon_after_the_second_death_of_a_killer_that_aborts_at_once() {
    let took = twenty_and_a_killer(0).await;
    assert!(took <= Duration::from_secs(15), "{took:?}");
}

#[tokio::test]
async fn twenty_neighbours_end_soon_after_the_second_death_of_a_killer_that_aborts_after_a_second() {
    let took = twenty_and_a_killer(1000).await;
    assert!(took <= Duration::from_secs(15), "{took:?}");
}

#[tokio::test]
async fn an_innocent_survives_two_killers_one_after_another() {
    let mut office = Office::new(1, 10).await;
    office.innocents(1, 6000).await;
    office.killer(200).await;
    office
        .until_all_ended(async |office| {
            if office.killers.len() < 2 && office.deaths.len() == 2 {
                office.killer(200).await;
            }
        })
        .await;
    office.judge().await;
    assert_eq!(office.killers.len(), 2);
}

#[tokio::test]
async fn four_killers_one_every_twelve_seconds_lose_none_of_thirty() {
    let mut office = Office::new(1, 10).await;
    office.innocents(30, 3000).await;
    let start = Instant::now();
    office
        .until_all_ended(async |office| {
            let due = office.killers.len() < 4
                && start.elapsed() >= Duration::from_secs(12) * u32::try_from(office.killers.len()).unwrap();
            if due {
                office.killer(100).await;
            }
        })
        .await;
    office.judge().await;
}

#[tokio::test]
async fn a_killer_in_a_process_with_two_workers_loses_none_of_ten() {
    let mut office = Office::new(2, 4).await;
    office.innocents(5, 3000).await;
    office.killer(300).await;
    office.innocents(5, 3000).await;
    office.until_all_ended(async |_| {}).await;
    office.judge().await;
}
