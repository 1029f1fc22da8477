//! Group commit: what concurrent callers hand in while one batch is on its way to the disk goes with the next.
//!
//! An idle store writes at once; a busy one writes as many rows per statement as came during the last, so the window
//! is as long as a write takes and needs no tuning. Nothing else of the store waits in here.

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

/// Calls that may wait before a caller has to.
const CALLS_MAX: usize = 4096;
/// Rows that one batch gathers from several calls; a larger call goes alone.
const ROWS_MAX: usize = 5000;
/// Rows from which on a call is bulk: it takes a track of its own where one is free.
const BULK_ROWS: usize = 500;
/// How often the others get a turn to hand in their rows before a batch leaves, once a batch of several calls shows
/// that there are others.
const TURNS: u32 = 3;

/// What one caller hands in.
pub(super) trait Handed: Clone + Send + Sync + 'static {
    /// How many rows; as many answers are owed.
    fn rows(&self) -> usize;
}

impl<T: Send + Sync + 'static> Handed for Arc<Vec<T>> {
    fn rows(&self) -> usize {
        self.len()
    }
}

/// What becomes of a call: one answer per row.
pub(super) type Answer<O> = Result<Vec<O>, Error>;
/// What becomes of a batch: an answer for each call, unless it failed as a whole.
pub(super) type Written<O> = Pin<Box<dyn Future<Output = Result<Vec<Answer<O>>, Error>> + Send>>;

struct Call<H, O> {
    handed: H,
    answer: oneshot::Sender<Answer<O>>,
}

/// Gathers the rows of concurrent callers.
pub(super) struct Batcher<H, O> {
    calls: Mutex<Option<mpsc::Sender<Call<H, O>>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl<H, O> Batcher<H, O>
where
    H: Handed,
    O: Send + 'static,
{
    /// Starts the task that calls `write` with a track and one batch after the other. Each of the `tracks` has one batch
    /// under way at a time; all but the first take one large call each, so that small ones gather behind the write under
    /// way.
    pub(super) fn start(
        tracks: usize,
        write: impl Fn(usize, Vec<H>) -> Written<O> + Send + Sync + 'static,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(CALLS_MAX);
        let task = tokio::spawn(run(receiver, tracks, write));
        Self { calls: Mutex::new(Some(sender)), task: Mutex::new(Some(task)) }
    }

    /// Answers once the rows are written; one answer per row. Dropping the call does not take them back.
    pub(super) async fn write(&self, handed: H) -> Answer<O> {
        if handed.rows() == 0 {
            return Ok(Vec::new());
        }
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let calls = calls.ok_or_else(|| Error::closed("store"))?;
        let (answer, answered) = oneshot::channel();
        calls.send(Call { handed, answer }).await.map_err(|_| Error::closed("store"))?;
        drop(calls);
        answered.await.map_err(|_| Error::closed("store"))?
    }

    /// Takes no more calls and returns when all that were taken are written.
    pub(super) async fn finish(&self) {
        drop(self.calls.lock().unwrap_or_else(PoisonError::into_inner).take());
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the task that writes batches panicked");
        }
    }
}

async fn run<H: Handed, O>(
    mut calls: mpsc::Receiver<Call<H, O>>,
    tracks: usize,
    write: impl Fn(usize, Vec<H>) -> Written<O>,
) {
    let mut free: BTreeSet<usize> = (0..tracks).collect();
    let mut under_way = FuturesUnordered::new();
    let mut had_company = false;
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
        let mut rows = first.handed.rows();
        let Some(track) = free.iter().copied().find(|track| *track == 0 || rows >= BULK_ROWS) else {
            free.extend(under_way.next().await);
            next = Some(first);
            continue;
        };
        let mut batch = vec![first];
        let turns = match (track, had_company) {
            (0, true) => TURNS,
            (0, false) => 1,
            (_, _) => 0,
        };
        for _ in 0..turns {
            next = gather(&mut calls, &mut batch, &mut rows);
            if next.is_some() {
                break;
            }
            if had_company {
                tokio::task::yield_now().await;
            }
        }
        if track == 0 {
            had_company = batch.len() > 1;
        }
        free.remove(&track);
        let write = &write;
        under_way.push(async move {
            write_batch(track, batch, write).await;
            track
        });
    }
    // No more calls; those taken are answered.
    while under_way.next().await.is_some() {}
}

/// Adds what waits; answers with the call that no longer fits.
fn gather<H: Handed, O>(
    calls: &mut mpsc::Receiver<Call<H, O>>,
    batch: &mut Vec<Call<H, O>>,
    rows: &mut usize,
) -> Option<Call<H, O>> {
    while *rows < ROWS_MAX {
        let call = calls.try_recv().ok()?;
        if *rows + call.handed.rows() > ROWS_MAX {
            return Some(call);
        }
        *rows += call.handed.rows();
        batch.push(call);
    }
    None
}

async fn write_batch<H: Handed, O>(
    track: usize,
    batch: Vec<Call<H, O>>,
    write: &impl Fn(usize, Vec<H>) -> Written<O>,
) {
    match write(track, batch.iter().map(|call| call.handed.clone()).collect()).await {
        Ok(answers) => {
            for (call, answer) in batch.into_iter().zip(answers) {
                // A caller that no longer waits has dropped its call; the rows are written all the same.
                _ = call.answer.send(answer);
            }
        }
        // One caller's bad row must not fail the others: each alone.
        Err(error) if batch.len() > 1 && !error.is_transient() => {
            for call in batch {
                let answer = write(track, vec![call.handed.clone()]).await;
                _ = call.answer.send(answer.and_then(|mut answers| answers.pop().unwrap_or(Ok(Vec::new()))));
            }
        }
        Err(error) => {
            let (kind, said) = (error.kind(), error.to_string());
            let mut first = Some(error);
            for call in batch {
                let error =
                    first.take().unwrap_or_else(|| Error::new(kind, said.trim_start_matches("failed to ")));
                _ = call.answer.send(Err(error));
            }
        }
    }
}
