//! The one decorator of every store: spans, counts, and patience with a store that is away for a moment.
//!
//! Every verb is safe to repeat, so a call that met a transient error is simply made again. It never repeats
//! anything else: what is wrong with the input or the store does not mend itself. No call lasts longer than its deadline,
//! all repeats together and whatever the store waits for; an enqueue has the shortest one, because a user waits for it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use backroom_core::{
    Attempt, Change, JobId, JobRow, LeaseId, LogLine, Queue, Timestamp, draft::NewJob, stats::StatsRow,
};
use futures_util::future::BoxFuture;
use tracing::Instrument as _;

use super::{
    Beaten, Claim, Committed, Count, Deleted, Filter, Health, Held, Holder, Inserted, Note, Prune,
    QueueSetting, Record, Store, Wakes, WorkerRow,
    outage::{Begun, Miss, Outage, Over, is_outage},
};
use crate::{Error, ErrorKind, clock::Clock, repeated::Times};

/// How often a call is made again before its error is passed on.
pub const REPEATS_MAX: u32 = 6;
/// The first wait; each further one doubles it. With [`REPEATS_MAX`] that makes about three seconds in all: long
/// enough for a busy file or a server that restarts, short enough for a caller that waits.
pub const REPEAT_AFTER: Duration = Duration::from_millis(50);

/// Longest time that an enqueue takes, with all repeats: default of [`Options::enqueue_timeout`](crate::Options::enqueue_timeout).
pub const INSERT_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for the calls of workers and for reads. Whoever makes them makes them again.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// The same for what may look at or write all there is: a check, an import, a prune, the last writes of a store that is closed.
const LONG_TIMEOUT: Duration = Duration::from_secs(3600);

/// Watches over a store: a span for each call with its rows and errors at debug level, transient errors tried
/// again with back-off, and one warning for an outage however many calls meet it, be it one of everything, of writes
/// only, or of room on the disk. Its end is told when what failed is answered again.
pub struct Observed {
    inner: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    outage: Mutex<Outage>,
    insert_timeout: Duration,
}

impl Observed {
    /// Watches over `inner`, waiting by `clock` between repeats.
    pub fn new(inner: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { inner, clock, outage: Mutex::default(), insert_timeout: INSERT_TIMEOUT }
    }

    /// The same with another longest time for an enqueue.
    #[must_use]
    pub fn insert_timeout(mut self, timeout: Duration) -> Self {
        self.insert_timeout = timeout;
        self
    }

    /// How long a call may take in all, repeats included.
    fn timeout_of(&self, verb: &str) -> Duration {
        match verb {
            "insert" => self.insert_timeout,
            "health" | "import" | "prune" | "close" => LONG_TIMEOUT,
            _ => CALL_TIMEOUT,
        }
    }

