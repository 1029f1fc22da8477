//! Remote workers: who they say they are, their heartbeats, and whose leases they hold.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use backroom_core::{JobRow, Kinds, Timestamp, bounds::check_name, draft::SYSTEM_PREFIX};
use uuid::Uuid;

use super::{LeaseHeld, Leases, RunKey};
use crate::{
    Error, ErrorKind, Process,
    store::{Beaten, WorkerDetails, WorkerRow},
};

/// Heartbeats within a lease: a busy worker calls often, and most calls write none.
const BEATS_PER_LEASE: u32 = 6;
/// Shortest and longest lease of a remote worker.
const LEASE_MIN: Duration = Duration::from_millis(500);
const LEASE_MAX: Duration = Duration::from_secs(3600);
/// Most queues and most kinds of one worker.
const QUEUES_MAX: usize = 256;
const KINDS_MAX: usize = 1000;
/// Most keys of one worker.
const KEYS_MAX: usize = 1000;
/// Most workers that one process remembers. One that is forgotten is read again.
const KNOWN_MAX: usize = 10_000;
/// Runs in one read.
const RUNS_PAGE: usize = 1000;
/// How far back the rows of workers are read to find one.
const READ_BACK: Duration = Duration::from_secs(24 * 3600);

/// A worker outside of this program, as it describes itself in each call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteWorker {
    /// Its name; unique among workers. A process that starts again takes another one.
    pub name: String,
    /// Random, made when its process starts. Another worker with the same name has another one, and is refused.
    pub instance: Uuid,
    /// Who runs it: for a server, the id of its token. Only the same caller can use its leases.
    pub owner: String,
    /// Its machine, for people.
    pub host: String,
    /// The queues that it serves, each with the slots for it.
    pub queues: Vec<(String, u32)>,
    /// The kinds that it takes.
    pub kinds: Kinds,
    /// Of these kinds those that it claims now; none for all. Its row names all of them.
    pub claims: Option<Vec<String>>,
    /// The ids of the keys with which it opens sealed values.
    pub keys: Vec<String>,
    /// How many jobs it runs at once.
    pub slots: u32,
    /// How long it may make no calls before it counts as dead.
    pub lease: Duration,
    /// Whether it claims no more jobs.
    pub stopping: bool,
    /// How many jobs it runs now.
    pub running: u32,
}

impl RemoteWorker {
    /// Checks the bounds.
    pub fn check(&self) -> Result<(), Error> {
        check_name("worker", &self.name)?;
        let invalid = |why: String| {
            Err(Error::new(ErrorKind::Invalid, format!("take the worker {:?}: {why}", self.name)))
        };
        if self.queues.len() > QUEUES_MAX
            || self.kinds.names().len() > KINDS_MAX
            || self.keys.len() > KEYS_MAX
        {
            return invalid(format!(
                "it names more than {QUEUES_MAX} queues, {KINDS_MAX} kinds or {KEYS_MAX} keys"
            ));
        }
        for (queue, _) in &self.queues {
            check_name("queue", queue)?;
            if queue.starts_with(SYSTEM_PREFIX) {
                return invalid(format!("queue {queue:?} is one of Backroom itself"));
            }
        }
        for kind in self.kinds.names() {
            check_name("kind", kind)?;
        }
        for kind in self.claims.iter().flatten() {
            check_name("kind", kind)?;
        }
        for key in &self.keys {
            check_name("key id", key)?;
        }
        if self.host.len() > 256 || self.owner.len() > 256 {
            return invalid("its host or its owner has more than 256 bytes".into());
        }
        if !(LEASE_MIN..=LEASE_MAX).contains(&self.lease) {
            return invalid(format!("a lease of {:?} is out of range; use 500 ms to 1 h", self.lease));
        }
        Ok(())
    }

    /// The kinds that it claims now.
    pub(super) fn claimed_kinds(&self) -> Kinds {
        self.claims.clone().map_or_else(|| self.kinds.clone(), Kinds::from)
    }

