//! The seeded simulator: the real client, worker and upkeep of Backroom in a world of several machines that crash,
//! freeze, stop and come back, whose clocks are off and jump, and whose wires are cut, slow or lose calls.
//!
//! A seed decides everything, so a failure repeats. The world is single-threaded and its time moves only when
//! no task has anything left to do; hours pass in moments. Next to the store stands a reference [`model`] that hears
//! of every effect and judges it by rules of its own; after every step all rows are compared with it.
//!
//! Start reading at [`driver`], which runs a seed; [`world`] is its time, [`machine`] what is simulated, [`wire`] where
//! it is listened to.

#![deny(missing_docs)]

pub mod actions;
pub mod callers;
pub mod drafts;
pub mod driver;
pub mod handlers;
pub mod invariants;
pub mod machine;
pub mod model;
pub mod schedules;
pub mod ties;
pub mod wire;
pub mod world;

use std::{
    fmt, io,
    panic::{self, PanicHookInfo},
    path::Path,
    sync::{
        Arc, Mutex, Once, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use backroom::{
    Durability, Error,
    store::{
        MemoryStore, Store,
        sqlite::{SqliteOptions, SqliteStore},
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::Notify;

use driver::Driver;
use handlers::{SCRIPTED, Stage};
use machine::Parts;
use model::{Model, Tally};
use ties::{driver::Ties, office::Office};
use wire::Server;
use world::World;

/// The result of one seed.
#[derive(Debug, Clone)]
pub struct Played {
    /// The seed.
    pub seed: u64,
    /// The store.
    pub on: On,
    /// What might befall the machines.
    pub weather: Weather,
    /// The first thing that went wrong.
    pub wrong: Option<String>,
    /// Everything that happened, in order.
    pub trace: Vec<String>,
    /// How often what happened.
    pub tally: Tally,
}

/// Which store a seed is played on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// In memory: a seed decides everything.
    Memory,
    /// A real file. Its threads keep their own time, so a seed decides what is done and not quite in which order.
    Sqlite,
}

/// What may befall the machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Whatever the seed says, nothing at all included.
    Any,
    /// Only what befalls all of them at once: the store goes away, or the whole world sleeps. No machine dies or is
    /// cut off alone, so no job may be rescued.
    Outages,
    /// Clocks are set, go wrong and stand still, and now and then a worker dies; nothing else. No living worker's job may be rescued.
    Clocks,
    /// Whatever the seed says, while schedules fire.
    Schedules,
    /// Some jobs take their process down, and it is started again; nothing else goes wrong. Only those jobs may be discarded as
    /// poison.
    Killers,
    /// Whatever the seed says, to workflows, graphs and batches in the place of plain jobs.
    Ties,
}

/// Plays a seed on a memory store.
pub fn play(seed: u64) -> io::Result<Played> {
    play_on(seed, On::Memory, Weather::Any)
}

/// Plays a seed on an empty store.
pub fn play_on(seed: u64, on: On, weather: Weather) -> io::Result<Played> {
    hush_scripted_panics();
    let (at_rest, busy) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.on_thread_park({
        let (at_rest, busy) = (Arc::clone(&at_rest), Arc::clone(&busy));
        // No task has anything left to do, and no other thread is about to change that.
        move || {
            if busy.load(Ordering::SeqCst) == 0 {
                at_rest.notify_waiters();
            }
        }
    });
    // Deadlines of the store's decorator count real time, and none comes near in a simulation.
    let runtime = runtime.enable_time().build()?;

    let world = Arc::new(World::default());
    let model = Arc::new(Mutex::new(Model::default()));
    let stage = Arc::new(Stage::new(Arc::clone(&model)));
    let folder = tempfile::tempdir()?;
    let store = runtime.block_on(open(on, folder.path())).map_err(io::Error::other)?;
    let office = (weather == Weather::Ties).then(|| Arc::new(Office::new(Arc::clone(&model))));
    let (of_server, of_model) = (office.clone(), Arc::clone(&model));
    let server = Arc::new(Server::new(Arc::clone(&store), of_model, of_server, Arc::clone(&world), busy));
    let mut rng = StdRng::seed_from_u64(seed);
    let lease = Duration::from_secs(if rng.random() { 30 } else { 10 });
    let poll = Duration::from_secs(if rng.random() { 1 } else { 5 });
    let parts = Parts { world, server, stage, office: office.clone(), lease, poll, prompt: on == On::Memory };
    let ended = match office {
        Some(office) => runtime.block_on(Ties::new(parts, office, rng, at_rest).run()),
        None => runtime.block_on(Driver::new(parts, rng, weather, at_rest).run()),
    };
    // Tasks that wait for a frozen machine end here; what they still do is of no interest.
    let (wrong, trace, tally) = {
        let mut model = model.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = ended {
            model.wrong(format!("the simulation itself failed: {error}"));
        }
        (model.first_wrong().map(str::to_owned), model.trace().to_vec(), model.tally)
    };
    runtime.block_on(store.close()).map_err(io::Error::other)?;
    Ok(Played { seed, on, weather, wrong, trace, tally })
}

async fn open(on: On, folder: &Path) -> Result<Arc<dyn Store>, Error> {
    match on {
        On::Memory => Ok(Arc::new(MemoryStore::new())),
        On::Sqlite => {
            // No power is lost here, and a thousand times less is waited for the disk.
            let mut options = SqliteOptions::default();
            options.durability = Durability::Relaxed;
            Ok(Arc::new(SqliteStore::open(folder.join("backroom.db"), options).await?))
        }
    }
}

impl Played {
    /// What went wrong, with the end of the trace and how to see it again.
    pub fn report(&self) -> Option<String> {
        let wrong = self.wrong.as_ref()?;
        let last = self.trace.len().saturating_sub(40);
        let trace = self.trace[last..].join("\n");
        let seed = self.seed;
        let on = if self.on == On::Sqlite { " --sqlite" } else { "" };
        let weather = match self.weather {
            Weather::Any => "",
            Weather::Outages => " --outages",
            Weather::Clocks => " --clocks",
            Weather::Killers => " --killers",
            Weather::Schedules => " --schedules",
            Weather::Ties => " --ties",
        };
        Some(format!(
            "seed {seed}: {wrong}\n{trace}\nsee it again: cargo run -p backroom-sim -- --from {seed} --seeds 1{on}{weather} --trace"
        ))
    }

    /// Fails a test with the report if something went wrong.
    ///
    /// # Panics
    /// Then.
    pub fn expect_right(&self) {
        if let Some(report) = self.report() {
            panic!("{report}");
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} jobs stored, {} claims, {} completed, {} unsuccessful runs, {} rescued, \
             {} gone, {} stale reports, {} duplicates, {} workflows, {} went on after a retry, {} steps undone, {} children, {} batches",
            self.stored,
            self.claimed,
            self.completed,
            self.unsuccessful,
            self.rescued,
            self.gone,
            self.stale,
            self.duplicates,
            self.flows,
            self.resumed,
            self.undone,
            self.children,
            self.batches
        )
    }
}

/// Panics of the play are part of it; their messages would bury the others.
fn hush_scripted_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            let scripted = info.payload().downcast_ref::<String>().is_some_and(|said| said == SCRIPTED);
            if !scripted {
                before(info);
            }
        }));
    });
}
