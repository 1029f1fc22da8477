//! Group commit: rows that concurrent callers submit while one batch is being written go into the next batch.
//!
//! An idle store writes at once. A busy store writes as many rows per statement as arrived during the last write. So a
//! batch waits as long as a write takes, and needs no tuning. No other work of the store waits here.

use std::{
    collections::BTreeSet,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::Error;

/// Most calls that wait for a batch; further callers wait until one of these is taken.
const CALLS_MAX: usize = 4096;
/// Most rows that one batch takes from several calls; a larger call is a batch of its own.
const ROWS_MAX: usize = 5000;
/// Least rows of a bulk call, which takes a free track of its own.
const BULK_ROWS: usize = 500;
/// How often other tasks get a turn to submit their rows before a batch is sent, after a batch of several calls has
/// shown that there are other callers.
const TURNS: u32 = 3;

/// What one caller submits.
pub(crate) trait Submission: Clone + Send + Sync + 'static {
    /// How many rows; the caller gets as many answers.
    fn count(&self) -> usize;

    /// The same rows once more, after a try that may have written some of them.
    fn repeated(&self) -> Self {
        self.clone()
    }
}

impl<T: Send + Sync + 'static> Submission for Arc<Vec<T>> {
    fn count(&self) -> usize {
        self.len()
    }
}

/// The result of a call: one answer per row.
pub(crate) type Answer<O> = Result<Vec<O>, Error>;
/// The result of a batch: an answer for each call, unless all of it failed.
pub(crate) type Written<O> = Pin<Box<dyn Future<Output = Result<Vec<Answer<O>>, Error>> + Send>>;

struct Call<H, O> {
    rows: H,
    answer: oneshot::Sender<Answer<O>>,
}

/// Gathers the rows of concurrent callers.
pub(crate) struct Batcher<H, O> {
    calls: Mutex<Option<mpsc::Sender<Call<H, O>>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl<H, O> Batcher<H, O>
where
    H: Submission,
    O: Send + 'static,
{
    /// Starts the task that calls `write` with a track and one batch after the other. Each of the `tracks` writes one
    /// batch at a time. All but the first take one large call each, so that small calls gather while the current batch
    /// is written.
    pub(crate) fn start(
        tracks: usize,
        write: impl Fn(usize, Vec<H>) -> Written<O> + Send + Sync + 'static,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(CALLS_MAX);
        let task = tokio::spawn(run(receiver, tracks, write));
        Self { calls: Mutex::new(Some(sender)), task: Mutex::new(Some(task)) }
    }

    /// Answers once the rows are written; one answer per row. They are written even if the caller drops the call.
    pub(crate) async fn submit(&self, rows: H) -> Answer<O> {
        if rows.count() == 0 {
            return Ok(Vec::new());
        }
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let calls = calls.ok_or_else(|| Error::closed("store"))?;
        let (answer, answered) = oneshot::channel();
        calls.send(Call { rows, answer }).await.map_err(|_| Error::closed("store"))?;
        drop(calls);
        answered.await.map_err(|_| Error::closed("store"))?
    }

    /// Accepts no more calls; returns when all accepted ones are written.
    pub(crate) async fn finish(&self) {
        drop(self.calls.lock().unwrap_or_else(PoisonError::into_inner).take());
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the task that writes batches panicked");
        }
    }
}

async fn run<H: Submission, O>(
    mut calls: mpsc::Receiver<Call<H, O>>,
    tracks: usize,
    write: impl Fn(usize, Vec<H>) -> Written<O>,
) {
    let mut free: BTreeSet<usize> = (0..tracks).collect();
    let mut under_way = FuturesUnordered::new();
    let mut had_several = false;
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(call) => call,
            None => tokio::select! {
                biased;
                Some(track) = under_way.next() => {
                    free.insert(track);
                    continue;
                }
                call = calls.recv() => match call {
                    Some(call) => call,
                    None => break,
                },
            },
        };
        let mut rows = first.rows.count();
        let Some(track) = free.iter().copied().find(|track| *track == 0 || rows >= BULK_ROWS) else {
            free.extend(under_way.next().await);
            next = Some(first);
            continue;
        };
        let mut batch = vec![first];
        let turns = match (track, had_several) {
            (0, true) => TURNS,
            (0, false) => 1,
            (_, _) => 0,
        };
        free.remove(&track);
        for _ in 0..turns {
            next = gather(&mut calls, &mut batch, &mut rows, !free.is_empty());
            if next.is_some() {
                break;
            }
            if had_several {
                tokio::task::yield_now().await;
            }
        }
        if track == 0 {
            had_several = batch.len() > 1;
        }
        let write = &write;
        under_way.push(async move {
            write_batch(track, batch, write).await;
            track
        });
    }
    // No more calls come; those that were taken are answered.
    while under_way.next().await.is_some() {}
}

