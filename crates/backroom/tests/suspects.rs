//! How jobs begin that are suspected of killing their worker.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use backroom::store::layer::Verb;
use backroom::{
    Backroom, Context, Draft, ErrorKind, Failure, Job, JobId, Json, Middleware, Neighbours, Next, Options,
    State, Timestamp, Worker, async_trait,
    core::{Suspicion, blame::Trials},
    ids::Ids,
    store::{MemoryStore, Record},
};
use common::{Act, Double, act, fresh_stores, pass, soon, with_faults};

const LEASE: Duration = Duration::from_secs(30);
/// Longer than the trial of a job that was suspected once.
const TRIAL: Duration = Duration::from_secs(2);
/// Longer than a suspect waits for a slot, or for a thread.
const PATIENCE: Duration = Duration::from_secs(11);

/// Stores a job whose worker died while it ran beside others.
async fn suspect<J: Job>(backroom: &Backroom, ids: &Ids, job: &J, crashes: u32) -> JobId {
    let now = backroom.clock().now();
    let mut row =
        Draft::new(J::KIND, Json::encode(job).unwrap()).check(ids.job(now), now, 1 << 20).unwrap().job;
    row.crashes = crashes;
    row.suspicion = Some(Suspicion { on_trial: crashes - 1, alone: 0, at: now, ran_ms: 0 });
    let record = Record {
        job: row.clone(),
        attempts: Vec::new(),
        lines: Vec::new(),
        edges: Vec::new(),
        journal: None,
    };
    backroom.store().import(Arc::new(vec![record])).await.unwrap();
    row.id
}

/// What the row of the only worker says about its trials.
async fn trials(backroom: &Backroom) -> Trials {
    backroom.store().workers(Timestamp::MIN).await.unwrap().remove(0).trials
}

#[tokio::test]
async fn suspects_that_were_on_trial_at_a_crash_run_one_at_a_time() {
    for store in fresh_stores().await {
        let (b, ids) = (&store.backroom, Ids::seeded(5));
        for number in 0..5 {
            suspect(b, &ids, &Double(number), 2).await;
        }
        let (now_running, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (running, high) = (Arc::clone(&now_running), Arc::clone(&most));
        let worker = Worker::new(b).handle(move |job: Double, _| {
            let (running, high) = (Arc::clone(&running), Arc::clone(&high));
            async move {
                high.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                running.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, Failure>(job.0)
            }
        });
        let worker = worker.neighbours(Arc::default()).start().await.unwrap();
        let all = async {
            loop {
                let counts = b.counts().await.unwrap();
                if counts.iter().all(|count| count.state.as_str() == "completed") {
                    return;
                }
                store.clock.advance(Duration::from_millis(100));
                tokio::task::yield_now().await;
            }
        };
        soon("all", all).await;
        assert_eq!(most.load(Ordering::SeqCst), 1);
        soon("stop", worker.stop()).await.unwrap();
    }
}

#[tokio::test]
async fn a_suspect_whose_lease_is_lost_while_its_trial_is_written_does_not_begin() {
    let (b, _, _, clock) = with_faults();
    let began = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&began);
    let worker = Worker::new(&b).name("one").lease(LEASE).upkeep(false).neighbours(Arc::default());
    let worker = worker.handle(move |job: Double, _| {
        count.fetch_add(1, Ordering::SeqCst);
        async move { Ok::<_, Failure>(job.0) }
    });
    let worker = worker.start().await.unwrap();
    pass(&clock, Duration::from_millis(100)).await;
    let beats = b.store().workers(Timestamp::MIN).await.unwrap()[0].beats;
    // The worker hears of it when it writes the trial, and goes on under a new name.
    assert!(b.store().declare_dead("one", Some(beats), b.clock().now()).await.unwrap());
    let job = suspect(&b, &Ids::seeded(5), &Double(1), 1).await;
    pass(&clock, Duration::from_secs(3)).await;
    assert!(worker.name().starts_with("one~"), "{}", worker.name());
    assert_eq!(began.load(Ordering::SeqCst), 0);
    assert_eq!(trials(&b).await.on, None);
    assert_eq!(b.job(job).await.unwrap().worker.as_deref(), Some("one"), "for the rescue");
    drop(worker);
}

#[tokio::test]
async fn the_suspects_of_a_process_wait_at_most_a_lease_for_one_whose_store_is_away() {
    let (first, _, faults, clock) = with_faults();
    let second = Options::new().clock(Arc::clone(&clock) as _).seed(8).over(Arc::new(MemoryStore::new()));
    let process = Arc::new(Neighbours::new());
    let worker =
        |b: &Backroom| Worker::new(b).lease(LEASE).upkeep(false).neighbours(Arc::clone(&process)).handle(act);
    let workers = [worker(&first).start().await.unwrap(), worker(&second).start().await.unwrap()];
    pass(&clock, Duration::from_millis(100)).await;
    let ids = Ids::seeded(5);
    let one = suspect(&first, &ids, &Act::Hang, 1).await;
    pass(&clock, Duration::from_millis(200)).await;
    assert_eq!((trials(&first).await.on.map(|on| on.job), workers[0].running()), (Some(one), 1));
    // The row that ends the trial cannot be written from now on.
    faults.refuse(Verb::Heartbeat, ErrorKind::Internal);
    suspect(&second, &ids, &Act::Hang, 1).await;
    pass(&clock, TRIAL).await;
    assert_eq!(workers[1].running(), 0, "the row still says that the first is on trial");
    pass(&clock, LEASE).await;
    assert_eq!(workers[1].running(), 1);
    drop(workers);
}

