//! What is left when a bulk enqueue fails in the middle: the same on every store.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use backroom::{
    Backroom, ErrorKind, Filter, Options, Timestamp, UniqueRule,
    clock::Clock,
    store::Store,
    testing::faults::{Fault, Faults},
};

use crate::common::Double;

/// Several times what is under way at a time.
pub(crate) const JOBS: u32 = 7000;
/// Jobs of one transaction.
pub(crate) const CHUNK: u32 = 1000;
/// In the third transaction. Each test refuses it by the database's own means, so that nothing on our side stops it.
pub(crate) const REFUSED: u32 = 2500;

/// A clock on which every wait is over at once.
#[derive(Debug)]
struct Hurried;

#[async_trait::async_trait]
impl Clock for Hurried {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, _: Duration) {}
}

/// The numbers of all stored jobs, in order; as often as there are jobs of it.
pub(crate) async fn stored(store: &Arc<dyn Store>) -> Vec<u32> {
    let jobs = store.list(Arc::new(Filter::default()), None, 1_000_000).await.unwrap();
    let mut numbers: Vec<u32> = jobs.iter().map(|job| job.args.as_str().parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

/// How many jobs there are of each transaction.
fn by_chunk(numbers: &[u32]) -> Vec<usize> {
    let of = |chunk: u32| numbers.iter().filter(|number| **number / CHUNK == chunk).count();
    (0..JOBS / CHUNK).map(of).collect()
}

/// The database refuses [`REFUSED`].
pub(crate) async fn a_refused_job_takes_its_own_transaction_along_and_no_other(backroom: &Backroom) {
    let taken = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&taken);
    let jobs = (0..JOBS).map(move |number| {
        counter.fetch_add(1, Ordering::SeqCst);
        Double(number)
    });
    let error = backroom.enqueue_many(jobs).await.unwrap_err();
    assert_ne!(error.kind(), ErrorKind::Unavailable, "{error}");
    let numbers = stored(backroom.store()).await;
    let chunks = by_chunk(&numbers);
    assert_eq!(chunks[(REFUSED / CHUNK) as usize], 0, "{chunks:?}");
    let taken = (taken.load(Ordering::SeqCst) / CHUNK) as usize;
    for (chunk, jobs) in chunks.iter().enumerate().filter(|(chunk, _)| *chunk != (REFUSED / CHUNK) as usize) {
        // What was taken from the iterator is stored, and nothing was half stored.
        assert_eq!(*jobs, if chunk < taken { CHUNK as usize } else { 0 }, "{taken} taken: {chunks:?}");
    }
    assert!(error.to_string().contains(&format!("at least {} jobs", numbers.len())), "{error}");
}

/// The database refuses nothing any more, and `before` is what the call before left.
pub(crate) async fn the_same_call_again_stores_everything_again(backroom: &Backroom) {
    let before = stored(backroom.store()).await;
    assert!(!before.is_empty());
    let many = backroom.enqueue_many((0..JOBS).map(Double)).await.unwrap();
    assert_eq!(many.created, u64::from(JOBS));
    assert_eq!(stored(backroom.store()).await.len(), before.len() + JOBS as usize);
}

/// The database refuses [`REFUSED`] until `mend` is called.
pub(crate) async fn with_unique_keys_the_first_are_stored_and_the_same_call_again_adds_the_rest(
    backroom: &Backroom,
    mend: impl AsyncFnOnce(),
) {
    let call = || backroom.enqueue_many((0..JOBS).map(Double)).unique(UniqueRule::by_args());
    let error = call().await.unwrap_err();
    let first = CHUNK * (REFUSED / CHUNK);
    assert_eq!(stored(backroom.store()).await, (0..first).collect::<Vec<_>>(), "{error}");
    mend().await;
    let many = call().await.unwrap();
    assert_eq!((many.duplicates, many.created), (u64::from(first), u64::from(JOBS - first)));
    assert_eq!(stored(backroom.store()).await, (0..JOBS).collect::<Vec<_>>());
}

/// A store that takes what it is given and cannot say so.
pub(crate) async fn what_is_not_known_to_be_stored_is_whole_or_absent_and_there_once(store: Arc<dyn Store>) {
    let faults = Arc::new(Faults::new(Arc::clone(&store)));
    let backroom = Options::new().clock(Arc::new(Hurried)).over(Arc::clone(&faults) as _);
    faults.cut(Fault::After);
    let error = backroom.enqueue_many((0..JOBS).map(Double)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("at least 0 jobs"), "{error}");
    // Both that were under way, however often they were handed in.
    assert_eq!(stored(&store).await, (0..2 * CHUNK).collect::<Vec<_>>());
    faults.cut(Fault::Before);
    backroom.enqueue_many((0..JOBS).map(Double)).await.unwrap_err();
    assert_eq!(stored(&store).await.len(), 2 * CHUNK as usize);
}
