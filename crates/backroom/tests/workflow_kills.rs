//! A worker process is killed with `kill -9` again and again under order workflows with timers and signals. Every workflow ends, and every
//! charge is made once per idempotency key.

#![cfg(feature = "sqlite")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "in a test a panic is the report, on real time"
)]

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use backroom::{
    Backroom, Failure, Job, JobHandle, RetryPolicy, State, Worker, WorkflowContext,
    rusqlite::{Connection, params},
    workflow::EntryState,
};
use serde::{Deserialize, Serialize};

/// Set in the process that is killed: the folder of the store.
const FOLDER: &str = "BACKROOM_TEST_WORKFLOW_FOLDER";
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Serialize, Deserialize, Clone)]
struct Order {
    number: u64,
}

impl Job for Order {
    const KIND: &'static str = "order";
    type Output = String;
}

/// Another database than the store, as that of a bank: what a step does there is not committed with its record.
fn bank(folder: &Path) -> Connection {
    let bank = Connection::open(folder.join("bank.db")).unwrap();
    bank.busy_timeout(Duration::from_secs(30)).unwrap();
    bank.execute_batch(
        "PRAGMA synchronous = OFF; CREATE TABLE IF NOT EXISTS charges (key TEXT PRIMARY KEY, number INTEGER NOT NULL); \
         CREATE TABLE IF NOT EXISTS refunds (key TEXT PRIMARY KEY, number INTEGER NOT NULL);",
    )
    .unwrap();
    bank
}

fn book(folder: &Path, table: &str, key: &str, number: u64) -> Result<(), Failure> {
    let sql = format!("INSERT OR IGNORE INTO {table} (key, number) VALUES (?1, ?2)");
    bank(folder).execute(&sql, params![key, i64::try_from(number)?])?;
    Ok(())
}

async fn order(order: Order, ctx: WorkflowContext, folder: std::path::PathBuf) -> Result<String, Failure> {
    let (key, number) = (ctx.uuid("charge")?.to_string(), order.number);
    let retry = RetryPolicy::constant(Duration::from_millis(5));
    let (undo_folder, undo_key) = (folder.clone(), key.clone());
    ctx.step("charge")
        .retry(retry)
        .compensate(move |()| {
            let (folder, key) = (undo_folder.clone(), undo_key.clone());
            async move { book(&folder, "refunds", &key, number) }
        })
        .run(|| async { book(&folder, "charges", &key, number) })
        .await?;
    if number % 3 == 0 {
        ctx.sleep("cool off", Duration::from_millis(1200)).await?;
    }
    let carrier: String = ctx.wait_signal("shipped").await?;
    if number % 10 == 0 {
        return Err(Failure::discard("the parcel was lost"));
    }
    ctx.step("mail").run(|| async { Ok(()) }).await?;
    Ok(format!("{number} by {carrier}"))
}

/// The process that is killed. Run as an ordinary test, it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_worker_process() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let folder = std::path::PathBuf::from(folder);
    let backroom = open(&folder).await;
    let worker = Worker::new(&backroom)
        .queue("default", 50)
        .lease(Duration::from_secs(2))
        .workflow(move |args: Order, ctx| order(args, ctx, folder.clone()))
        .start()
        .await
        .unwrap();
    std::future::pending::<()>().await;
    drop(worker);
}

async fn open(folder: &Path) -> Backroom {
    let url = format!("sqlite:{}", folder.join("backroom.db").display());
    Backroom::open(&url).await.unwrap()
}

/// A worker in a process of its own, killed when it is dropped.
struct Killed(Child);

impl Killed {
    fn start(folder: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_worker_process", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // SIGKILL.
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

async fn orders_survive(orders: u64, kills: u64) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    drop(bank(folder));
    let backroom = open(folder).await;
    let mut handles: Vec<JobHandle<Order>> = Vec::new();
    for number in 1..=orders {
        handles.push(backroom.enqueue(Order { number }).await.unwrap());
    }
    let mut worker = Killed::start(folder);
    let per_kill = orders / (kills + 1) + 1;
    let mut parts = handles.chunks(usize::try_from(per_kill).unwrap());
    for kill in 0..=kills {
        // Half of the signals of a part come before the kill, half after it.
        for handle in parts.next().unwrap_or_default() {
            handle.signal("shipped", &format!("carrier {kill}")).await.unwrap();
        }
        if kill < kills {
            // At another point of the work each time.
            tokio::time::sleep(Duration::from_millis(150 + (kill * 137) % 400)).await;
            drop(std::mem::replace(&mut worker, Killed::start(folder)));
        }
    }
    for handle in &handles {
        let ended =
            tokio::time::timeout(PATIENCE, handle.finished()).await.expect("every workflow ends").unwrap();
        let number = ended.args.decode::<Order>().unwrap().number;
        let expected = if number % 10 == 0 { State::Discarded } else { State::Completed };
        assert_eq!(ended.state, expected, "order {number}: {:?}", ended.reason);
        let journal = handle.journal().await.unwrap().unwrap();
        let closed =
            journal.entries.iter().filter(|entry| matches!(entry.state, EntryState::Closed { .. })).count();
        assert_eq!(closed, journal.entries.len(), "nothing is left open");
    }
    drop(worker);
    let (bank, whole) = (bank(folder), i64::try_from(orders).unwrap());
    let count = |sql: &str| bank.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM charges"), whole, "every charge is made once per key");
    assert_eq!(
        count("SELECT count(DISTINCT number) FROM charges"),
        whole,
        "an order has one key in all runs"
    );
    assert_eq!(count("SELECT count(*) FROM refunds"), whole / 10, "what failed is undone, and nothing else");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_survive_a_worker_that_is_killed() {
    orders_survive(60, 3).await;
}

/// The figure of `docs/figures.md`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: kills a worker 30 times under 1,000 workflows"]
async fn a_thousand_orders_survive_thirty_kills() {
    orders_survive(1000, 30).await;
}
