//! The decorator repeats what a moment mends, and nothing else; and it tells of an outage once, and of its end once.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::{
    cell::RefCell,
    io,
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use backroom::store::layer::Verb;
use backroom::{
    Error, ErrorKind, Timestamp,
    clock::Clock,
    core::bounds::later,
    store::{MemoryStore, Observed, QueueSetting, QueueVerbs as _, REPEATS_MAX, Store, WorkerVerbs as _},
    testing::faults::{Fault, Faults},
};

/// A clock on which every wait is over at once.
#[derive(Debug, Default)]
struct Hurried(Mutex<Duration>);

#[async_trait::async_trait]
impl Clock for Hurried {
    fn now(&self) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    async fn sleep(&self, span: Duration) {
        *self.0.lock().unwrap() += span;
    }
}

fn observed() -> (Arc<Faults>, Observed) {
    let (faults, store, _) = observed_by_clock();
    (faults, store)
}

fn observed_by_clock() -> (Arc<Faults>, Observed, Arc<Hurried>) {
    let faults = Arc::new(Faults::new(Arc::new(MemoryStore::new())));
    let clock = Arc::new(Hurried::default());
    (Arc::clone(&faults), Observed::new(faults, Arc::clone(&clock) as _), clock)
}

/// The lines that this thread logs: each test runs on a thread of its own.
///
/// One subscriber serves all threads. With one for each, a place in the code that another thread reaches first, before its
/// subscriber is there, may count as switched off for all of them.
struct Told;

thread_local! {
    static TOLD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Told {
    fn listen() -> Self {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::INFO)
                .with_ansi(false)
                .without_time()
                .with_writer(|| Told)
                .init();
        });
        TOLD.take();
        Self
    }

    fn lines(&self) -> Vec<String> {
        TOLD.with_borrow(|told| String::from_utf8_lossy(told).lines().map(str::to_owned).collect())
    }

    /// The levels of the lines so far.
    fn levels(&self) -> Vec<String> {
        let level = |line: &String| line.split_whitespace().next().unwrap().to_owned();
        self.lines().iter().map(level).collect()
    }
}

impl io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        TOLD.with_borrow_mut(|told| told.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn read(store: &Observed) -> Result<(), Error> {
    store.queues().await.map(drop)
}

async fn write(store: &Observed) -> Result<(), Error> {
    store.set_queue("default", QueueSetting::Resume).await
}

async fn another_write(store: &Observed) -> Result<(), Error> {
    store.deregister("nobody").await
}

#[tokio::test]
async fn an_outage_of_everything_is_told_once_and_its_end_once() {
    let (told, (faults, store)) = (Told::listen(), observed());
    faults.cut(Fault::Before);
    for _ in 0..3 {
        read(&store).await.unwrap_err();
        write(&store).await.unwrap_err();
    }
    assert_eq!(told.levels(), ["WARN"]);
    faults.heal();
    read(&store).await.unwrap();
    another_write(&store).await.unwrap();
    assert_eq!(told.levels(), ["WARN"], "it is not known yet whether the verb that failed is answered");
    write(&store).await.unwrap();
    read(&store).await.unwrap();
    assert_eq!(told.levels(), ["WARN", "INFO"], "{:#?}", told.lines());
}

#[tokio::test]
async fn an_outage_of_writes_alone_is_told_once_and_its_end_when_writes_are_answered() {
    for fault in [Fault::Before, Fault::After] {
        let (told, (faults, store)) = (Told::listen(), observed());
        faults.cut_writes(fault);
        for _ in 0..3 {
            read(&store).await.unwrap();
            write(&store).await.unwrap_err();
            read(&store).await.unwrap();
            another_write(&store).await.unwrap_err();
        }
        assert_eq!(told.levels(), ["WARN"], "{:#?}", told.lines());
        faults.heal();
        read(&store).await.unwrap();
        write(&store).await.unwrap();
        assert_eq!(told.levels(), ["WARN"]);
        another_write(&store).await.unwrap();
        assert_eq!(told.levels(), ["WARN", "INFO"], "{:#?}", told.lines());
    }
}

#[tokio::test]
async fn a_verb_that_fails_alone_is_told_once_and_its_end_once() {
    let (told, (faults, store)) = (Told::listen(), observed());
    faults.refuse(Verb::SetQueue, ErrorKind::Unavailable);
    for _ in 0..3 {
        another_write(&store).await.unwrap();
        write(&store).await.unwrap_err();
        another_write(&store).await.unwrap();
    }
    assert_eq!(told.levels(), ["WARN"], "{:#?}", told.lines());
    faults.heal();
    another_write(&store).await.unwrap();
    assert_eq!(told.levels(), ["WARN"]);
    write(&store).await.unwrap();
    assert_eq!(told.levels(), ["WARN", "INFO"], "{:#?}", told.lines());
}

#[tokio::test]
async fn a_store_without_room_is_told_once_and_its_end_once() {
    let (told, (faults, store)) = (Told::listen(), observed());
    faults.refuse(Verb::SetQueue, ErrorKind::NoSpace);
    for _ in 0..3 {
        write(&store).await.unwrap_err();
        // What needs no room goes on.
        another_write(&store).await.unwrap();
    }
    assert_eq!(told.levels(), ["WARN"], "{:#?}", told.lines());
    faults.heal();
    write(&store).await.unwrap();
    assert_eq!(told.levels(), ["WARN", "INFO"], "{:#?}", told.lines());
}

#[tokio::test]
async fn a_call_that_nobody_makes_again_does_not_keep_an_outage_going_for_ever() {
    let (told, (faults, store, clock)) = (Told::listen(), observed_by_clock());
    faults.cut(Fault::Before);
    write(&store).await.unwrap_err();
    read(&store).await.unwrap_err();
    faults.heal();
    clock.sleep(Duration::from_secs(80)).await;
    read(&store).await.unwrap();
    assert_eq!(told.levels(), ["WARN"]);
    clock.sleep(Duration::from_secs(20)).await;
    read(&store).await.unwrap();
    assert_eq!(told.levels(), ["WARN", "INFO"], "{:#?}", told.lines());
}

#[tokio::test]
async fn a_miss_that_the_first_repeat_mends_is_not_told() {
    let (told, (faults, store)) = (Told::listen(), observed());
    for _ in 0..10 {
        faults.fail_call(1, Fault::After);
        write(&store).await.unwrap();
    }
    assert_eq!(told.lines(), [""; 0]);
}

#[tokio::test]
async fn a_store_that_stays_away_is_an_error_after_bounded_repeats() {
    let (faults, store) = observed();
    faults.cut(Fault::Before);
    let error = store.queues().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(faults.calls(), u64::from(REPEATS_MAX) + 1);
    faults.heal();
    assert_eq!(store.queues().await.unwrap(), []);
}

#[tokio::test]
async fn a_call_that_one_repeat_mends_succeeds() {
    let (faults, store) = observed();
    faults.fail_call(1, Fault::After);
    assert_eq!(store.queues().await.unwrap(), []);
    assert_eq!((faults.calls(), faults.failed()), (2, 1));
}

#[tokio::test]
async fn an_error_that_no_moment_mends_is_not_repeated() {
    let (faults, store) = observed();
    store.close().await.unwrap();
    let error = store.queues().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(faults.calls(), 2, "the close and one call");
}