/// Adds the calls that wait. Answers with the first call that does not fit, or that is large and can take a track of
/// its own. The parts of a bulk enqueue are often submitted before one is taken.
fn gather<H: Submission, O>(
    calls: &mut mpsc::Receiver<Call<H, O>>,
    batch: &mut Vec<Call<H, O>>,
    rows: &mut usize,
    is_track_free: bool,
) -> Option<Call<H, O>> {
    while *rows < ROWS_MAX {
        let call = calls.try_recv().ok()?;
        let takes_a_track = is_track_free && call.rows.count() >= BULK_ROWS;
        if takes_a_track || *rows + call.rows.count() > ROWS_MAX {
            return Some(call);
        }
        *rows += call.rows.count();
        batch.push(call);
    }
    None
}

async fn write_batch<H: Submission, O>(
    track: usize,
    batch: Vec<Call<H, O>>,
    write: &impl Fn(usize, Vec<H>) -> Written<O>,
) {
    match write(track, batch.iter().map(|call| call.rows.clone()).collect()).await {
        Ok(answers) => {
            for (call, answer) in batch.into_iter().zip(answers) {
                // The caller has dropped its call; the rows are written all the same.
                _ = call.answer.send(answer);
            }
        }
        // A bad row of one caller must not fail the others: write each call alone.
        Err(error) if batch.len() > 1 && !error.is_transient() => {
            for call in batch {
                let answer = write(track, vec![call.rows.repeated()]).await;
                _ = call.answer.send(answer.and_then(|mut answers| answers.pop().unwrap_or(Ok(Vec::new()))));
            }
        }
        Err(error) => {
            let (kind, message) = (error.kind(), error.to_string());
            let mut first = Some(error);
            for call in batch {
                let error = first
                    .take()
                    .unwrap_or_else(|| Error::new(kind, message.trim_start_matches("failed to ")));
                _ = call.answer.send(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, future::join};

    use super::*;
    use crate::ErrorKind;

    type Rows = Arc<Vec<u8>>;

    /// A batch that has begun; the test decides how it ends.
    struct Begun {
        track: usize,
        calls: Vec<Rows>,
        end: oneshot::Sender<Result<(), Error>>,
    }

    impl Begun {
        fn rows(&self) -> Vec<usize> {
            self.calls.iter().map(|call| call.len()).collect()
        }

        fn succeed(self) {
            self.end.send(Ok(())).expect("it is waited for");
        }

        fn fail(self, kind: ErrorKind) {
            self.end.send(Err(Error::new(kind, "write"))).expect("it is waited for");
        }
    }

    /// A batcher of two tracks, and the batches that it begins. The answer for each row is the row.
    fn batcher() -> (Arc<Batcher<Rows, u8>>, mpsc::UnboundedReceiver<Begun>) {
        let (begin, begun) = mpsc::unbounded_channel();
        let batcher = Batcher::start(2, move |track, calls: Vec<Rows>| {
            let (end, ended) = oneshot::channel();
            let answers = calls.iter().map(|call| Ok(call.to_vec())).collect();
            begin.send(Begun { track, calls, end }).expect("the test listens");
            Box::pin(async move { ended.await.expect("the test ends it").map(|()| answers) })
        });
        (Arc::new(batcher), begun)
    }

    /// A call under way.
    fn hand_in(batcher: &Arc<Batcher<Rows, u8>>, rows: usize) -> JoinHandle<Answer<u8>> {
        let batcher = Arc::clone(batcher);
        tokio::spawn(async move { batcher.submit(Arc::new(vec![7; rows])).await })
    }

    async fn answered(call: JoinHandle<Answer<u8>>) -> Answer<u8> {
        call.await.expect("it did not panic")
    }

    /// Lets every task run until it waits.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_large_call_does_not_wait_for_the_first_track() {
        let (batcher, mut begun) = batcher();
        let small = hand_in(&batcher, 1);
        let first = begun.recv().await.unwrap();
        let large = hand_in(&batcher, BULK_ROWS);
        let second = begun.recv().await.unwrap();
        assert_eq!((first.track, first.rows()), (0, vec![1]));
        assert_eq!((second.track, second.rows()), (1, vec![BULK_ROWS]));
        second.succeed();
        assert_eq!(answered(large).await.unwrap().len(), BULK_ROWS);
        assert!(!small.is_finished());
        first.succeed();
        assert_eq!(answered(small).await.unwrap(), [7]);
    }

    #[tokio::test]
    async fn large_calls_that_are_handed_in_together_take_both_tracks() {
        let (batcher, mut begun) = batcher();
        let calls =
            [hand_in(&batcher, BULK_ROWS), hand_in(&batcher, BULK_ROWS), hand_in(&batcher, BULK_ROWS)];
        let (one, other) = (begun.recv().await.unwrap(), begun.recv().await.unwrap());
        assert_eq!((one.track, one.rows()), (0, vec![BULK_ROWS]));
        assert_eq!((other.track, other.rows()), (1, vec![BULK_ROWS]));
        settle().await;
        assert!(begun.recv().now_or_never().is_none(), "the third waits for a track");
        other.succeed();
        let third = begun.recv().await.unwrap();
        assert_eq!((third.track, third.rows()), (1, vec![BULK_ROWS]));
        third.succeed();
        one.succeed();
        for call in calls {
            answered(call).await.unwrap();
        }
    }

    #[tokio::test]
    async fn small_calls_gather_behind_the_first_track_though_the_second_is_free() {
        let (batcher, mut begun) = batcher();
        let first = hand_in(&batcher, 1);
        let under_way = begun.recv().await.unwrap();
        let others = [hand_in(&batcher, 2), hand_in(&batcher, 3)];
        settle().await;
        assert!(begun.recv().now_or_never().is_none(), "nothing else is begun");
        under_way.succeed();
        let gathered = begun.recv().await.unwrap();
        assert_eq!((gathered.track, gathered.rows()), (0, vec![2, 3]));
        gathered.succeed();
        for call in others.into_iter().chain([first]) {
            answered(call).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_failure_on_the_second_track_is_nothing_to_the_first_and_the_track_is_used_again() {
        let (batcher, mut begun) = batcher();
        let first = hand_in(&batcher, 1);
        let on_the_first = begun.recv().await.unwrap();
        for kind in [ErrorKind::Unavailable, ErrorKind::Invalid] {
            let large = hand_in(&batcher, BULK_ROWS);
            let on_the_second = begun.recv().await.unwrap();
            assert_eq!(on_the_second.track, 1);
            on_the_second.fail(kind);
            assert_eq!(answered(large).await.unwrap_err().kind(), kind);
            assert!(!first.is_finished());
        }
        on_the_first.succeed();
        assert_eq!(answered(first).await.unwrap(), [7]);
    }

    #[tokio::test]
    async fn a_failure_on_the_first_track_is_nothing_to_the_second() {
        let (batcher, mut begun) = batcher();
        let small = hand_in(&batcher, 1);
        let on_the_first = begun.recv().await.unwrap();
        let large = hand_in(&batcher, BULK_ROWS);
        let on_the_second = begun.recv().await.unwrap();
        on_the_first.fail(ErrorKind::Unavailable);
        assert_eq!(answered(small).await.unwrap_err().kind(), ErrorKind::Unavailable);
        on_the_second.succeed();
        assert_eq!(answered(large).await.unwrap().len(), BULK_ROWS);
    }

    #[tokio::test]
    async fn one_bad_call_of_a_batch_fails_alone() {
        let (batcher, mut begun) = batcher();
        let under_way = hand_in(&batcher, 1);
        let first = begun.recv().await.unwrap();
        let (good, bad) = (hand_in(&batcher, 2), hand_in(&batcher, 3));
        settle().await;
        first.succeed();
        begun.recv().await.unwrap().fail(ErrorKind::Invalid);
        let alone = begun.recv().await.unwrap();
        assert_eq!(alone.rows(), [2]);
        alone.succeed();
        let alone = begun.recv().await.unwrap();
        assert_eq!(alone.rows(), [3]);
        alone.fail(ErrorKind::Invalid);
        answered(under_way).await.unwrap();
        assert_eq!(answered(good).await.unwrap().len(), 2);
        assert_eq!(answered(bad).await.unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[tokio::test]
    async fn finishing_waits_for_both_tracks_and_for_what_was_handed_in() {
        let (batcher, mut begun) = batcher();
        let small = hand_in(&batcher, 1);
        let on_the_first = begun.recv().await.unwrap();
        let large = hand_in(&batcher, BULK_ROWS);
        let on_the_second = begun.recv().await.unwrap();
        let waiting = hand_in(&batcher, 2);
        settle().await;
        let finishing = tokio::spawn({
            let batcher = Arc::clone(&batcher);
            async move { batcher.finish().await }
        });
        settle().await;
        let refused = batcher.submit(Arc::new(vec![7])).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Closed);
        on_the_first.succeed();
        begun.recv().await.unwrap().succeed();
        let (small, waiting) = join(answered(small), answered(waiting)).await;
        assert_eq!((small.unwrap().len(), waiting.unwrap().len()), (1, 2));
        settle().await;
        assert!(!finishing.is_finished(), "the second track is under way");
        on_the_second.succeed();
        assert_eq!(answered(large).await.unwrap().len(), BULK_ROWS);
        finishing.await.unwrap();
    }
}
