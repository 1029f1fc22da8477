//! The decorator repeats what a moment mends, and nothing else.

use std::sync::Arc;

use backroom::{
    ErrorKind, Timestamp,
    clock::Clock,
    store::{MemoryStore, Observed, REPEATS_MAX, Store},
    testing::faults::{Fault, Faults},
};

/// A clock on which every wait is over at once.
#[derive(Debug)]
struct Hurried;

#[async_trait::async_trait]
impl Clock for Hurried {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    async fn sleep_until(&self, _: Timestamp) {}
}

fn observed() -> (Arc<Faults>, Observed) {
    let faults = Arc::new(Faults::new(Arc::new(MemoryStore::new())));
    (Arc::clone(&faults), Observed::new(faults, Arc::new(Hurried)))
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
