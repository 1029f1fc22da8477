//! Workflows end to end: what is recorded runs once, parked ones hold nothing, signals and timers wake them, and what fails is undone.

#![cfg(feature = "sqlite")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "in a test a panic is the report, on real time"
)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use backroom::{
    Backroom, Error, Failure, Job, JobHandle, JobId, RetryPolicy, RunningWorker, State, Worker,
    WorkflowContext,
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// What every wait for something that must happen is limited by.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize, Clone)]
struct Order {
    id: u64,
}

impl Job for Order {
    const KIND: &'static str = "order";
    type Output = String;
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

async fn store() -> (TempDir, Backroom) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("backroom.db").display());
    (folder, Backroom::open(&url).await.unwrap())
}

async fn start<F, R>(backroom: &Backroom, handler: F) -> RunningWorker
where
    F: Fn(Order, WorkflowContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<String, Failure>> + Send + 'static,
{
    Worker::new(backroom).workflow(handler).poll(Duration::from_millis(20)).start().await.unwrap()
}

async fn enqueue(backroom: &Backroom) -> JobHandle<Order> {
    backroom.enqueue(Order { id: 7 }).await.unwrap()
}

async fn output(job: &JobHandle<Order>) -> Result<String, Error> {
    tokio::time::timeout(PATIENCE, job.wait()).await.expect("it ends")
}

async fn reaches(backroom: &Backroom, id: JobId, state: State) {
    tokio::time::timeout(PATIENCE, async {
        while backroom.job(id).await.unwrap().state != state {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("the job never becomes {state}"));
}

#[tokio::test]
async fn steps_run_once_and_their_values_come_from_the_journal() {
    let (_folder, backroom) = store().await;
    let diary = Diary::default();
    let worker = {
        let diary = diary.clone();
        start(&backroom, move |order: Order, ctx| {
            let diary = diary.clone();
            async move {
                let paid: String = ctx
                    .step("charge")
                    .run(|| async {
                        diary.note(format!("charge {}", order.id));
                        Ok("receipt 1".to_owned())
                    })
                    .await?;
                let word: String = ctx.wait_signal("go").await?;
                let packed: u32 = ctx
                    .step("pack")
                    .run(|| async {
                        diary.note("pack");
                        Ok(3)
                    })
                    .await?;
                Ok(format!("{paid}, {word}, {packed}"))
            }
        })
        .await
    };
    let job = enqueue(&backroom).await;
    reaches(&backroom, job.id(), State::Waiting).await;
    assert_eq!(worker.running(), 0, "a parked workflow holds no slot");
    job.signal("go", "on").await.unwrap();
    assert_eq!(output(&job).await.unwrap(), "receipt 1, on, 3");
    assert_eq!(diary.lines(), ["charge 7", "pack"]);
    let journal = job.journal().await.unwrap().unwrap();
    let keys: Vec<_> = journal.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["charge", "go", "pack"]);
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_failed_step_is_tried_again_and_then_fails_for_good() {
    let (_folder, backroom) = store().await;
    let tries = Arc::new(AtomicU32::new(0));
    let worker = {
        let tries = Arc::clone(&tries);
        start(&backroom, move |_, ctx| {
            let tries = Arc::clone(&tries);
            async move {
                let quick = RetryPolicy::constant(Duration::from_millis(5));
                let second: u32 = ctx
                    .step("flaky")
                    .retry(quick.clone())
                    .run(|| async {
                        let nth = tries.fetch_add(1, Ordering::SeqCst);
                        if nth == 0 { Err(Failure::retry("busy")) } else { Ok(nth) }
                    })
                    .await?;
                let slow = ctx
                    .step("slow")
                    .retry(quick.clone())
                    .max_tries(2)
                    .timeout(Duration::from_millis(10))
                    .run(std::future::pending::<Result<(), Failure>>)
                    .await;
                let panics = ctx
                    .step("panics")
                    .retry(quick)
                    .max_tries(1)
                    .run(|| async { if second == 1 { panic!("out of cheese") } else { Ok(()) } })
                    .await;
                Ok(format!("{second}; {}; {}", slow.unwrap_err(), panics.unwrap_err()))
            }
        })
        .await
    };
    let job = enqueue(&backroom).await;
    let text = output(&job).await.unwrap();
    assert!(
        text.starts_with("1; step \"slow\" failed: the try ran longer than its timeout of 10ms; "),
        "{text}"
    );
    assert!(text.contains("out of cheese"), "{text}");
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_timer_of_seconds_parks_and_a_short_one_stays_in_memory() {
    let (_folder, backroom) = store().await;
    let runs = Arc::new(AtomicU32::new(0));
    let worker = {
        let runs = Arc::clone(&runs);
        start(&backroom, move |_, ctx| {
            runs.fetch_add(1, Ordering::SeqCst);
            async move {
                let began = ctx.now().await?;
                ctx.sleep("short", Duration::from_millis(50)).await?;
                ctx.sleep("long", Duration::from_millis(1500)).await?;
                let ended = ctx.scope("end")?.now().await?;
                Ok((ended.as_millisecond() - began.as_millisecond()).to_string())
            }
        })
        .await
    };
    let job = enqueue(&backroom).await;
    reaches(&backroom, job.id(), State::Waiting).await;
    let journal = job.journal().await.unwrap().unwrap();
    assert!(journal.wake_at.is_some());
    // The time of the run does not count how late it was woken.
    assert_eq!(output(&job).await.unwrap(), "1550");
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn what_was_done_is_undone_in_reverse_when_the_workflow_fails() {
    let (_folder, backroom) = store().await;
    let (diary, tries) = (Diary::default(), Arc::new(AtomicU32::new(0)));
    let worker = {
        let diary = diary.clone();
        start(&backroom, move |_, ctx| {
            let (diary, tries) = (diary.clone(), Arc::clone(&tries));
            async move {
                for name in ["reserve", "charge"] {
                    let (undo, first) = (diary.clone(), Arc::clone(&tries));
                    ctx.step(name)
                        .compensate(move |value: String| {
                            let (undo, first) = (undo.clone(), Arc::clone(&first));
                            async move {
                                if value == "charge" && first.fetch_add(1, Ordering::SeqCst) == 0 {
                                    return Err(Failure::retry("not yet"));
                                }
                                undo.note(format!("undo {value}"));
                                Ok(())
                            }
                        })
                        .run(|| async {
                            diary.note(name);
                            Ok(name.to_owned())
                        })
                        .await?;
                }
                ctx.step("ship")
                    .max_tries(1)
                    .run(|| async { Err::<(), _>(Failure::retry("no carrier")) })
                    .await?;
                Ok(String::new())
            }
        })
        .await
    };
    let job = enqueue(&backroom).await;
    let error = output(&job).await.unwrap_err();
    assert!(error.to_string().contains("step \"ship\" failed: no carrier"), "{error}");
    assert_eq!(diary.lines(), ["reserve", "charge", "undo charge", "undo reserve"]);
    assert_eq!(job.status().await.unwrap().state, State::Discarded);
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_deadline_passes_without_its_signal_and_that_is_recorded() {
    let (_folder, backroom) = store().await;
    let worker = start(&backroom, |_, ctx| async move {
        let answer: Option<String> = ctx.wait_signal_within("approved", Duration::from_millis(30)).await?;
        let later: String = ctx.scope("later")?.wait_signal("approved").await?;
        Ok(format!("{answer:?} {later}"))
    })
    .await;
    let job = enqueue(&backroom).await;
    reaches(&backroom, job.id(), State::Waiting).await;
    job.signal("approved", "late").await.unwrap();
    assert_eq!(output(&job).await.unwrap(), "None late");
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn branches_run_beside_each_other_and_the_first_of_a_race_counts() {
    let (_folder, backroom) = store().await;
    let worker = start(&backroom, |_, ctx| async move {
        let doubled = ctx
            .join_all("double", 1..=20u32, |ctx, n| async move {
                ctx.step("double").run(|| async { Ok(n * 2) }).await
            })
            .await?;
        let sum: u32 = doubled.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().sum();
        let won = ctx
            .race("carrier")
            .branch("slow", |ctx| async move {
                ctx.sleep("wait", Duration::from_secs(600)).await.map(|()| "slow")
            })
            .branch("fast", |ctx| async move {
                ctx.sleep("wait", Duration::from_millis(20)).await.map(|()| "fast")
            })
            .run()
            .await?;
        let (left, right) =
            tokio::join!(ctx.step("left").run(|| async { Ok(1) }), ctx.step("right").run(|| async { Ok(2) }));
        Ok(format!("{sum} {} {} {}", won.branch, won.output?, left? + right?))
    })
    .await;
    let job = enqueue(&backroom).await;
    assert_eq!(output(&job).await.unwrap(), "420 fast fast 3");
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn two_live_uses_of_one_name_are_an_error_that_says_how_to_name_them() {
    let (_folder, backroom) = store().await;
    let worker = start(&backroom, |_, ctx| async move {
        let (one, other) =
            tokio::join!(ctx.step("pay").run(|| async { Ok(1) }), ctx.step("pay").run(|| async { Ok(2) }));
        Ok(format!("{}", one? + other?))
    })
    .await;
    let job = enqueue(&backroom).await;
    tokio::time::timeout(PATIENCE, async {
        while backroom.attempts(job.id()).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let attempts = backroom.attempts(job.id()).await.unwrap();
    assert!(attempts[0].error.contains("\"pay\" is in use at the same time"), "{}", attempts[0].error);
    assert!(attempts[0].error.contains("scope"), "{}", attempts[0].error);
    // A deploy mends it: the job is tried again and nothing is lost.
    assert_eq!(job.status().await.unwrap().state, State::Queued);
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_workflow_goes_on_as_new_with_an_empty_journal_and_its_signals() {
    let (_folder, backroom) = store().await;
    let worker = start(&backroom, |order: Order, ctx| async move {
        let n: u64 = ctx.wait_signal("add").await?;
        ctx.publish(&order.id)?;
        if order.id + n < 10 {
            return Err(ctx.continue_as_new(&Order { id: order.id + n })?);
        }
        Ok((order.id + n).to_string())
    })
    .await;
    let job = enqueue(&backroom).await;
    for _ in 0..3 {
        job.signal("add", &1).await.unwrap();
    }
    assert_eq!(output(&job).await.unwrap(), "10");
    let journal = job.journal().await.unwrap().unwrap();
    assert_eq!((journal.header.generation, journal.entries.len()), (2, 1));
    assert_eq!(journal.published::<u64>().unwrap(), Some(9));
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_journal_that_does_not_fit_the_code_parks_the_workflow_and_names_both() {
    let (_folder, backroom) = store().await;
    let worker = start(&backroom, |_, ctx| async move {
        ctx.step("ship").run(|| async { Ok(1) }).await?;
        ctx.wait_signal("go").await.map_err(Into::into)
    })
    .await;
    let job = enqueue(&backroom).await;
    reaches(&backroom, job.id(), State::Waiting).await;
    worker.stop().await.unwrap();
    let worker = start(&backroom, |_, ctx| async move {
        ctx.sleep("ship", Duration::from_secs(1)).await?;
        Ok(String::new())
    })
    .await;
    job.signal("go", "on").await.unwrap();
    let blocked = tokio::time::timeout(PATIENCE, async {
        loop {
            let journal = job.journal().await.unwrap().unwrap();
            if let Some(blocked) = journal.header.blocked {
                return blocked;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    assert!(
        blocked.why.contains("timer \"ship\"") && blocked.why.contains("step \"ship\""),
        "{}",
        blocked.why
    );
    reaches(&backroom, job.id(), State::Waiting).await;
    worker.stop().await.unwrap();
    // The earlier code goes on where it was.
    let worker = start(&backroom, |_, ctx| async move {
        ctx.step("ship").run(|| async { Ok(9) }).await?;
        ctx.wait_signal("go").await.map_err(Into::into)
    })
    .await;
    job.signal("more", "x").await.unwrap();
    assert_eq!(output(&job).await.unwrap(), "on");
    worker.stop().await.unwrap();
}

#[derive(Serialize, Deserialize, Clone)]
struct Pack {
    item: String,
}

impl Job for Pack {
    const KIND: &'static str = "pack";
    const MAX_ATTEMPTS: Option<u32> = Some(1);
    type Output = String;
}

async fn pack(job: Pack, ctx: backroom::Context) -> Result<String, Failure> {
    match job.item.as_str() {
        "glass" => Err(Failure::discard("it broke")),
        "piano" => {
            ctx.cancelled().await;
            Err(Failure::retry("stopped"))
        }
        item => Ok(format!("a parcel with {item}")),
    }
}

#[tokio::test]
async fn children_answer_with_their_output_and_losers_are_cancelled() {
    let (_folder, backroom) = store().await;
    let worker = Worker::new(&backroom)
        .handle(pack)
        .workflow(|_: Order, ctx: WorkflowContext| async move {
            let socks = ctx.child("socks", &Pack { item: "socks".into() }).await?;
            let glass = ctx.child("glass", &Pack { item: "glass".into() }).await;
            let won = ctx
                .race("first")
                .branch("piano", |ctx| async move { ctx.child("pack", &Pack { item: "piano".into() }).await })
                .branch("hat", |ctx| async move { ctx.child("pack", &Pack { item: "hat".into() }).await })
                .run()
                .await?;
            Ok(format!("{socks}; {}; {}", glass.unwrap_err(), won.output?))
        })
        .poll(Duration::from_millis(20))
        .start()
        .await
        .unwrap();
    let job = enqueue(&backroom).await;
    let text = output(&job).await.unwrap();
    assert_eq!(
        text,
        "a parcel with socks; child \"glass\" ended without an output: it broke; a parcel with hat"
    );
    let journal = job.journal().await.unwrap().unwrap();
    let lost = journal.entries.iter().find(|entry| entry.key == "first/piano/pack").unwrap();
    assert_eq!(lost.state, backroom::workflow::EntryState::Lost);
    let filter = backroom::Filter { kind: Some("pack".into()), ..backroom::Filter::default() };
    let packs = backroom.list(filter, None, 10).await.unwrap().jobs;
    let piano = packs.iter().find(|job| job.args.as_str().contains("piano")).unwrap();
    reaches(&backroom, piano.id, State::Cancelled).await;
    assert_eq!(packs.len(), 4);
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_cancel_of_a_parked_workflow_undoes_what_it_has_done_and_cancels_its_child() {
    let (_folder, backroom) = store().await;
    let diary = Diary::default();
    let worker = {
        let diary = diary.clone();
        Worker::new(&backroom)
            .handle(pack)
            .workflow(move |_: Order, ctx: WorkflowContext| {
                let diary = diary.clone();
                async move {
                    let undo = diary.clone();
                    ctx.step("charge")
                        .compensate(move |cents: u32| {
                            undo.note(format!("refund {cents}"));
                            std::future::ready(Ok(()))
                        })
                        .run(|| async { Ok(990) })
                        .await?;
                    diary.note("charged");
                    ctx.child("piano", &Pack { item: "piano".into() }).await.map_err(Into::into)
                }
            })
            .poll(Duration::from_millis(20))
            .start()
            .await
            .unwrap()
    };
    let job = enqueue(&backroom).await;
    reaches(&backroom, job.id(), State::Waiting).await;
    job.cancel().await.unwrap();
    reaches(&backroom, job.id(), State::Cancelled).await;
    let lines = diary.lines();
    assert_eq!(lines.iter().filter(|line| *line == "refund 990").count(), 1, "{lines:?}");
    let filter = backroom::Filter { kind: Some("pack".into()), ..backroom::Filter::default() };
    let child = backroom.list(filter, None, 10).await.unwrap().jobs.remove(0);
    reaches(&backroom, child.id, State::Cancelled).await;
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn rows_of_the_application_and_their_step_are_one_commit() {
    let (folder, backroom) = store().await;
    let file = folder.path().join("backroom.db");
    let books = backroom::rusqlite::Connection::open(&file).unwrap();
    books.busy_timeout(Duration::from_secs(30)).unwrap();
    books.execute_batch("CREATE TABLE payments (cents INTEGER NOT NULL CHECK (cents > 0))").unwrap();
    let worker = start(&backroom, |_, ctx| async move {
        let quick = RetryPolicy::constant(Duration::from_millis(5));
        let first = ctx
            .transaction("pay")
            .retry(quick.clone())
            .sqlite(|tx| {
                tx.execute("INSERT INTO payments VALUES (990)", [])?;
                Ok(tx.last_insert_rowid())
            })
            .await?;
        let refused = ctx
            .transaction("pay nothing")
            .retry(quick)
            .max_tries(2)
            .sqlite(|tx| {
                tx.execute("INSERT INTO payments VALUES (1)", [])?;
                tx.execute("INSERT INTO payments VALUES (0)", [])?;
                Ok(())
            })
            .await;
        let word: String = ctx.wait_signal("go").await?;
        Ok(format!("{first} {word} {}", refused.is_err()))
    })
    .await;
    let job = enqueue(&backroom).await;
    reaches(&backroom, job.id(), State::Waiting).await;
    job.signal("go", "on").await.unwrap();
    assert_eq!(output(&job).await.unwrap(), "1 on true");
    let paid: (i64, i64) = books
        .query_row("SELECT count(*), sum(cents) FROM payments", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!(paid, (1, 990));
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_transaction_whose_value_the_journal_cannot_hold_writes_no_rows() {
    let (folder, backroom) = store().await;
    let books = backroom::rusqlite::Connection::open(folder.path().join("backroom.db")).unwrap();
    books.busy_timeout(Duration::from_secs(30)).unwrap();
    books.execute_batch("CREATE TABLE payments (cents INTEGER NOT NULL)").unwrap();
    let worker = start(&backroom, |_, ctx| async move {
        for number in 0..50 {
            let fill = ctx.step(format!("fill {number}"));
            fill.run(|| async { Ok("x".repeat(1024 * 1024 - 100)) }).await?;
        }
        let pay = |name: &str, bytes: usize| {
            ctx.transaction(name).sqlite(move |tx| {
                tx.execute("INSERT INTO payments VALUES (990)", [])?;
                Ok("y".repeat(bytes))
            })
        };
        let refused = pay("large", 100_000).await.unwrap_err().to_string();
        let fits = pay("small", 10).await?;
        Ok(format!("{} {fits}", refused.contains("continue_as_new")))
    })
    .await;
    let job = enqueue(&backroom).await;
    assert_eq!(output(&job).await.unwrap(), "true yyyyyyyyyy");
    let paid: i64 = books.query_row("SELECT count(*) FROM payments", [], |row| row.get(0)).unwrap();
    assert_eq!(paid, 1);
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_run_stays_on_the_version_of_the_code_that_it_began_with() {
    use backroom::workflow::Versions;
    let (_folder, backroom) = store().await;
    async fn old(_: Order, ctx: WorkflowContext) -> Result<String, Failure> {
        let word: String = ctx.wait_signal("go").await?;
        Ok(format!("old {word}"))
    }
    async fn new(_: Order, ctx: WorkflowContext) -> Result<String, Failure> {
        ctx.sleep("rest", Duration::from_millis(1)).await?;
        Ok("new".into())
    }
    let worker = |versions: Versions<Order>| {
        Worker::new(&backroom).workflow_versions(versions).poll(Duration::from_millis(20)).start()
    };
    let before = worker(Versions::newest("1", old)).await.unwrap();
    let job = enqueue(&backroom).await;
    reaches(&backroom, job.id(), State::Waiting).await;
    before.stop().await.unwrap();
    let version = |journal: backroom::WorkflowJournal| journal.header.version;
    assert_eq!(version(job.journal().await.unwrap().unwrap()).as_deref(), Some("1"));
    // A worker without the version parks the run and says which one is missing.
    let only_new = worker(Versions::newest("2", new)).await.unwrap();
    job.signal("go", "on").await.unwrap();
    let blocked = async {
        loop {
            let journal = job.journal().await.unwrap().unwrap();
            if let Some(mark) = journal.header.blocked {
                return mark.why;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let why = tokio::time::timeout(PATIENCE, blocked).await.unwrap();
    assert!(why.contains("version \"1\"") && why.contains("has 2;"), "{why}");
    only_new.stop().await.unwrap();
    let both = worker(Versions::newest("2", new).and_earlier("1", old)).await.unwrap();
    let other = enqueue(&backroom).await;
    assert_eq!(output(&other).await.unwrap(), "new");
    // Whatever arrives wakes a workflow that is blocked.
    job.signal("anything", "at all").await.unwrap();
    assert_eq!(output(&job).await.unwrap(), "old on");
    both.stop().await.unwrap();
}

#[tokio::test]
async fn a_retry_of_a_failed_workflow_runs_the_failed_step_again_and_no_other() {
    let ((_folder, backroom), diary) = (store().await, Diary::default());
    let (is_mended, noted) = (Arc::new(AtomicU32::new(0)), diary.clone());
    let mended = Arc::clone(&is_mended);
    let worker = start(&backroom, move |_: Order, ctx| {
        let (diary, mended) = (noted.clone(), Arc::clone(&mended));
        async move {
            let number: u32 = ctx
                .step("number")
                .run(|| {
                    diary.note("number");
                    std::future::ready(Ok(4))
                })
                .await?;
            let print = ctx.step("print").run(|| {
                diary.note("print");
                let is_mended = mended.load(Ordering::SeqCst) > 0;
                std::future::ready(if is_mended { Ok(()) } else { Err(Failure::discard("no paper")) })
            });
            print.await?;
            Ok(format!("printed {number}"))
        }
    })
    .await;
    let job = enqueue(&backroom).await;
    output(&job).await.unwrap_err();
    assert_eq!(diary.lines(), ["number", "print"]);
    // It fails once more, and is retried once more.
    backroom.retry(job.id()).await.unwrap();
    output(&job).await.unwrap_err();
    is_mended.store(1, Ordering::SeqCst);
    backroom.retry(job.id()).await.unwrap();
    assert_eq!(output(&job).await.unwrap(), "printed 4");
    assert_eq!(diary.lines(), ["number", "print", "print", "print"]);
    let journal = job.journal().await.unwrap().unwrap();
    assert_eq!((journal.header.resumes, journal.entries.len()), (2, 2));
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_retry_of_a_workflow_that_was_undone_is_refused() {
    let ((_folder, backroom), diary) = (store().await, Diary::default());
    let noted = diary.clone();
    let worker = start(&backroom, move |_: Order, ctx| {
        let (diary, undone) = (noted.clone(), noted.clone());
        async move {
            let reserve = ctx.step::<u32>("reserve").compensate(move |_| {
                undone.note("free");
                std::future::ready(Ok(()))
            });
            reserve
                .run(|| {
                    diary.note("reserve");
                    std::future::ready(Ok(1))
                })
                .await?;
            Err(Failure::discard("sold out"))
        }
    })
    .await;
    let job = enqueue(&backroom).await;
    output(&job).await.unwrap_err();
    let refused = backroom.retry(job.id()).await.unwrap_err();
    assert_eq!(refused.kind(), backroom::ErrorKind::Refused);
    assert!(refused.to_string().contains("has undone what it had done (step \"reserve\")"), "{refused}");
    let filter = backroom::Filter::default();
    let acted = backroom.act_on_matching(&filter, &backroom::Action::Retry, None).await.unwrap();
    assert_eq!((acted.done, acted.refused), (0, 1), "{acted:?}");
    assert_eq!(backroom.job(job.id()).await.unwrap().state, State::Discarded);
    assert_eq!(diary.lines(), ["reserve", "free"]);
    worker.stop().await.unwrap();
}
