//! What lies between one machine and the store all machines share: a wire that can be slow, and on which the model
//! listens to what takes effect.
//!
//! A call that has been sent is carried out even if its sender dies meanwhile, as it is by a server or by a thread
//! that writes. Cutting the wire is [`Faults`](backroom::testing::faults::Faults)' affair, which sits on the
//! machine's side of this one.

use std::{
    collections::BTreeSet,
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use backroom::{
    Attempt, Count, Error, ErrorKind, Filter, Health, JobId, JobRow, LeaseId, LogLine, Process, Queue,
    Timestamp, WorkerRow,
    core::{Change, draft::NewJob, stats::StatsRow},
    store::{
        Beaten, Claim, Committed, Deleted, Held, Holder, Inserted, Note, Prune, QueueSetting, Record, Store,
        Wakes,
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::Notify;

use crate::{
    model::{Model, Place},
    world::{MachineClock, World},
};

/// The store itself, with what belongs to it in the simulation.
pub struct Server {
    store: Arc<dyn Store>,
    model: Arc<Mutex<Model>>,
    world: Arc<World>,
    /// One call at a time, so that the model hears of effects in the order they happened.
    turn: tokio::sync::Mutex<()>,
    /// Calls that another thread works on: while there are any, the world is not at rest.
    busy: Arc<AtomicUsize>,
    /// A moment, and how many calls came in it.
    calls: Mutex<(Timestamp, u32)>,
}

/// More calls than this within one moment are a loop that nothing ends.
const CALLS_PER_MOMENT_MAX: u32 = 20_000;

impl Server {
    /// A server for `store`. `busy` counts the calls under way.
    pub fn new(
        store: Arc<dyn Store>,
        model: Arc<Mutex<Model>>,
        world: Arc<World>,
        busy: Arc<AtomicUsize>,
    ) -> Self {
        Self { store, model, world, turn: tokio::sync::Mutex::default(), busy, calls: Mutex::default() }
    }

    /// Counts a call. Callers in an endless loop get no answer any more, so that the world comes to rest and the loop is
    /// reported.
    async fn admit(&self, verb: &str) {
        let now = self.world.now();
        let count = {
            let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            let before = if calls.0 == now { calls.1 } else { 0 };
            *calls = (now, before + 1);
            before + 1
        };
        if count > CALLS_PER_MOMENT_MAX {
            let what =
                format!("more than {CALLS_PER_MOMENT_MAX} calls within one moment, the last one a {verb}");
            self.model.lock().unwrap_or_else(PoisonError::into_inner).wrong(what);
            std::future::pending::<()>().await;
        }
    }

    /// The store, for looking at what it holds.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Calls `check` with every row, the newest first, while no call changes any, so that the model fits them.
    pub async fn with_rows(&self, check: impl FnOnce(Vec<JobRow>)) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        check(rows(&self.store).await?);
        Ok(())
    }
}

async fn rows(store: &Arc<dyn Store>) -> Result<Vec<JobRow>, Error> {
    let (mut rows, mut before) = (Vec::new(), None);
    loop {
        let page = store.list(Arc::new(Filter::default()), before, 500).await?;
        before = page.last().map(|job| job.id);
        let last = page.len() < 500;
        rows.extend(page);
        if last {
            return Ok(rows);
        }
    }
}

/// One machine's connection.
pub struct Wire {
    server: Arc<Server>,
    machine: String,
    clock: Arc<MachineClock>,
    open: AtomicBool,
    opened: Notify,
    lag: Mutex<Lag>,
}

struct Lag {
    most: Duration,
    rng: StdRng,
}

impl Wire {
    /// A fast and open wire.
    pub fn new(server: Arc<Server>, machine: String, clock: Arc<MachineClock>, seed: u64) -> Self {
        let lag = Lag { most: Duration::ZERO, rng: StdRng::seed_from_u64(seed) };
        Self {
            server,
            machine,
            clock,
            open: AtomicBool::new(true),
            opened: Notify::new(),
            lag: Mutex::new(lag),
        }
    }

    /// Nothing comes in or goes out until [`open`](Self::open): the machine does not run.
    pub fn shut(&self) {
        self.open.store(false, Ordering::SeqCst);
    }

    /// The machine runs again.
    pub fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
        self.opened.notify_waiters();
    }

    /// From now on every call takes up to `most` on its way there, and as much on its way back.
    pub fn slow(&self, most: Duration) {
        self.lag().most = most;
    }

    async fn pass(&self) {
        loop {
            let opened = self.opened.notified();
            tokio::pin!(opened);
            opened.as_mut().enable();
            if self.open.load(Ordering::SeqCst) {
                return;
            }
            opened.await;
        }
    }

    fn lag(&self) -> MutexGuard<'_, Lag> {
        self.lag.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self) -> Duration {
        let mut lag = self.lag();
        let most = u64::try_from(lag.most.as_micros()).unwrap_or(u64::MAX);
        if most == 0 { Duration::ZERO } else { Duration::from_micros(lag.rng.random_range(0..=most)) }
    }

    /// Carries one call there and back; `saw` tells the model what it did.
    async fn call<T, C, F>(
        &self,
        verb: &'static str,
        call: C,
        saw: impl FnOnce(&mut Model, &Place, &T) + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        C: FnOnce(Arc<dyn Store>) -> F + Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        self.pass().await;
        self.server.admit(verb).await;
        let (there, back) = (self.draw(), self.draw());
        let (server, clock, machine) =
            (Arc::clone(&self.server), Arc::clone(&self.clock), self.machine.clone());
        let sent = tokio::spawn(async move {
            server.world.sleep(there).await;
            let turn = server.turn.lock().await;
            server.busy.fetch_add(1, Ordering::SeqCst);
            let answer = call(Arc::clone(&server.store)).await;
            server.busy.fetch_sub(1, Ordering::SeqCst);
            let place = Place { machine, machine_latest: clock.latest(), world_now: server.world.now() };
            let mut model = server.model.lock().unwrap_or_else(PoisonError::into_inner);
            match &answer {
                Ok(answer) => saw(&mut model, &place, answer),
                Err(error) => model.wrong(format!("the store itself failed at {verb}: {error}")),
            }
            drop((model, turn));
            answer
        });
        let answer = sent.await.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Internal, format!("{verb}: the store panicked")).caused_by(error))
        });
        self.server.world.sleep(back).await;
        self.pass().await;
        answer
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("machine", &self.machine).finish_non_exhaustive()
    }
}