    /// Makes one call within its deadline. Real time, whatever the clock: what does not answer is outside this process.
    async fn call<'a, T>(
        &'a self,
        verb: &'static str,
        rows: impl Fn(&T) -> usize,
        call: impl Fn(bool) -> BoxFuture<'a, Result<T, Error>>,
    ) -> Result<T, Error> {
        let timeout = self.timeout_of(verb);
        let answered = tokio::time::timeout(timeout, self.call_repeatedly(verb, rows, call)).await;
        answered.unwrap_or_else(|_| {
            let effect = match verb {
                "insert" => {
                    "; the jobs may be stored all the same, so enqueue again under the same unique key"
                }
                _ => "",
            };
            let why = format!("{verb}: the store did not answer within {timeout:?}{effect}");
            tracing::debug!(verb, ?timeout, "no answer within the deadline");
            Err(Error::new(ErrorKind::Unavailable, why))
        })
    }

    /// Makes one call, and makes it again (`repeat` is true then) while it meets transient errors.
    async fn call_repeatedly<'a, T>(
        &'a self,
        verb: &'static str,
        rows: impl Fn(&T) -> usize,
        call: impl Fn(bool) -> BoxFuture<'a, Result<T, Error>>,
    ) -> Result<T, Error> {
        let span = tracing::debug_span!("store", verb);
        async {
            let (mut repeats, mut first) = (0, None);
            loop {
                let before = self.outage().answered_so_far(verb);
                let answer = call(repeats > 0).await;
                match &answer {
                    Ok(answer) => {
                        tracing::debug!(verb, rows = rows(answer), repeats, "answered");
                        self.answered(verb);
                    }
                    Err(error) => {
                        tracing::debug!(verb, %error, repeats, "failed");
                        let is_last = !error.is_transient() || repeats == REPEATS_MAX;
                        if is_outage(error) {
                            let first = *first.get_or_insert_with(|| (self.clock.monotonic(), before));
                            self.failed(verb, error, &Miss { first, before, repeats, is_last });
                        }
                        if !is_last {
                            self.clock.sleep(REPEAT_AFTER * 2u32.pow(repeats)).await;
                            repeats += 1;
                            continue;
                        }
                    }
                }
                return answer;
            }
        }
        .instrument(span)
        .await
    }

    fn failed(&self, verb: &'static str, error: &Error, miss: &Miss) {
        let begun = self.outage().failed(verb, error, miss, self.clock.monotonic());
        match begun {
            None => {}
            Some(Begun::Outage) if error.kind() == ErrorKind::NoSpace => {
                tracing::warn!(verb, %error, "the store cannot write; what is to be recorded waits until it can");
            }
            Some(Begun::Outage) => {
                tracing::warn!(verb, %error, "the store does not answer; trying again until it does");
            }
            Some(Begun::Relapses) => {
                tracing::warn!(verb, %error, "the store fails again soon after it answered; further outages are counted");
            }
        }
    }

    fn answered(&self, verb: &'static str) {
        let over = self.outage().answered(verb, || self.clock.monotonic());
        match over {
            None => {}
            Some(Over::Outage(Times { times, span })) => {
                let away_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(away_ms, failed_calls = times, "the store answers again");
            }
            Some(Over::Relapses(times)) => {
                tracing::warn!("the store failed again soon after it answered: {times}, now over");
            }
        }
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observed").field("clock", &self.clock).field("outage", &self.outage).finish()
    }
}

/// For verbs that answer with one thing.
fn one<T>(_: &T) -> usize {
    1
}

/// A count may exceed what an address can, on small machines only.
fn counted(rows: &u64) -> usize {
    usize::try_from(*rows).unwrap_or(usize::MAX)
}

#[async_trait]
impl Store for Observed {
    async fn insert(&self, jobs: Arc<Vec<NewJob>>, now: Timestamp) -> Result<Vec<Inserted>, Error> {
        self.call("insert", Vec::len, |repeat| {
            let jobs = Arc::clone(&jobs);
            if repeat { self.inner.insert_again(jobs, now) } else { self.inner.insert(jobs, now) }
        })
        .await
    }

    async fn insert_again(&self, jobs: Arc<Vec<NewJob>>, now: Timestamp) -> Result<Vec<Inserted>, Error> {
        self.call("insert", Vec::len, |_| self.inner.insert_again(Arc::clone(&jobs), now)).await
    }

    async fn claim(&self, claim: Arc<Claim>, now: Timestamp) -> Result<Vec<JobRow>, Error> {
        self.call("claim", Vec::len, |repeat| {
            let mut claim = Arc::clone(&claim);
            if repeat && !claim.repeat {
                Arc::make_mut(&mut claim).repeat = true;
            }
            self.inner.claim(claim, now)
        })
        .await
    }

    async fn commit(&self, changes: Arc<Vec<Change>>) -> Result<Vec<Committed>, Error> {
        self.call("commit", Vec::len, |_| self.inner.commit(Arc::clone(&changes))).await
    }

    async fn held(&self, leases: Arc<Vec<(JobId, LeaseId)>>) -> Result<Vec<Held>, Error> {
        self.call("held", Vec::len, |_| self.inner.held(Arc::clone(&leases))).await
    }

    async fn note(&self, notes: Arc<Vec<Note>>, now: Timestamp) -> Result<(), Error> {
        self.call("note", |()| notes.len(), |_| self.inner.note(Arc::clone(&notes), now)).await
    }

    async fn holders(&self) -> Result<Vec<Holder>, Error> {
        self.call("holders", Vec::len, |_| self.inner.holders()).await
    }

    async fn declare_dead(&self, worker: &str, beats: Option<u64>, now: Timestamp) -> Result<bool, Error> {
        let worker: Arc<str> = worker.into();
        self.call("declare_dead", one, |_| {
            let worker = Arc::clone(&worker);
            Box::pin(async move { self.inner.declare_dead(&worker, beats, now).await })
        })
        .await
    }

