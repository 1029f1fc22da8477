//! Triggers of a program: added, started, stopped.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backroom::{Backroom, Error, ErrorKind, core::bounds::check_name, ids::Ids};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Bounds, Definition, Intake, Mapping, Source, Status,
    holding::{Holding, Standing},
    runner::{Failures, Runner},
    status::{Activity, Board},
};

/// After so long without a beat, another process takes over an exclusive source.
pub const LEASE_DEFAULT: Duration = Duration::from_secs(15);
/// Most deliveries at once, by default.
const ROWS_DEFAULT: usize = 1000;
/// Most bytes of deliveries at once, by default.
const BYTES_DEFAULT: usize = 8 * 1024 * 1024;

/// Triggers about to be started.
#[must_use = "nothing is read until `start`"]
pub struct Triggers {
    backroom: Backroom,
    added: Vec<Added>,
    lease: Duration,
    bounds: Bounds,
}

struct Added {
    name: String,
    definition: Definition,
    mapping: Mapping,
    /// None for a trigger whose deliveries are pushed.
    source: Option<Box<dyn Source>>,
}

impl Triggers {
    /// No triggers yet.
    pub fn new(backroom: &Backroom) -> Self {
        let bounds = Bounds { rows: ROWS_DEFAULT, bytes: BYTES_DEFAULT };
        Self { backroom: backroom.clone(), added: Vec::new(), lease: LEASE_DEFAULT, bounds }
    }

    /// Adds a trigger. Its name is part of the identity of its deliveries: under another name, they would become jobs again.
    pub fn add(self, name: impl Into<String>, source: impl Source, mapping: Mapping) -> Self {
        self.add_boxed(name, Box::new(source), mapping)
    }

    /// The same for a source whose type is not known.
    pub fn add_boxed(mut self, name: impl Into<String>, source: Box<dyn Source>, mapping: Mapping) -> Self {
        let name = name.into();
        let definition = Definition {
            kind: source.kind().into(),
            source: source.describe(&name),
            mapping: mapping.rule().clone(),
        };
        self.added.push(Added { name, definition, mapping, source: Some(source) });
        self
    }

    /// Adds a trigger whose deliveries the program itself brings, through [`RunningTriggers::intake`]: requests, say. `kind` and
    /// `source` describe it to people.
    pub fn add_pushed(
        mut self,
        name: impl Into<String>,
        kind: &str,
        source: serde_json::Value,
        mapping: Mapping,
    ) -> Self {
        let definition = Definition { kind: kind.into(), source, mapping: mapping.rule().clone() };
        self.added.push(Added { name: name.into(), definition, mapping, source: None });
        self
    }

    /// After so long without a beat, another process takes over an exclusive source. Default 15 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Most deliveries, and most bytes of them, that each trigger has in hand. Default 1,000 and 8 MiB.
    pub fn in_flight(mut self, rows: usize, bytes: usize) -> Self {
        self.bounds = Bounds { rows: rows.max(1), bytes: bytes.max(1) };
        self
    }

    /// Stores what the triggers are, and begins to read their sources. Fails if two have one name, or if the store does.
    pub async fn start(self) -> Result<RunningTriggers, Error> {
        let Self { backroom, added, lease, bounds } = self;
        let ids = Arc::new(Ids::from_entropy());
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let mut triggers = BTreeMap::new();
        let holder = holder();
        for Added { name, definition, mapping, source } in added {
            check_name("trigger", &name)?;
            if triggers.contains_key(&name) {
                let why = format!("start the triggers: two have the name {name:?}");
                return Err(Error::new(ErrorKind::Invalid, why));
            }
            backroom.store().put_trigger(&name, definition.to_json()?, backroom.clock().now()).await?;
            let board = Board::new();
            let intake =
                Intake::new(&backroom, name.as_str().into(), mapping, Arc::clone(&ids), Arc::clone(&board));
            board.show(Activity::Starting, None, backroom.clock().now());
            let is_exclusive = source.as_ref().is_some_and(|source| source.is_exclusive());
            let (standing, watched) = watch::channel(Standing::Unknown);
            let hurry = Arc::new(Notify::new());
            let trigger = Trigger {
                intake: intake.clone(),
                kind: definition.kind,
                hurry: Arc::clone(&hurry),
                standing: watched.clone(),
            };
            let holding = Holding::new(intake.clone(), is_exclusive, holder.clone(), lease);
            let end = CancellationToken::new();
            let ended = end.clone();
            tasks.spawn(async move { holding.run(standing, hurry, ended).await });
            let stop = stop.clone();
            match source {
                Some(source) => {
                    let runner = Runner {
                        source,
                        intake,
                        bounds,
                        standing: watched,
                        stop,
                        failures: Failures::default(),
                    };
                    tasks.spawn(async move {
                        runner.run().await;
                        // The lease ends after the last write under it.
                        end.cancel();
                    });
                }
                None => {
                    tasks.spawn(async move {
                        show_pushed(&intake, watched, &stop).await;
                        end.cancel();
                    });
                }
            }
            triggers.insert(name, trigger);
        }
        Ok(RunningTriggers { triggers, tasks: Mutex::new(tasks), stop })
    }
}

