//! A worker process is killed with `kill -9` again and again under order workflows with timers, signals and children, under batches and
//! under graphs. Every workflow ends, every charge is made once per idempotency key, and every end job is enqueued once.

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
    Backroom, BatchHandle, Context, Draft, Failure, Filter, GraphNode, Job, JobHandle, JobId, JobRow, Json,
    OnFailure, RetryPolicy, State, Worker, WorkflowContext,
    core::batch::EndJob,
    rusqlite::{Connection, params},
    workflow::EntryState,
};
use serde::{Deserialize, Serialize};

/// Set in the process that is killed: the folder of the store.
const FOLDER: &str = "BACKROOM_TEST_WORKFLOW_FOLDER";
/// Set in it, too: the URL of the store.
const STORE: &str = "BACKROOM_TEST_WORKFLOW_STORE";
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
    if number % 7 == 0 {
        let packed = ctx.child("pack", &Piece { number, fails: false }).await?;
        assert_eq!(packed, number);
    }
    let carrier: String = ctx.wait_signal("shipped").await?;
    if number % 10 == 0 {
        return Err(Failure::discard("the parcel was lost"));
    }
    ctx.step("mail").run(|| async { Ok(()) }).await?;
    Ok(format!("{number} by {carrier}"))
}

/// A member of a batch, a job of a graph, a child of a workflow.
#[derive(Serialize, Deserialize, Clone)]
struct Piece {
    number: u64,
    fails: bool,
}

impl Job for Piece {
    const KIND: &'static str = "piece";
    type Output = u64;
}

async fn piece(piece: Piece, _: Context) -> Result<u64, Failure> {
    // So that a kill meets some of them.
    tokio::time::sleep(Duration::from_millis(2)).await;
    if piece.fails { Err(Failure::discard("scripted")) } else { Ok(piece.number) }
}

/// The end job of a batch, and the last job of a graph.
#[derive(Serialize, Deserialize, Clone)]
struct Sum;

impl Job for Sum {
    const KIND: &'static str = "sum";
    type Output = u64;
}

async fn sum(_: Sum, context: Context) -> Result<u64, Failure> {
    match context.ended_batch() {
        Some(ended) => Ok(ended.summary.completed),
        None => Ok(context.outputs_of::<Piece>().await?.into_iter().sum()),
    }
}

/// The process that is killed. Run as an ordinary test, it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_worker_process() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let folder = std::path::PathBuf::from(folder);
    let backroom = Backroom::open(&std::env::var(STORE).unwrap()).await.unwrap();
    let worker = Worker::new(&backroom)
        .queue("default", 50)
        .handle(piece)
        .handle(sum)
        .lease(Duration::from_secs(2))
        .workflow(move |args: Order, ctx| order(args, ctx, folder.clone()))
        .start()
        .await
        .unwrap();
    std::future::pending::<()>().await;
    drop(worker);
}

/// A store of a test's own.
fn sqlite(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("backroom.db").display())
}

#[cfg(feature = "postgres")]
fn postgres(test: &str) -> String {
    let server = std::env::var("BACKROOM_TEST_POSTGRES")
        .expect("BACKROOM_TEST_POSTGRES is not set; run the tests by `cargo xtask test`");
    let joint = if server.contains('?') { '&' } else { '?' };
    format!("{server}{joint}schema=kills_{test}_{}", std::process::id())
}

/// A worker in a process of its own, killed when it is dropped.
struct Killed(Child);