    /// Its row. A remote worker has no process that others could see, so only its silence shows that it is dead.
    fn row(&self, beats: u64, started_at: Timestamp, now: Timestamp) -> WorkerRow {
        WorkerRow {
            name: self.name.clone(),
            incarnation: self.instance,
            beats,
            dead: false,
            host: self.host.clone(),
            pid: 0,
            started_at,
            beat_at: now,
            lease_ms: u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX),
            queues: self.queues.clone(),
            kinds: self.kinds.names().to_vec(),
            slots: self.slots,
            running: self.running,
            stopping: self.stopping,
            details: WorkerDetails {
                // Distinguishes it from other workers of its host: workers of one process die together.
                process: Process { boot_id: self.instance.to_string(), ..Process::default() },
                owner: Some(self.owner.clone()),
                any_kind: self.kinds.is_any_but(),
                keys: self.keys.clone(),
                ..WorkerDetails::default()
            },
            ..WorkerRow::default()
        }
    }
}

/// The remote workers that this process has met.
#[derive(Default)]
pub(super) struct Known(HashMap<String, Met>);

/// One remote worker.
struct Met {
    instance: Uuid,
    owner: String,
    started_at: Timestamp,
    /// The reading of the monotonic clock at its last heartbeat here.
    beat_at: Duration,
    /// What that heartbeat said.
    said: RemoteWorker,
    /// Runs under its name that it did not name when it extended last.
    unnamed: HashSet<RunKey>,
}

impl Known {
    /// Replaces the runs that the worker did not name. Returns those that it did not name the last time either.
    pub(super) fn unnamed_again(&mut self, worker: &str, unnamed: HashSet<RunKey>) -> Vec<RunKey> {
        let Some(met) = self.0.get_mut(worker) else { return Vec::new() };
        let again = unnamed.intersection(&met.unnamed).copied().collect();
        met.unnamed = unnamed;
        again
    }

    fn make_place(&mut self) {
        if self.0.len() >= KNOWN_MAX
            && let Some(oldest) =
                self.0.iter().min_by_key(|(_, met)| met.beat_at).map(|(name, _)| name.clone())
        {
            self.0.remove(&oldest);
        }
    }
}

impl Leases {
    /// Says that a worker lives, as each call of it does: for a server that sees this in another way than by its calls. It names no
    /// leases, so nothing is given back.
    pub async fn alive(&self, worker: &RemoteWorker) -> Result<(), Error> {
        worker.check()?;
        self.beat(worker).await?;
        self.write_stats_if_due().await;
        Ok(())
    }

    /// The jobs that run under the name of a worker, as far as this program can read them; at most `limit`, the oldest first.
    pub async fn runs_of(&self, worker: &str, limit: usize) -> Result<Vec<JobRow>, Error> {
        let (mut runs, mut after) = (Vec::new(), None);
        while runs.len() < limit {
            let most = RUNS_PAGE.min(limit - runs.len());
            let page = self.inner.engine.store.running_of(worker, after, most).await?;
            after = page.last().map(|running| running.job.id);
            let is_last = page.len() < most;
            runs.extend(page.into_iter().filter(|running| running.is_whole).map(|running| running.job));
            if is_last {
                break;
            }
        }
        Ok(runs)
    }

    /// Whether each of these leases holds, in order.
    pub async fn status(&self, runs: &[RunKey]) -> Result<Vec<LeaseHeld>, Error> {
        let mut held = Vec::with_capacity(runs.len());
        for chunk in runs.chunks(RUNS_PAGE) {
            let keys = chunk.iter().map(|run| (run.job, run.lease)).collect();
            let answers = self.inner.engine.store.lease_status(Arc::new(keys)).await?;
            held.extend(answers.into_iter().map(LeaseHeld::from));
        }
        Ok(held)
    }