/// For verbs of which the model need not hear.
fn unseen<T>(_: &mut Model, _: &Place, _: &T) {}

#[async_trait]
impl Store for Wire {
    async fn insert(&self, jobs: Arc<Vec<NewJob>>, now: Timestamp) -> Result<Vec<Inserted>, Error> {
        let new = Arc::clone(&jobs);
        self.call(
            "insert",
            async move |store: Arc<dyn Store>| store.insert(jobs, now).await,
            move |model, place, answers| model.inserted(place, &new, answers, now),
        )
        .await
    }

    async fn insert_again(&self, jobs: Arc<Vec<NewJob>>, now: Timestamp) -> Result<Vec<Inserted>, Error> {
        let new = Arc::clone(&jobs);
        self.call(
            "insert",
            async move |store: Arc<dyn Store>| store.insert_again(jobs, now).await,
            move |model, place, answers| model.inserted(place, &new, answers, now),
        )
        .await
    }

    async fn claim(&self, claim: Arc<Claim>, now: Timestamp) -> Result<Vec<JobRow>, Error> {
        let asked = Arc::clone(&claim);
        self.call(
            "claim",
            async move |store: Arc<dyn Store>| store.claim(claim, now).await,
            move |model, place, jobs| model.claimed(place, &asked, jobs, now),
        )
        .await
    }

    async fn commit(&self, changes: Arc<Vec<Change>>) -> Result<Vec<Committed>, Error> {
        let asked = Arc::clone(&changes);
        self.call(
            "commit",
            async move |store: Arc<dyn Store>| store.commit(changes).await,
            move |model, place, answers| model.committed(place, &asked, answers),
        )
        .await
    }

    async fn held(&self, leases: Arc<Vec<(JobId, LeaseId)>>) -> Result<Vec<Held>, Error> {
        let asked = Arc::clone(&leases);
        self.call(
            "held",
            async move |store: Arc<dyn Store>| store.held(leases).await,
            move |model, place, answers| model.held(place, &asked, answers),
        )
        .await
    }

    async fn note(&self, notes: Arc<Vec<Note>>, now: Timestamp) -> Result<(), Error> {
        self.call("note", async move |store: Arc<dyn Store>| store.note(notes, now).await, unseen).await
    }

    async fn holders(&self) -> Result<Vec<Holder>, Error> {
        self.call("holders", async move |store: Arc<dyn Store>| store.holders().await, unseen).await
    }

    async fn declare_dead(&self, worker: &str, beats: Option<u64>, now: Timestamp) -> Result<bool, Error> {
        let (worker, named) = (worker.to_owned(), worker.to_owned());
        self.call(
            "declare_dead",
            async move |store: Arc<dyn Store>| store.declare_dead(&worker, beats, now).await,
            move |model, place, dead| model.declared_dead(place, &named, *dead),
        )
        .await
    }