/// Shows whether a trigger takes what is pushed to it.
async fn show_pushed(intake: &Intake, mut standing: watch::Receiver<Standing>, stop: &CancellationToken) {
    loop {
        let (activity, why) = match standing.borrow_and_update().clone() {
            Standing::Unknown => (Activity::Starting, None),
            Standing::Ours(_) => (Activity::Running, None),
            Standing::Paused(reason) => (Activity::Paused, Some(reason)),
            Standing::Standby(holder) => (Activity::Standby, Some(holder)),
            Standing::Unsure(why) => (Activity::Blocked, Some(why)),
        };
        intake.board().show(activity, why, intake.backroom().clock().now());
        tokio::select! {
            () = stop.cancelled() => return,
            changed = standing.changed() => if changed.is_err() { return },
        }
    }
}

/// This process, for people.
fn holder() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "host" } else { host.trim() };
    format!("{host}/{}", std::process::id())
}

/// Triggers that run. Dropped, they stop without waiting; what was in hand comes again.
#[must_use = "dropped, the triggers stop"]
pub struct RunningTriggers {
    triggers: BTreeMap<String, Trigger>,
    /// Those that have not been waited for.
    tasks: Mutex<JoinSet<()>>,
    stop: CancellationToken,
}

struct Trigger {
    intake: Intake,
    kind: String,
    hurry: Arc<Notify>,
    standing: watch::Receiver<Standing>,
}

impl RunningTriggers {
    /// The triggers by name, each with the kind of its source and its status.
    pub fn statuses(&self) -> impl Iterator<Item = (&str, &str, Status)> {
        self.triggers
            .iter()
            .map(|(name, trigger)| (name.as_str(), trigger.kind.as_str(), trigger.intake.board().status()))
    }

    /// The status of one trigger.
    pub fn status(&self, name: &str) -> Option<Status> {
        self.triggers.get(name).map(|trigger| trigger.intake.board().status())
    }

    /// What makes jobs of deliveries that the program brings. None if there is no such trigger.
    pub fn intake(&self, name: &str) -> Option<&Intake> {
        self.triggers.get(name).map(|trigger| &trigger.intake)
    }

    /// Why a trigger is paused, if it is: what is pushed to it is to be refused then.
    pub fn paused(&self, name: &str) -> Option<String> {
        match &*self.triggers.get(name)?.standing.borrow() {
            Standing::Paused(reason) => Some(reason.clone()),
            Standing::Unknown | Standing::Ours(_) | Standing::Standby(_) | Standing::Unsure(_) => None,
        }
    }

    /// Has the triggers ask the store now whether they are paused, instead of within a third of a lease.
    pub fn ask_now(&self) {
        self.triggers.values().for_each(|trigger| trigger.hurry.notify_one());
    }

    /// Ends at once, as a crash does: no lease is ended. For tests.
    #[doc(hidden)]
    pub fn abandon(&self) {
        self.tasks().abort_all();
    }

    /// Stops: what is in hand becomes jobs if the store takes it now, and comes again otherwise. Leases end, so that another process
    /// goes on at once.
    pub async fn stop(&self) {
        self.stop.cancel();
        let mut tasks = std::mem::take(&mut *self.tasks());
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "a task of a trigger panicked");
            }
        }
    }
}

impl RunningTriggers {
    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RunningTriggers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Debug for RunningTriggers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningTriggers").field("triggers", &self.triggers.keys()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Triggers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.added.iter().map(|added| &added.name).collect();
        f.debug_struct("Triggers").field("triggers", &names).finish_non_exhaustive()
    }
}