    /// Moves the heartbeat of a worker if that is due. [`Refused`](ErrorKind::Refused) if it was declared dead, or another worker
    /// has its name: then all its leases are lost, and it goes on under another name.
    pub(super) async fn beat(&self, worker: &RemoteWorker) -> Result<(), Error> {
        let engine = &self.inner.engine;
        let reading = engine.clock.monotonic();
        let now = engine.clock.now();
        let started_at = {
            let mut known = self.inner.known();
            match known.0.get_mut(&worker.name) {
                Some(met) if met.instance == worker.instance => {
                    if met.owner != worker.owner {
                        return Err(others(&worker.name));
                    }
                    let is_same = met.said.is_same(worker);
                    if is_same && reading.saturating_sub(met.beat_at) < worker.lease / BEATS_PER_LEASE {
                        return Ok(());
                    }
                    Some(met.started_at)
                }
                Some(_) | None => None,
            }
        };
        let started_at = match started_at {
            Some(started_at) => started_at,
            // Another process may have met it before.
            None => match self.row_of(&worker.name).await? {
                Some(row)
                    if row.incarnation == worker.instance
                        && row.details.owner.as_ref() != Some(&worker.owner) =>
                {
                    return Err(others(&worker.name));
                }
                Some(row) if row.incarnation == worker.instance => row.started_at,
                Some(_) | None => now,
            },
        };
        // Observers only check whether it changes. Several servers may write heartbeats of one worker, so none can count them.
        let beats = u64::from(engine.ids.lease().0.as_fields().0);
        match engine.store.heartbeat(Arc::new(worker.row(beats, started_at, now))).await? {
            Beaten::Alive => {}
            Beaten::Dead => {
                self.inner.known().0.remove(&worker.name);
                return Err(dead(&worker.name));
            }
        }
        let mut known = self.inner.known();
        if let Some(met) = known.0.get_mut(&worker.name).filter(|met| met.instance == worker.instance) {
            (met.beat_at, met.said) = (reading, worker.clone());
            return Ok(());
        }
        known.make_place();
        let met = Met {
            instance: worker.instance,
            owner: worker.owner.clone(),
            started_at,
            beat_at: reading,
            said: worker.clone(),
            unnamed: HashSet::new(),
        };
        known.0.insert(worker.name.clone(), met);
        Ok(())
    }

    /// Whether `owner` runs the worker of this name.
    pub(super) async fn is_owner(&self, worker: &str, owner: &str) -> Result<bool, Error> {
        if let Some(met) = self.inner.known().0.get(worker) {
            return Ok(met.owner == owner);
        }
        let row = self.row_of(worker).await?;
        Ok(row.and_then(|row| row.details.owner).is_some_and(|its| its == owner))
    }

    /// Takes the row of a worker away that has stopped. Its leases are not touched.
    pub async fn leave(&self, worker: &RemoteWorker) -> Result<(), Error> {
        if !self.is_owner(&worker.name, &worker.owner).await? {
            return Err(others(&worker.name));
        }
        self.inner.known().0.remove(&worker.name);
        self.inner.engine.store.deregister(&worker.name).await
    }

    async fn row_of(&self, worker: &str) -> Result<Option<WorkerRow>, Error> {
        let engine = &self.inner.engine;
        let since = backroom_core::bounds::earlier(engine.clock.now(), READ_BACK);
        let rows = engine.store.workers(since).await?;
        Ok(rows.into_iter().find(|row| row.name == worker))
    }
}

impl RemoteWorker {
    /// Whether a heartbeat would say the same but for the jobs that run.
    fn is_same(&self, other: &Self) -> bool {
        let settled = |worker: &Self| Self { running: 0, claims: None, ..worker.clone() };
        settled(self) == settled(other)
    }
}

fn dead(worker: &str) -> Error {
    let message = format!(
        "take a call of worker {worker:?}: it was declared dead because it made no call for its lease, or another worker has its \
         name; its leases are lost, and it can go on under another name"
    );
    Error::new(ErrorKind::Refused, message)
}

fn others(worker: &str) -> Error {
    Error::new(
        ErrorKind::Refused,
        format!("take a call of worker {worker:?}: another caller runs this worker"),
    )
}