    async fn running_of(
        &self,
        worker: &str,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobRow>, Error> {
        let worker = worker.to_owned();
        let call = async move |store: Arc<dyn Store>| store.running_of(&worker, after, limit).await;
        self.call("running_of", call, unseen).await
    }

    async fn expired(&self, limit: usize, now: Timestamp) -> Result<Vec<JobRow>, Error> {
        self.call("expired", async move |store: Arc<dyn Store>| store.expired(limit, now).await, unseen).await
    }

    async fn prune(&self, prune: Arc<Prune>, now: Timestamp) -> Result<u64, Error> {
        let asked = Arc::clone(&prune);
        let answer = self
            .call(
                "prune",
                async move |store: Arc<dyn Store>| {
                    let gone = store.prune(prune, now).await?;
                    let left: BTreeSet<JobId> = rows(&store).await?.into_iter().map(|job| job.id).collect();
                    Ok((gone, left))
                },
                move |model, place, (gone, left)| model.pruned(place, &asked, *gone, left, now),
            )
            .await;
        answer.map(|(gone, _)| gone)
    }

    async fn delete(&self, id: JobId) -> Result<Deleted, Error> {
        self.call(
            "delete",
            async move |store: Arc<dyn Store>| store.delete(id).await,
            move |model, place, answer| model.deleted(place, id, *answer),
        )
        .await
    }

    async fn delete_unmoved(&self, jobs: Arc<Vec<(JobId, u64)>>) -> Result<Vec<Deleted>, Error> {
        let ids: Vec<JobId> = jobs.iter().map(|(id, _)| *id).collect();
        self.call(
            "delete_unmoved",
            async move |store: Arc<dyn Store>| store.delete_unmoved(jobs).await,
            move |model, place, answers: &Vec<Deleted>| {
                ids.iter().zip(answers).for_each(|(id, answer)| model.deleted(place, *id, *answer));
            },
        )
        .await
    }

    async fn job(&self, id: JobId) -> Result<Option<JobRow>, Error> {
        self.call("job", async move |store: Arc<dyn Store>| store.job(id).await, unseen).await
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, Error> {
        self.call("attempts", async move |store: Arc<dyn Store>| store.attempts(id).await, unseen).await
    }

    async fn logs(&self, id: JobId, skip: usize, limit: usize) -> Result<Vec<LogLine>, Error> {
        self.call("logs", async move |store: Arc<dyn Store>| store.logs(id, skip, limit).await, unseen).await
    }

    async fn list(
        &self,
        filter: Arc<Filter>,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobRow>, Error> {
        self.call("list", async move |store: Arc<dyn Store>| store.list(filter, before, limit).await, unseen)
            .await
    }

    async fn counts(&self, now: Timestamp) -> Result<Vec<Count>, Error> {
        self.call("counts", async move |store: Arc<dyn Store>| store.counts(now).await, unseen).await
    }

    async fn ahead(&self, job: Arc<JobRow>, limit: u64, now: Timestamp) -> Result<u64, Error> {
        self.call("ahead", async move |store: Arc<dyn Store>| store.ahead(job, limit, now).await, unseen)
            .await
    }

    async fn next_due(
        &self,
        queues: Arc<Vec<String>>,
        kinds: Arc<Vec<String>>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        self.call(
            "next_due",
            async move |store: Arc<dyn Store>| store.next_due(queues, kinds, now).await,
            unseen,
        )
        .await
    }

    async fn queues(&self) -> Result<Vec<Queue>, Error> {
        self.call("queues", async move |store: Arc<dyn Store>| store.queues().await, unseen).await
    }

    async fn set_queue(&self, name: &str, setting: QueueSetting) -> Result<(), Error> {
        let (name, said) = (name.to_owned(), (name.to_owned(), setting.clone()));
        self.call(
            "set_queue",
            async move |store: Arc<dyn Store>| store.set_queue(&name, setting).await,
            move |model, place, ()| model.queue_set(place, &said.0, &said.1),
        )
        .await
    }

    async fn beat(&self, mut worker: Arc<WorkerRow>) -> Result<Beaten, Error> {
        // All machines live in one process. With a host of its own, and no process that others see, each is a machine of its
        // own. Otherwise the process would outlive each death, and no crash would be charged.
        let row = Arc::make_mut(&mut worker);
        row.details.process = Process::default();
        row.host.clone_from(&self.machine);
        self.call("beat", async move |store: Arc<dyn Store>| store.beat(worker).await, unseen).await
    }

    async fn leave(&self, worker: &str) -> Result<(), Error> {
        let worker = worker.to_owned();
        self.call("leave", async move |store: Arc<dyn Store>| store.leave(&worker).await, unseen).await
    }

    async fn workers(&self, since: Timestamp) -> Result<Vec<WorkerRow>, Error> {
        self.call("workers", async move |store: Arc<dyn Store>| store.workers(since).await, unseen).await
    }

    async fn put_stats(&self, row: Arc<StatsRow>, now: Timestamp) -> Result<(), Error> {
        self.call("put_stats", async move |store: Arc<dyn Store>| store.put_stats(row, now).await, unseen)
            .await
    }

    async fn stats(&self, since: Timestamp, limit: usize) -> Result<Vec<StatsRow>, Error> {
        self.call("stats", async move |store: Arc<dyn Store>| store.stats(since, limit).await, unseen).await
    }

    async fn import(&self, records: Arc<Vec<Record>>) -> Result<u64, Error> {
        self.call("import", async move |store: Arc<dyn Store>| store.import(records).await, unseen).await
    }

    async fn health(&self) -> Result<Health, Error> {
        self.call("health", async move |store: Arc<dyn Store>| store.health().await, unseen).await
    }

    fn wakes(&self) -> &Arc<Wakes> {
        self.server.store.wakes()
    }

    async fn close(&self) -> Result<(), Error> {
        // All machines share the store; a machine that leaves does not close it.
        Ok(())
    }
}
