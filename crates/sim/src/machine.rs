//! One simulated machine: a clock, a wire, a client and a worker, and what can befall them.

use std::{fmt, sync::Arc, time::Duration};

use backroom::{
    Backroom, Error, Neighbours, Options, QueueOrder, RunningWorker, Stopped, Timestamp, Worker,
    clock::Clock as _,
    testing::faults::{Fault, Faults},
};
use jiff::SignedDuration;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::task::JoinHandle;

use crate::{
    drafts::{QUEUES, pick},
    handlers::{self, KINDS, Stage},
    ties::office::Office,
    wire::{Server, Wire},
    world::{MachineClock, World},
};

/// What all machines of a run are built from.
pub struct Parts {
    /// True time.
    pub world: Arc<World>,
    /// The store.
    pub server: Arc<Server>,
    /// What handlers share.
    pub stage: Arc<Stage>,
    /// Where work made of jobs is simulated: its handlers, in the place of those of the stage.
    pub office: Option<Arc<Office>>,
    /// Liveness of every worker.
    pub lease: Duration,
    /// How often idle workers poll.
    pub poll: Duration,
    /// Whether the store's hints come within the moment, so that a due job must be taken at once.
    pub prompt: bool,
}

/// A machine that was started; it may be paused, cut off, or stopping.
pub struct Machine {
    /// Its place in the fleet.
    pub index: usize,
    /// Unique over the whole run: a restart makes another.
    pub name: String,
    /// Its time.
    pub clock: Arc<MachineClock>,
    /// Its client.
    pub backroom: Backroom,
    /// What its worker serves: queues and kinds.
    pub serves: (Vec<String>, Vec<&'static str>),
    /// Its worker's slots.
    pub slots: u32,
    /// Whether its worker does upkeep.
    pub upkeep: bool,
    /// When it started.
    pub started_at: Timestamp,
    /// When something last befell it that may keep it from its work.
    pub troubled_at: Timestamp,
    /// When its wall clock was last set, or its pace.
    pub set_at: Timestamp,
    /// Whether it does not run now.
    pub paused: bool,
    /// Whether its wire is cut now.
    pub cut: bool,
    /// Whether its wire is slow now.
    pub slow: bool,
    /// Whether anything ever befell it.
    pub ever_troubled: bool,
    wire: Arc<Wire>,
    faults: Arc<Faults>,
    worker: Option<RunningWorker>,
    stop: Option<JoinHandle<Result<Stopped, Error>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Machine {
    /// Starts the machine `index` with a worker drawn from `seed`. The first of the fleet serves everything, so that
    /// nothing is left over for want of a worker.
    pub async fn start(
        parts: &Parts,
        index: usize,
        generation: usize,
        seed: u64,
        offset: SignedDuration,
    ) -> Result<Self, Error> {
        let mut rng = StdRng::seed_from_u64(seed);
        let name = format!("m{index}.{generation}");
        let drift_ppm = rng.random_range(-5_000..5_000);
        let clock = Arc::new(MachineClock::new(Arc::clone(&parts.world), offset, drift_ppm));
        let (server, wire_seed) = (Arc::clone(&parts.server), rng.random());
        let wire = Arc::new(Wire::new(server, name.clone(), Arc::clone(&clock), wire_seed));
        let faults = Arc::new(Faults::new(Arc::clone(&wire) as _));
        let options = Options::new().clock(Arc::clone(&clock) as _).seed(rng.random());
        let backroom = options.over(Arc::clone(&faults) as _);
        let (order, slots) = (order(&mut rng, index), rng.random_range(1..6));
        let upkeep = index == 0 || rng.random_bool(0.7);
        let mut kinds = Vec::new();
        let queues = match &order {
            QueueOrder::Strict(queues) => queues.clone(),
            QueueOrder::Weighted(queues) => queues.iter().map(|(queue, _)| queue.clone()).collect(),
        };
        let mut worker = Worker::new(&backroom)
            .name(name.clone())
            .lease(parts.lease)
            .poll(parts.poll)
            .grace(Duration::from_millis(rng.random_range(0..10_000)))
            .cancel_grace(Duration::from_millis(rng.random_range(0..5_000)))
            .upkeep(upkeep)
            .neighbours(Arc::new(Neighbours::new()))
            .queues(order, slots);
        if let Some(office) = &parts.office {
            worker = office.register(worker);
        }
        for kind in KINDS.into_iter().filter(|_| parts.office.is_none()) {
            if index == 0 || rng.random_bool(0.8) || kind == KINDS[0] {
                worker = handlers::register(worker, kind, &parts.stage);
                kinds.push(kind);
            }
        }
        let worker = worker.start().await?;
        Ok(Self {
            index,
            name,
            clock,
            backroom,
            serves: (queues, kinds),
            slots,
            upkeep,
            started_at: parts.world.now(),
            troubled_at: parts.world.now(),
            set_at: parts.world.now(),
            paused: false,
            cut: false,
            slow: false,
            ever_troubled: false,
            wire,
            faults,
            worker: Some(worker),
            stop: None,
            tasks: Vec::new(),
        })
    }

    /// Does something in the machine's own process: it dies with it.
    pub fn does(&mut self, what: impl Future<Output = ()> + Send + 'static) {
        self.tasks.retain(|task| !task.is_finished());
        self.tasks.push(tokio::spawn(what));
    }

    /// Whether its worker is at work.
    pub fn works(&self) -> bool {
        self.worker.is_some()
    }

    /// Whether its worker has a free slot.
    pub fn has_free_slot(&self) -> bool {
        self.worker.as_ref().is_some_and(|worker| worker.running() < self.slots)
    }

    /// Whether its worker was asked to stop and has not yet.
    pub fn stops(&self) -> bool {
        self.stop.is_some()
    }

    /// How its worker stopped, once it has.
    pub async fn stopped(&mut self) -> Option<Result<Stopped, Error>> {
        if !self.stop.as_ref()?.is_finished() {
            return None;
        }
        let ended = self.stop.take()?.await;
        Some(ended.unwrap_or_else(|error| {
            Err(Error::new(backroom::ErrorKind::Internal, "stop the worker").caused_by(error))
        }))
    }

    /// Whether nothing keeps it from its work.
    pub fn is_well(&self) -> bool {
        self.works() && !self.paused && !self.cut && !self.slow
    }

    /// Whether callers on this machine still wait for an answer.
    pub fn has_callers(&self) -> bool {
        self.tasks.iter().any(|task| !task.is_finished())
    }

    /// How many of its calls failed.
    pub fn failed_calls(&self) -> u64 {
        self.faults.failed()
    }

    /// Begins to stop in order.
    pub fn stop(&mut self) {
        if let Some(worker) = self.worker.take() {
            self.stop = Some(tokio::spawn(worker.stop()));
        }
    }

    /// Ends at once. Killed, it also sends nothing any more; otherwise its worker was dropped in a process that goes
    /// on, and must be silent by itself.
    pub fn crash(mut self, killed: bool) {
        if killed {
            self.wire.shut();
            self.clock.freeze();
        }
        self.tasks.drain(..).for_each(|task| task.abort());
        if let Some(stop) = self.stop.take() {
            stop.abort();
        }
        drop(self.worker.take());
    }

    /// Stops running, as if the process or the whole machine were frozen.
    pub fn pause(&mut self) {
        self.paused = true;
        self.wire.shut();
        self.clock.freeze();
    }

    /// Runs again, and finds that time has passed.
    pub fn resume(&mut self) {
        self.paused = false;
        self.clock.thaw();
        self.wire.open();
    }

    /// Cuts it off from the store.
    pub fn cut(&mut self, fault: Fault) {
        self.cut = true;
        self.faults.cut(fault);
    }

    /// Cuts it off from writing; it still reads.
    pub fn cut_writes(&mut self, fault: Fault) {
        self.cut = true;
        self.faults.cut_writes(fault);
    }

    /// Loses one of its next calls.
    pub fn lose_call(&mut self, nth: u64, fault: Fault) {
        self.faults.fail_call(nth, fault);
    }

    /// Makes its wire slow (or fast again, with zero).
    pub fn slow(&mut self, most: Duration) {
        self.slow = !most.is_zero();
        self.wire.slow(most);
    }

    /// Mends its wire.
    pub fn heal(&mut self) {
        self.cut = false;
        self.faults.heal();
        self.slow(Duration::ZERO);
    }
}

fn order(rng: &mut StdRng, index: usize) -> QueueOrder {
    let mut queues: Vec<&str> = QUEUES.into_iter().filter(|_| index == 0 || rng.random_bool(0.7)).collect();
    if queues.is_empty() {
        queues.push(pick(rng, &QUEUES));
    }
    if rng.random_bool(0.5) {
        QueueOrder::strict(queues)
    } else {
        QueueOrder::weighted(
            queues.into_iter().map(|queue| (queue, rng.random_range(1..4))).collect::<Vec<_>>(),
        )
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("name", &self.name)
            .field("now", &self.clock.now())
            .field("serves", &self.serves)
            .field("slots", &self.slots)
            .field("running", &self.worker.as_ref().map(RunningWorker::running))
            .field("troubled_at", &self.troubled_at)
            .finish_non_exhaustive()
    }
}