impl Killed {
    fn start(folder: &Path, store: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_worker_process", "--nocapture"])
            .env(FOLDER, folder)
            .env(STORE, store)
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

async fn orders_survive(orders: u64, kills: u64, folder: &Path, store: &str) {
    drop(bank(folder));
    let backroom = Backroom::open(store).await.unwrap();
    let mut handles: Vec<JobHandle<Order>> = Vec::new();
    for number in 1..=orders {
        handles.push(backroom.enqueue(Order { number }).await.unwrap());
    }
    let mut worker = Killed::start(folder, store);
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
            drop(std::mem::replace(&mut worker, Killed::start(folder, store)));
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
    let folder = tempfile::tempdir().unwrap();
    orders_survive(60, 3, folder.path(), &sqlite(folder.path())).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
async fn orders_survive_a_worker_that_is_killed_on_postgres() {
    let folder = tempfile::tempdir().unwrap();
    orders_survive(40, 2, folder.path(), &postgres("orders")).await;
}

/// Every member that ends is counted once, every end job is enqueued once, and no job runs before those that it runs after.
async fn batches_and_graphs_survive(rounds: u64, kills: u64, store: &str) {
    let folder = tempfile::tempdir().unwrap();
    let backroom = Backroom::open(store).await.unwrap();
    let mut worker = Killed::start(folder.path(), store);
    let (mut batches, mut graphs, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let batch = backroom.open_batch().on_success(Sum).on_finish(Sum).await.unwrap();
        // Every other batch has members that fail.
        let members = (0..30).map(move |number| Piece { number, fails: round % 2 == 1 && number % 10 == 3 });
        batch.enqueue_many(members).await.unwrap();
        batch.close().await.unwrap();
        batches.push(batch);
        graphs.push(map_and_reduce(&backroom).await);
        failures.push(chain_that_fails(&backroom).await);
        if round < kills {
            tokio::time::sleep(Duration::from_millis(60 + (round * 137) % 300)).await;
            drop(std::mem::replace(&mut worker, Killed::start(folder.path(), store)));
        }
    }
    for (round, batch) in batches.iter().enumerate() {
        has_ended(&backroom, batch, round % 2 == 1).await;
    }
    for id in graphs {
        assert_eq!(ended(&backroom, id).await.output, Some(Json::encode(&(0..20_u64).sum::<u64>()).unwrap()));
    }
    for (cancelled, ran) in failures {
        let cancelled = ended(&backroom, cancelled).await;
        assert_eq!(cancelled.state, State::Cancelled, "{:?}", cancelled.reason);
        assert!(cancelled.started_at.is_none() && cancelled.reason.unwrap().contains("predecessor"));
        assert_eq!(ended(&backroom, ran).await.state, State::Completed);
    }
    drop(worker);
}

/// The sum of twenty jobs, of which the last one has an edge from each.
async fn map_and_reduce(backroom: &Backroom) -> JobId {
    let piece = |number| Draft::new(Piece::KIND, Json::encode(&Piece { number, fails: false }).unwrap());
    let mut nodes: Vec<_> =
        (0..20).map(|number| GraphNode::new(format!("map {number}"), piece(number))).collect();
    let reduce = GraphNode::new("reduce", Draft::new(Sum::KIND, Json::encode(&Sum).unwrap()));
    nodes.push((0..20).fold(reduce, |node, number| node.after(format!("map {number}"))));
    backroom.enqueue_graph(nodes).await.unwrap().job("reduce").unwrap()
}

/// Two jobs after one that fails: the first is cancelled for it, and the second runs anyway.
async fn chain_that_fails(backroom: &Backroom) -> (JobId, JobId) {
    let fails = backroom.enqueue(Piece { number: 1, fails: true }).await.unwrap();
    let after = Piece { number: 2, fails: false };
    let cancelled = backroom.enqueue(after.clone()).after(&fails).await.unwrap();
    let ran = backroom.enqueue(after).after_with(&fails, OnFailure::Run).await.unwrap();
    (cancelled.id(), ran.id())
}

async fn ended(backroom: &Backroom, id: JobId) -> JobRow {
    let handle = backroom.handle_untyped(id);
    tokio::time::timeout(PATIENCE, handle.finished()).await.expect("every job ends").unwrap()
}

async fn has_ended(backroom: &Backroom, batch: &BatchHandle, has_failures: bool) {
    let status = tokio::time::timeout(PATIENCE, batch.finished()).await.expect("every batch ends").unwrap();
    let failed = if has_failures { 3 } else { 0 };
    let counts = (status.counts.completed, status.counts.discarded, status.counts.live);
    assert_eq!(counts, (30 - failed, failed, 0));
    let filter = Filter { kind: Some(Sum::KIND.into()), ..Filter::default() };
    let sums = backroom.list(filter, None, 500).await.unwrap().jobs;
    let mut which = Vec::new();
    for job in sums {
        let Some(ends) = job.links.as_ref().and_then(|links| links.ends) else { continue };
        if ends.batch == batch.id() {
            which.push(ends.which);
            assert_eq!(ended(backroom, job.id).await.output, Some(Json::encode(&(30 - failed)).unwrap()));
        }
    }
    which.sort_by_key(|which| *which == EndJob::Success);
    let expected = if has_failures { vec![EndJob::Finish] } else { vec![EndJob::Finish, EndJob::Success] };
    assert_eq!(which, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_and_graphs_survive_a_worker_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    batches_and_graphs_survive(8, 4, &sqlite(folder.path())).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
async fn batches_and_graphs_survive_a_worker_that_is_killed_on_postgres() {
    batches_and_graphs_survive(6, 3, &postgres("links")).await;
}

/// The longer proof of `docs/workflows.md`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: kills a worker 30 times under 1,000 workflows"]
async fn a_thousand_orders_survive_thirty_kills() {
    let folder = tempfile::tempdir().unwrap();
    orders_survive(1000, 30, folder.path(), &sqlite(folder.path())).await;
}
