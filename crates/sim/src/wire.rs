//! What lies between one machine and the store all machines share: a wire that can be slow, and on which the model
//! listens to what takes effect.
//!
//! A call that has been sent is carried out even if its sender dies meanwhile, as it is by a server or by a thread
//! that writes. Cutting the wire is [`Faults`](backroom::testing::faults::Faults)' affair, which sits on the
//! machine's side of this one.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use backroom::{
    Error, ErrorKind, Filter, JobRow, Process, Timestamp,
    store::{
        Call, MemoryStore, Store,
        layer::{Answer, Forward, Layer, Request, Verb},
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::Notify;

use crate::{
    model::{Model, Place},
    ties::office::Office,
    world::{MachineClock, World},
};

/// The store itself, with what belongs to it in the simulation.
pub struct Server {
    store: Arc<dyn Store>,
    model: Arc<Mutex<Model>>,
    /// Who hears of effects in the place of the model.
    office: Option<Arc<Office>>,
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
        office: Option<Arc<Office>>,
        world: Arc<World>,
        busy: Arc<AtomicUsize>,
    ) -> Self {
        let (turn, calls) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { store, model, office, world, turn, busy, calls }
    }

    /// Counts a call. Callers in an endless loop get no answer any more, so that the world comes to rest and the loop is
    /// reported.
    async fn admit(&self, verb: Verb) {
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
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("machine", &self.machine).finish_non_exhaustive()
    }
}

impl Layer for Wire {
    fn inner(&self) -> &Arc<dyn Store> {
        &self.server.store
    }

    /// Carries one call to the server and its answer back. The model hears what the call did.
    async fn around<T: Answer>(
        &self,
        mut request: Request,
        call: Call,
        forward: Forward<T>,
    ) -> Result<T, Error> {
        let verb = request.verb();
        if verb == Verb::Close {
            // All machines share the store: one that stops closes an empty store in its place.
            return forward(Arc::new(MemoryStore::new()), request, call).await;
        }
        self.pass().await;
        self.server.admit(verb).await;
        if let Request::Heartbeat { worker } = &mut request {
            // All machines live in one process. With a host of its own, and no process that others see, each is a machine of
            // its own. Otherwise the process would outlive each death, and no crash would be charged.
            let row = Arc::make_mut(worker);
            row.details.process = Process::default();
            row.host.clone_from(&self.machine);
        }
        let (there, back) = (self.draw(), self.draw());
        let (server, clock, machine) =
            (Arc::clone(&self.server), Arc::clone(&self.clock), self.machine.clone());
        let sent = tokio::spawn(async move {
            server.world.sleep(there).await;
            let turn = server.turn.lock().await;
            server.busy.fetch_add(1, Ordering::SeqCst);
            let answer = forward(Arc::clone(&server.store), request.clone(), call).await;
            let doubts = match (&server.office, &answer) {
                (Some(office), Ok(answer)) => office.hear(&request, answer),
                (Some(_) | None, _) => Vec::new(),
            };
            let heard = match &server.office {
                Some(office) => office.resolve(&server.store, doubts).await,
                None => Ok(()),
            };
            let left = if verb == Verb::Prune && server.office.is_none() {
                rows(&server.store).await
            } else {
                Ok(Vec::new())
            };
            server.busy.fetch_sub(1, Ordering::SeqCst);
            let place = Place { machine, machine_latest: clock.latest(), world_now: server.world.now() };
            let mut model = server.model.lock().unwrap_or_else(PoisonError::into_inner);
            match (&answer, heard.as_ref().and(left.as_ref())) {
                (Ok(_), Ok(_)) if server.office.is_some() => {}
                // A batch takes no members any longer.
                (Err(error), _)
                    if server.office.is_some()
                        && error.kind() == ErrorKind::Invalid
                        && error.to_string().contains("batch") => {}
                (Ok(answer), Ok(left)) => model.hear(&place, (&request, call), answer, left),
                (Err(error), _) | (_, Err(error)) => {
                    model.wrong(format!("the store itself failed at {verb}: {error}"));
                }
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
