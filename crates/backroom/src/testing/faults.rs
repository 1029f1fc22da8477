//! A store that fails on purpose, always at the same call.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use backroom_core::{
    Attempt, Change, JobId, JobRow, LeaseId, LogLine, Queue, Timestamp, draft::NewJob, stats::StatsRow,
};
use tokio::sync::Notify;

use crate::{
    Error, ErrorKind,
    store::{
        Beaten, Claim, Committed, Count, Deleted, Filter, Health, Held, Holder, Inserted, Note, Prune,
        QueueSetting, Record, Store, Wakes, WorkerRow,
    },
};

/// On which side of the store a call is lost. Either is a transient
/// [`Unavailable`](crate::ErrorKind::Unavailable): the caller cannot tell the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call never reaches the store.
    Before,
    /// The call takes effect and its answer is lost.
    After,
}

/// Wraps a store and fails chosen calls.
pub struct Faults {
    inner: Arc<dyn Store>,
    plan: Mutex<Plan>,
    healed: Notify,
    /// Calls that are not answered yet.
    under_way: AtomicU64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Plan {
    calls: u64,
    /// Which call fails, counted like `calls`, and how.
    once: Option<(u64, Fault)>,
    /// All fail until healed.
    cut: Option<Fault>,
    /// All writes fail until healed.
    writes_cut: Option<Fault>,
    /// This verb is refused until healed.
    refused: Option<(&'static str, ErrorKind)>,
    /// This verb is not answered until healed.
    silent: Option<&'static str>,
    /// Commits of texts beyond Latin-1 are refused until healed.
    latin1: bool,
    failed: u64,
}

/// The verbs that change something.
const WRITES: [&str; 11] = [
    "insert",
    "claim",
    "commit",
    "declare_dead",
    "note",
    "prune",
    "delete",
    "set_queue",
    "beat",
    "leave",
    "import",
];

/// What happens to one call instead.
#[derive(Debug, Clone, Copy)]
enum Instead {
    Lost(Fault),
    Refused(ErrorKind),
    Silent,
}

impl Faults {
    /// Passes every call on until told otherwise.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, plan: Mutex::default(), healed: Notify::new(), under_way: AtomicU64::new(0) }
    }

    /// Fails the `nth` call from now (1 is the next one), once.
    pub fn fail_call(&self, nth: u64, fault: Fault) {
        let mut plan = self.plan();
        plan.once = Some((plan.calls + nth, fault));
    }

    /// Fails every call from now until [`heal`](Self::heal).
    pub fn cut(&self, fault: Fault) {
        self.plan().cut = Some(fault);
    }

    /// Fails every write from now until [`heal`](Self::heal), while reads go on being answered: a server that became
    /// read-only, a file that another process holds.
    pub fn cut_writes(&self, fault: Fault) {
        self.plan().writes_cut = Some(fault);
    }

    /// Refuses every call of one verb (`"extend"`) with an error of this kind, before it reaches the store, until
    /// [`heal`](Self::heal).
    pub fn refuse(&self, verb: &'static str, kind: ErrorKind) {
        self.plan().refused = Some((verb, kind));
    }

    /// Refuses every commit of a text with a character beyond Latin-1 until [`heal`](Self::heal), as a database of that
    /// encoding does.
    pub fn refuse_beyond_latin1(&self) {
        self.plan().latin1 = true;
    }

    /// Answers no call of one verb until [`heal`](Self::heal), although each takes effect; then their answers are lost: a
    /// server that hangs.
    pub fn hush(&self, verb: &'static str) {
        self.plan().silent = Some(verb);
    }

    /// Fails no call from now on.
    pub fn heal(&self) {
        let mut plan = self.plan();
        *plan = Plan { calls: plan.calls, failed: plan.failed, ..Plan::default() };
        drop(plan);
        self.healed.notify_waiters();
    }

    /// How many calls were made, failed ones included.
    pub fn calls(&self) -> u64 {
        self.plan().calls
    }

    /// How many calls are not answered yet. While there are some, a test clock that moves on measures the machine.
    pub fn under_way(&self) -> u64 {
        self.under_way.load(Ordering::Acquire)
    }

    /// How many calls were failed.
    pub fn failed(&self) -> u64 {
        self.plan().failed
    }

    /// Counts a call and says what is to happen to it.
    fn next(&self, verb: &str) -> Option<Instead> {
        let mut plan = self.plan();
        plan.calls += 1;
        let once = plan.once.filter(|(nth, _)| *nth == plan.calls).map(|(_, fault)| fault);
        let of_writes = plan.writes_cut.filter(|_| WRITES.contains(&verb));
        let refused = plan.refused.filter(|(refused, _)| *refused == verb).map(|(_, kind)| kind);
        let lost = plan.cut.or(once).or(of_writes).map(Instead::Lost);
        let silent = plan.silent.filter(|silent| *silent == verb).map(|_| Instead::Silent);
        let instead = lost.or(refused.map(Instead::Refused)).or(silent);
        plan.failed += u64::from(instead.is_some());
        instead
    }

    async fn call<T>(
        &self,
        verb: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let lost =
            |place| Error::new(ErrorKind::Unavailable, format!("{verb}: a fault was injected {place}"));
        let healed = self.healed.notified();
        let _under_way = UnderWay::of(&self.under_way);
        match self.next(verb) {
            None => call.await,
            Some(Instead::Silent) => {
                call.await?;
                healed.await;
                Err(lost("and it was not answered"))
            }
            Some(Instead::Lost(Fault::Before)) => Err(lost("before it reached the store")),
            Some(Instead::Lost(Fault::After)) => {
                call.await?;
                Err(lost("after it took effect"))
            }
            Some(Instead::Refused(kind)) => {
                Err(Error::new(kind, format!("{verb}: it is refused on purpose")))
            }
        }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        // Plain numbers: they are whole after every statement.
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call until this is dropped.
struct UnderWay<'a>(&'a AtomicU64);

impl<'a> UnderWay<'a> {
    fn of(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn is_beyond_latin1(change: &Change) -> bool {
    let output = change.output.as_ref().map(|output| output.as_str());
    let error = change.attempt_ended().map(|attempt| attempt.error.as_str());
    let texts = [output, error, change.reason.as_deref()];
    texts.into_iter().flatten().any(|text| text.chars().any(|c| u32::from(c) > 0xff))
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("plan", &*self.plan()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Faults {
    async fn insert(&self, jobs: Arc<Vec<NewJob>>, now: Timestamp) -> Result<Vec<Inserted>, Error> {
        self.call("insert", self.inner.insert(jobs, now)).await
    }

    async fn insert_again(&self, jobs: Arc<Vec<NewJob>>, now: Timestamp) -> Result<Vec<Inserted>, Error> {
        self.call("insert", self.inner.insert_again(jobs, now)).await
    }

    async fn claim(&self, claim: Arc<Claim>, now: Timestamp) -> Result<Vec<JobRow>, Error> {
        self.call("claim", self.inner.claim(claim, now)).await
    }

    async fn commit(&self, changes: Arc<Vec<Change>>) -> Result<Vec<Committed>, Error> {
        if self.plan().latin1 && changes.iter().any(is_beyond_latin1) {
            self.plan().failed += 1;
            let message = "commit: a character has no equivalent in encoding \"LATIN1\"";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        self.call("commit", self.inner.commit(changes)).await
    }

    async fn held(&self, leases: Arc<Vec<(JobId, LeaseId)>>) -> Result<Vec<Held>, Error> {
        self.call("held", self.inner.held(leases)).await
    }

    async fn note(&self, notes: Arc<Vec<Note>>, now: Timestamp) -> Result<(), Error> {
        self.call("note", self.inner.note(notes, now)).await
    }

    async fn holders(&self) -> Result<Vec<Holder>, Error> {
        self.call("holders", self.inner.holders()).await
    }

    async fn declare_dead(&self, worker: &str, beats: Option<u64>, now: Timestamp) -> Result<bool, Error> {
        self.call("declare_dead", self.inner.declare_dead(worker, beats, now)).await
    }

    async fn running_of(
        &self,
        worker: &str,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobRow>, Error> {
        self.call("running_of", self.inner.running_of(worker, after, limit)).await
    }

    async fn expired(&self, limit: usize, now: Timestamp) -> Result<Vec<JobRow>, Error> {
        self.call("expired", self.inner.expired(limit, now)).await
    }

    async fn prune(&self, prune: Arc<Prune>, now: Timestamp) -> Result<u64, Error> {
        self.call("prune", self.inner.prune(prune, now)).await
    }

    async fn delete(&self, id: JobId) -> Result<Deleted, Error> {
        self.call("delete", self.inner.delete(id)).await
    }

    async fn delete_unmoved(&self, jobs: Arc<Vec<(JobId, u64)>>) -> Result<Vec<Deleted>, Error> {
        self.call("delete_unmoved", self.inner.delete_unmoved(jobs)).await
    }

    async fn job(&self, id: JobId) -> Result<Option<JobRow>, Error> {
        self.call("job", self.inner.job(id)).await
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, Error> {
        self.call("attempts", self.inner.attempts(id)).await
    }

    async fn logs(&self, id: JobId, skip: usize, limit: usize) -> Result<Vec<LogLine>, Error> {
        self.call("logs", self.inner.logs(id, skip, limit)).await
    }

    async fn list(
        &self,
        filter: Arc<Filter>,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobRow>, Error> {
        self.call("list", self.inner.list(filter, before, limit)).await
    }

    async fn counts(&self, now: Timestamp) -> Result<Vec<Count>, Error> {
        self.call("counts", self.inner.counts(now)).await
    }

    async fn ahead(&self, job: Arc<JobRow>, limit: u64, now: Timestamp) -> Result<u64, Error> {
        self.call("ahead", self.inner.ahead(job, limit, now)).await
    }

    async fn next_due(
        &self,
        queues: Arc<Vec<String>>,
        kinds: Arc<Vec<String>>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        self.call("next_due", self.inner.next_due(queues, kinds, now)).await
    }

    async fn queues(&self) -> Result<Vec<Queue>, Error> {
        self.call("queues", self.inner.queues()).await
    }

    async fn set_queue(&self, name: &str, setting: QueueSetting) -> Result<(), Error> {
        self.call("set_queue", self.inner.set_queue(name, setting)).await
    }

    async fn beat(&self, worker: Arc<WorkerRow>) -> Result<Beaten, Error> {
        self.call("beat", self.inner.beat(worker)).await
    }

    async fn leave(&self, worker: &str) -> Result<(), Error> {
        self.call("leave", self.inner.leave(worker)).await
    }

    async fn workers(&self, since: Timestamp) -> Result<Vec<WorkerRow>, Error> {
        self.call("workers", self.inner.workers(since)).await
    }

    async fn put_stats(&self, row: Arc<StatsRow>, now: Timestamp) -> Result<(), Error> {
        self.call("put_stats", self.inner.put_stats(row, now)).await
    }

    async fn stats(&self, since: Timestamp, limit: usize) -> Result<Vec<StatsRow>, Error> {
        self.call("stats", self.inner.stats(since, limit)).await
    }

    async fn import(&self, records: Arc<Vec<Record>>) -> Result<u64, Error> {
        self.call("import", self.inner.import(records)).await
    }

    async fn health(&self) -> Result<Health, Error> {
        self.call("health", self.inner.health()).await
    }

    fn wakes(&self) -> &Arc<Wakes> {
        self.inner.wakes()
    }

    async fn close(&self) -> Result<(), Error> {
        self.call("close", self.inner.close()).await
    }
}