/// A gate that blocking handlers wait at.
#[derive(Default)]
struct Gate(Mutex<(u32, bool)>, Condvar);

impl Gate {
    /// Counts who came, and returns when the gate is open.
    fn enter(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 += 1;
        self.1.notify_all();
        let wait = Duration::from_secs(60);
        drop(self.1.wait_timeout_while(state, wait, |(_, is_open)| !*is_open).unwrap());
    }

    fn came(&self) -> u32 {
        self.0.lock().unwrap().0
    }

    fn open(&self) {
        self.0.lock().unwrap().1 = true;
        self.1.notify_all();
    }
}

#[tokio::test]
async fn a_blocking_suspect_is_not_on_trial_while_it_waits_for_a_thread() {
    let (b, _, _, clock) = with_faults();
    let gate = Arc::new(Gate::default());
    let entered = Arc::clone(&gate);
    let worker = Worker::new(&b).lease(LEASE).upkeep(false).neighbours(Arc::default()).blocking_threads(1);
    let worker = worker.queue("default", 4).handle(act).handle_blocking(move |job: Double, _: Context| {
        entered.enter();
        Ok::<_, Failure>(job.0)
    });
    let worker = worker.start().await.unwrap();
    b.enqueue(Double(1)).await.unwrap();
    let came = async {
        while gate.came() == 0 {
            pass(&clock, Duration::from_millis(50)).await;
        }
    };
    soon("the thread", came).await;

    // The first of the two in the order of their ids.
    let ids = Ids::seeded(5);
    let waits = suspect(&b, &ids, &Double(2), 1).await;
    pass(&clock, TRIAL).await;
    assert_eq!(b.job(waits).await.unwrap().state, State::Running);
    assert_eq!(trials(&b).await, Trials::default(), "its handler has not begun");
    let begins = suspect(&b, &ids, &Act::Hang, 1).await;
    pass(&clock, PATIENCE).await;
    let row = b.job(waits).await.unwrap();
    assert_eq!((row.state, row.attempt), (State::Queued, 0), "it went back for other workers");
    assert!(row.scheduled_at > b.clock().now());
    pass(&clock, TRIAL).await;
    let said = trials(&b).await;
    assert_eq!((said.on, said.passed), (None, vec![begins]), "the other one had its trial");

    gate.open();
    let ended = async {
        while b.job(waits).await.unwrap().state != State::Completed {
            pass(&clock, Duration::from_millis(500)).await;
        }
    };
    soon("its turn", ended).await;
    assert_eq!(gate.came(), 2);
    drop(worker);
}

/// Never calls the handlers of a kind.
struct HangsBefore(&'static str);

#[async_trait]
impl Middleware for HangsBefore {
    async fn handle(&self, context: Context, next: Next<'_>) -> Result<Json, Failure> {
        if context.job().kind == self.0 {
            std::future::pending::<()>().await;
        }
        next.run(context).await
    }
}

#[tokio::test]
async fn a_blocking_suspect_is_on_trial_before_its_middleware_begins_and_holds_up_no_other() {
    let (b, _, _, clock) = with_faults();
    let worker = Worker::new(&b).lease(LEASE).upkeep(false).neighbours(Arc::default()).blocking_threads(2);
    let worker = worker.queue("default", 4).handle(act);
    let worker = worker.handle_blocking(|job: Double, _: Context| Ok::<_, Failure>(job.0));
    let worker = worker.middleware(HangsBefore(Double::KIND)).start().await.unwrap();
    pass(&clock, Duration::from_millis(100)).await;
    let ids = Ids::seeded(5);
    let hangs = suspect(&b, &ids, &Double(2), 1).await;
    let on_trial = async {
        while trials(&b).await.on.map(|trial| trial.job) != Some(hangs) {
            pass(&clock, Duration::from_millis(50)).await;
        }
    };
    soon("a trial, so that a crash in middleware is its own", on_trial).await;
    let begins = suspect(&b, &ids, &Act::Hang, 1).await;
    pass(&clock, TRIAL * 2).await;
    assert_eq!(
        trials(&b).await.passed,
        [hangs, begins],
        "its trial was over, though its handler had not begun"
    );
    drop(worker);
}

#[tokio::test]
async fn a_worker_says_which_kinds_share_how_many_threads() {
    let (b, _, _, clock) = with_faults();
    let worker = Worker::new(&b).handle(act).blocking_threads(3);
    let worker = worker.handle_blocking(|job: Double, _: Context| Ok::<_, Failure>(job.0));
    let worker = worker.start().await.unwrap();
    pass(&clock, Duration::from_millis(100)).await;
    let threads = b.store().workers(Timestamp::MIN).await.unwrap().remove(0).details.threads;
    assert_eq!((threads.count, threads.kinds), (Some(3), vec!["double".into()]));
    drop(worker);
}