    async fn running_of(
        &self,
        worker: &str,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobRow>, Error> {
        let worker: Arc<str> = worker.into();
        self.call("running_of", Vec::len, |_| {
            let worker = Arc::clone(&worker);
            Box::pin(async move { self.inner.running_of(&worker, after, limit).await })
        })
        .await
    }

    async fn expired(&self, limit: usize, now: Timestamp) -> Result<Vec<JobRow>, Error> {
        self.call("expired", Vec::len, |_| self.inner.expired(limit, now)).await
    }

    async fn prune(&self, prune: Arc<Prune>, now: Timestamp) -> Result<u64, Error> {
        self.call("prune", counted, |_| self.inner.prune(Arc::clone(&prune), now)).await
    }

    async fn delete(&self, id: JobId) -> Result<Deleted, Error> {
        self.call("delete", one, |_| self.inner.delete(id)).await
    }

    async fn delete_unmoved(&self, jobs: Arc<Vec<(JobId, u64)>>) -> Result<Vec<Deleted>, Error> {
        self.call("delete_unmoved", Vec::len, |_| self.inner.delete_unmoved(Arc::clone(&jobs))).await
    }

    async fn job(&self, id: JobId) -> Result<Option<JobRow>, Error> {
        self.call("job", |job: &Option<JobRow>| usize::from(job.is_some()), |_| self.inner.job(id)).await
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, Error> {
        self.call("attempts", Vec::len, |_| self.inner.attempts(id)).await
    }

    async fn logs(&self, id: JobId, skip: usize, limit: usize) -> Result<Vec<LogLine>, Error> {
        self.call("logs", Vec::len, |_| self.inner.logs(id, skip, limit)).await
    }

    async fn list(
        &self,
        filter: Arc<Filter>,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobRow>, Error> {
        self.call("list", Vec::len, |_| self.inner.list(Arc::clone(&filter), before, limit)).await
    }

    async fn counts(&self, now: Timestamp) -> Result<Vec<Count>, Error> {
        self.call("counts", Vec::len, |_| self.inner.counts(now)).await
    }

    async fn ahead(&self, job: Arc<JobRow>, limit: u64, now: Timestamp) -> Result<u64, Error> {
        self.call("ahead", one, |_| self.inner.ahead(Arc::clone(&job), limit, now)).await
    }

    async fn next_due(
        &self,
        queues: Arc<Vec<String>>,
        kinds: Arc<Vec<String>>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        self.call("next_due", one, |_| self.inner.next_due(Arc::clone(&queues), Arc::clone(&kinds), now))
            .await
    }

    async fn queues(&self) -> Result<Vec<Queue>, Error> {
        self.call("queues", Vec::len, |_| self.inner.queues()).await
    }

    async fn set_queue(&self, name: &str, setting: QueueSetting) -> Result<(), Error> {
        let name: Arc<str> = name.into();
        self.call("set_queue", one, |_| {
            let (name, setting) = (Arc::clone(&name), setting.clone());
            Box::pin(async move { self.inner.set_queue(&name, setting).await })
        })
        .await
    }

    async fn beat(&self, worker: Arc<WorkerRow>) -> Result<Beaten, Error> {
        self.call("beat", one, |_| self.inner.beat(Arc::clone(&worker))).await
    }

    async fn leave(&self, worker: &str) -> Result<(), Error> {
        let worker: Arc<str> = worker.into();
        self.call("leave", one, |_| {
            let worker = Arc::clone(&worker);
            Box::pin(async move { self.inner.leave(&worker).await })
        })
        .await
    }

    async fn workers(&self, since: Timestamp) -> Result<Vec<WorkerRow>, Error> {
        self.call("workers", Vec::len, |_| self.inner.workers(since)).await
    }

    async fn put_stats(&self, row: Arc<StatsRow>, now: Timestamp) -> Result<(), Error> {
        self.call("put_stats", one, |_| self.inner.put_stats(Arc::clone(&row), now)).await
    }

    async fn stats(&self, since: Timestamp, limit: usize) -> Result<Vec<StatsRow>, Error> {
        self.call("stats", Vec::len, |_| self.inner.stats(since, limit)).await
    }

    async fn import(&self, records: Arc<Vec<Record>>) -> Result<u64, Error> {
        self.call("import", counted, |_| self.inner.import(Arc::clone(&records))).await
    }

    async fn health(&self) -> Result<Health, Error> {
        self.call("health", one, |_| self.inner.health()).await
    }

    fn wakes(&self) -> &Arc<Wakes> {
        self.inner.wakes()
    }

    async fn close(&self) -> Result<(), Error> {
        self.call("close", one, |_| self.inner.close()).await
    }
}
