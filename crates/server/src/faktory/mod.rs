//! A listener for clients of Faktory: they enqueue and run jobs of this store, unchanged.
//!
//! `listener` accepts, `connection` converses, `line` and `hello` read what comes first, `command` reads the rest, and `commands` has
//! a file for each group of them. Jobs become [`pushed`] and are [`delivered`]; in between they are jobs as any others. Each worker
//! of a client is a worker of the library: it claims, and its ends are recorded, as those of workers that ask over HTTP.
//!
//! What the protocol has no word for is known here only: [`runs`] finds the lease of a jid, [`workers`] knows who is connected.
//! Both are read from the store again after a restart.

mod command;
mod commands;
mod compact;
mod connection;
mod delivered;
mod failures;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod glob;
mod hello;
mod jid;
mod line;
mod listener;
mod liveness;
mod pushed;
mod reply;
mod runs;
mod session;
#[cfg(test)]
mod tests;
mod unanswered;
mod watch;
mod workers;

use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize},
    },
    time::Duration,
};

use backroom::{ErrorKind, JobRow, Kinds, LeaseId, RemoteWorker, RunKey};

pub(crate) use self::{
    command::Command,
    listener::{Listener, Serving},
};
use self::{
    line::Budget,
    reply::Refusal,
    runs::{OF_WORKER_MAX, Run, Runs},
    unanswered::UnansweredCalls,
    workers::{Joined, Workers},
};
use crate::serve::AppState;

/// The port of the protocol.
pub(crate) const ADDRESS_DEFAULT: &str = "127.0.0.1:7419";
/// How often a worker takes another name before the server gives up.
const NAMES_MAX: u32 = 1000;

/// What all connections share.
pub(crate) struct Faktory {
    state: AppState,
    /// The kinds that these workers take: all but those that the settings define.
    kinds: Kinds,
    runs: Mutex<Runs>,
    unanswered: Mutex<UnansweredCalls>,
    workers: Mutex<Workers>,
    /// Queues that a client removed and that no job was pushed to since.
    removed: Mutex<HashSet<String>>,
    budget: Budget,
    /// The reading of the monotonic clock at the start.
    began_at: Duration,
    connections: AtomicUsize,
    commands: AtomicU64,
    processed: AtomicU64,
    failed: AtomicU64,
}

impl Faktory {
    pub(crate) fn new(state: AppState) -> Self {
        // Those of the settings run elsewhere, and a Faktory client cannot open what is sealed.
        let settings = state.settings.now();
        let sealed =
            settings.sensitive.iter().filter(|(_, kind)| kind.sealed.is_some()).map(|(name, _)| name);
        let kinds = settings.kinds.keys().chain(sealed).cloned().collect();
        Self {
            began_at: state.backroom.clock().monotonic(),
            kinds: Kinds::AnyBut(kinds),
            state,
            runs: Mutex::default(),
            unanswered: Mutex::default(),
            workers: Mutex::default(),
            removed: Mutex::default(),
            budget: Budget::new(),
            connections: AtomicUsize::new(0),
            commands: AtomicU64::new(0),
            processed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Whether a queue is for some tokens only. These clients have none, so they can at most push into it.
    fn is_secure(&self, queue: &str) -> bool {
        self.state.access.is_secure(queue)
    }

    fn now(&self) -> Duration {
        self.state.backroom.clock().monotonic()
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unanswered(&self) -> MutexGuard<'_, UnansweredCalls> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn workers(&self) -> MutexGuard<'_, Workers> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn removed(&self) -> MutexGuard<'_, HashSet<String>> {
        self.removed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a worker that sends heartbeats may be silent.
    fn lease(&self) -> Duration {
        self.state.settings.now().faktory.lease
    }

    /// A connection of a worker begins. The first one reads which jobs the worker has: it may have fetched them from another server,
    /// or before a restart.
    async fn join(&self, wid: &str, host: &str) -> Result<Joined, Refusal> {
        let joined = self.workers().join(wid, true, host, self.now());
        if joined.is_first
            && let Err(refusal) = self.meet(wid).await
        {
            self.workers().leave(wid);
            return Err(refusal);
        }
        Ok(joined)
    }

    /// A connection without a name fetches: it is a worker of its own.
    fn join_unnamed(&self, host: &str) -> Joined {
        let wid = format!("connection-{}", self.state.ids.lease().0.simple());
        self.workers().join(&wid, false, host, self.now())
    }

    /// Writes the first heartbeat of a worker, and finds its jobs.
    async fn meet(&self, wid: &str) -> Result<(), Refusal> {
        let worker = self.alive(wid).await?;
        let runs = self.state.leases.runs_of(&worker.name, OF_WORKER_MAX).await?;
        for job in &runs {
            self.adopt(wid, job);
        }
        Ok(())
    }

    /// Says that a worker lives. If its name was declared dead meanwhile, its jobs run elsewhere, and it goes on under another one.
    async fn alive(&self, wid: &str) -> Result<RemoteWorker, Refusal> {
        for _ in 0..NAMES_MAX {
            let worker = self.described(wid).ok_or_else(|| Refusal::new(format!("unknown worker {wid}")))?;
            match self.state.leases.alive(&worker).await {
                Ok(()) => return Ok(worker),
                Err(error) if error.kind() == ErrorKind::Refused => self.lost(wid, &worker.name),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Refusal::new(format!("worker {wid} was declared dead again and again")))
    }

    /// The name of a worker was declared dead: what it had runs elsewhere.
    fn lost(&self, wid: &str, name: &str) {
        let gone = self.runs().drain(|run| &*run.wid == wid);
        tracing::info!(
            worker = name,
            jobs = gone.len(),
            "a worker of a Faktory client was silent for its lease and was declared dead; it goes on under another name"
        );
        self.workers().rename(wid, name);
    }

    /// A worker as the library knows it; none if it is unknown.
    fn described(&self, wid: &str) -> Option<RemoteWorker> {
        let running = self.runs().count_of(wid);
        let lease = self.lease();
        self.workers().get(wid).map(|member| member.described(&self.kinds, lease, running))
    }

    /// Remembers a job that a worker has.
    fn adopt(&self, wid: &str, job: &JobRow) {
        let Some(lease) = job.lease_id else { return };
        self.remember(wid, job, lease);
    }

    fn remember(&self, wid: &str, job: &JobRow, lease: LeaseId) {
        let rest = pushed::Rest::read(&job.extras.meta);
        let is_pushed = job.extras.meta.contains_key(jid::META);
        let run = Run {
            key: RunKey { job: job.id, lease },
            wid: wid.into(),
            until: self.now().saturating_add(delivered::reserved_for(job)),
            attempt: job.attempt,
            retry: is_pushed.then(|| rest.retry.unwrap_or_else(|| i64::from(job.max_attempts) - 1)),
            backtrace: rest.backtrace.map_or(0, |lines| usize::try_from(lines).unwrap_or(0)),
        };
        self.runs().add(jid::of(job), run);
    }
}
