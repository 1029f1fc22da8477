//! The workers that clients run: one for each `wid`, whatever number of connections it has.
//!
//! Each has a row among the workers of the store, under a name made from its `wid`. Once that name was declared dead, it goes on under
//! the next one. The name is the same at every server and after a restart, so a worker can finish there what it fetched here.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use backroom::{Kinds, RemoteWorker};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::liveness::Signs;

/// Most queues that are shown of a worker.
const QUEUES_MAX: usize = 100;
/// Who runs these workers, in their rows.
const OWNER: &str = "faktory";

/// How far a worker has been asked to stop. It never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// It fetches jobs.
    Running,
    /// It fetches no more.
    Quiet,
    /// It ends soon.
    Terminate,
}

impl Stage {
    /// As clients write it.
    pub(super) fn read(text: &str) -> Option<Self> {
        match text {
            "" | "running" => Some(Self::Running),
            "quiet" => Some(Self::Quiet),
            "terminate" => Some(Self::Terminate),
            _ => None,
        }
    }

    /// As clients read it; none while it runs.
    pub(super) const fn name(self) -> Option<&'static str> {
        match self {
            Self::Running => None,
            Self::Quiet => Some("quiet"),
            Self::Terminate => Some("terminate"),
        }
    }
}

/// One worker.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) wid: Arc<str>,
    /// Whether the client named it.
    pub(super) is_named: bool,
    host: String,
    /// Which of its names it has.
    generation: u32,
    connections: usize,
    /// The reading of the monotonic clock at its last command.
    heard_at: Duration,
    beats: bool,
    pub(super) stage: Stage,
    queues: BTreeSet<String>,
    /// The most jobs that it has had at once.
    slots: u32,
    /// Cancelled when its connections are to be closed.
    pub(super) cut: CancellationToken,
}

impl Member {
    /// Its name in the store.
    pub(super) fn name(&self) -> String {
        match self.generation {
            1 => format!("faktory/{}", self.wid),
            later => format!("faktory/{}#{later}", self.wid),
        }
    }

    /// As the library knows it.
    pub(super) fn described(&self, kinds: &Kinds, lease: Duration, running: usize) -> RemoteWorker {
        let name = self.name();
        RemoteWorker {
            instance: instance_of(&name),
            name,
            owner: OWNER.into(),
            host: self.host.clone(),
            queues: self.queues.iter().map(|queue| (queue.clone(), self.slots)).collect(),
            kinds: kinds.clone(),
            claims: None,
            keys: Vec::new(),
            slots: self.slots,
            lease,
            stopping: self.stage > Stage::Running,
            running: u32::try_from(running).unwrap_or(u32::MAX),
        }
    }

    pub(super) fn signs(&self, now: Duration, runs: usize) -> Signs {
        Signs {
            silent: now.saturating_sub(self.heard_at),
            beats: self.beats,
            is_named: self.is_named,
            connections: self.connections,
            runs,
        }
    }
}

/// The same for each process that meets the worker under this name.
fn instance_of(name: &str) -> uuid::Uuid {
    let hash = Sha256::digest(name);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Workers(HashMap<Arc<str>, Member>);

/// What a connection that joins learns.
pub(super) struct Joined {
    pub(super) wid: Arc<str>,
    pub(super) cut: CancellationToken,
    /// Whether it is the first of its worker.
    pub(super) is_first: bool,
}

impl Workers {
    /// A connection of a worker begins.
    pub(super) fn join(&mut self, wid: &str, is_named: bool, host: &str, now: Duration) -> Joined {
        if let Some(member) = self.0.get_mut(wid) {
            member.connections += 1;
            member.heard_at = now;
            return Joined { wid: Arc::clone(&member.wid), cut: member.cut.clone(), is_first: false };
        }
        let wid: Arc<str> = wid.into();
        let member = Member {
            wid: Arc::clone(&wid),
            is_named,
            host: backroom::core::bounds::clip(host, 256),
            generation: 1,
            connections: 1,
            heard_at: now,
            beats: false,
            stage: Stage::Running,
            queues: BTreeSet::new(),
            slots: 1,
            cut: CancellationToken::new(),
        };
        let cut = member.cut.clone();
        self.0.insert(Arc::clone(&wid), member);
        Joined { wid, cut, is_first: true }
    }

    /// A connection of a worker has ended.
    pub(super) fn leave(&mut self, wid: &str) {
        if let Some(member) = self.0.get_mut(wid) {
            member.connections = member.connections.saturating_sub(1);
        }
    }

    pub(super) fn get(&self, wid: &str) -> Option<&Member> {
        self.0.get(wid)
    }

    pub(super) fn remove(&mut self, wid: &str) -> Option<Member> {
        self.0.remove(wid)
    }

    pub(super) fn all(&self) -> Vec<Member> {
        self.0.values().cloned().collect()
    }

    /// A command of the worker has come.
    pub(super) fn heard(&mut self, wid: &str, now: Duration) {
        if let Some(member) = self.0.get_mut(wid) {
            member.heard_at = now;
        }
    }

    /// A heartbeat of the worker has come. Answers its stage; none if it is unknown.
    pub(super) fn beat(&mut self, wid: &str, says: Stage, now: Duration) -> Option<Stage> {
        let member = self.0.get_mut(wid)?;
        (member.heard_at, member.beats) = (now, true);
        member.stage = member.stage.max(says);
        Some(member.stage)
    }

    /// The worker asks for jobs of these queues, and has so many.
    pub(super) fn fetches(&mut self, wid: &str, queues: &[String], running: usize) {
        let Some(member) = self.0.get_mut(wid) else { return };
        for queue in queues {
            if member.queues.len() < QUEUES_MAX && !member.queues.contains(queue) {
                member.queues.insert(queue.clone());
            }
        }
        member.slots = member.slots.max(u32::try_from(running + 1).unwrap_or(u32::MAX));
    }

    /// The name `before` of the worker was declared dead: it takes the next one, unless another connection did that already.
    pub(super) fn rename(&mut self, wid: &str, before: &str) {
        if let Some(member) = self.0.get_mut(wid)
            && member.name() == before
        {
            member.generation += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_one_worker_share_its_state() {
        let mut workers = Workers::default();
        let secs = Duration::from_secs;
        assert!(workers.join("w", true, "host", secs(1)).is_first);
        assert!(!workers.join("w", true, "host", secs(2)).is_first);
        assert_eq!(workers.get("w").unwrap().connections, 2);
        assert_eq!(workers.beat("w", Stage::Quiet, secs(3)), Some(Stage::Quiet));
        assert_eq!(workers.beat("w", Stage::Running, secs(4)), Some(Stage::Quiet), "never backwards");
        assert_eq!(workers.beat("other", Stage::Running, secs(4)), None);
        workers.leave("w");
        workers.leave("w");
        workers.leave("w");
        let signs = workers.get("w").unwrap().signs(secs(9), 3);
        assert_eq!((signs.silent, signs.connections, signs.beats, signs.runs), (secs(5), 0, true, 3));
    }

    #[test]
    fn a_worker_that_was_declared_dead_takes_its_next_name_once() {
        let mut workers = Workers::default();
        workers.join("w", true, "host", Duration::ZERO);
        let name = |workers: &Workers| workers.get("w").unwrap().name();
        let first = name(&workers);
        assert_eq!(first, "faktory/w");
        workers.rename("w", &first);
        workers.rename("w", &first);
        assert_eq!(name(&workers), "faktory/w#2");
        let instance = |name: &str| instance_of(name);
        assert_ne!(instance("faktory/w"), instance("faktory/w#2"));
    }
}
