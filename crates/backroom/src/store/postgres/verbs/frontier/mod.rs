//! How far each queue is claimed: where the next claim begins its walk of the index.
//!
//! Each claimed job leaves a dead entry in the index that claims walk. Vacuum removes dead entries, but not while any
//! transaction of the database is open that may still see them. Then every claim walks all of them again, and a claim that
//! should take half a millisecond takes a hundred. So a process remembers for each queue and priority which place its claims
//! have reached, and begins there.
//!
//! A job may still be stored behind that place: enqueued by a machine whose clock is behind, committed late, or queued
//! again when its worker died. So every claim walks all as long as the server counts few dead rows, or a walk of all is
//! quick all the same. Otherwise the place that is used lies behind the one that was reached, and now and then a claim
//! walks all. Such walks take about a tenth of the time. A job behind the place waits for the next one, about a second.
//! A process that stores a job behind the present notifies the others. Each process counts these notifications, and the
//! next claim of each queue walks all: one claim says nothing about queues that it did not walk.

mod of_queue;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use backroom_core::{JobRow, Kinds, Timestamp, bounds::earlier};
use uuid::Uuid;

use self::of_queue::{LAG, OfQueue, PRIORITIES};

/// From so many dead rows on it is worth avoiding walks. Fewer come and go between two vacuums.
const DEAD_ROWS: i64 = 20_000;
/// Queues that are remembered, over all sets of kinds. Beyond it all are forgotten, and walked again.
const QUEUES_MAX: usize = 10_000;

/// Whether a job that is stored now, and due at a moment, may lie behind the places that claims use.
pub(crate) fn is_behind(due_at: Timestamp, now: Timestamp) -> bool {
    due_at < earlier(now, LAG)
}

/// The places of one process.
#[derive(Debug, Default)]
pub(crate) struct Frontiers {
    known: Mutex<Known>,
    /// How often a job was stored behind the present.
    put_behind: AtomicU64,
    /// The server counts many dead rows.
    is_littered: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    /// By the kinds that are asked for: a walk passes over jobs of other kinds.
    of_kinds: HashMap<Arc<Kinds>, HashMap<String, OfQueue>>,
    queues: usize,
}

/// Where a claim of several queues begins, by queue and priority: moments and ids, the queues one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) at: Vec<Timestamp>,
    pub(crate) ids: Vec<Uuid>,
    /// By queue: whether that is before all jobs.
    is_all: Vec<bool>,
    /// How often a job had been stored behind the present by then.
    put_behind: u64,
}

impl Begin {
    fn new(put_behind: u64) -> Self {
        Self { at: Vec::new(), ids: Vec::new(), is_all: Vec::new(), put_behind }
    }

    /// Adds the next queue: from the places that are used, or from before all jobs.
    fn push(&mut self, of_queue: Option<&OfQueue>) {
        for priority in 0..PRIORITIES {
            let (at, id) = of_queue
                .and_then(|of_queue| of_queue.used(priority))
                .unwrap_or((Timestamp::MIN, Uuid::nil()));
            self.at.push(at);
            self.ids.push(id);
        }
        self.is_all.push(of_queue.is_none());
    }
}

/// What a claim found.
pub(crate) struct Walk<'a> {
    pub(crate) kinds: &'a Arc<Kinds>,
    pub(crate) queues: &'a [&'a str],
    pub(crate) begin: &'a Begin,
    pub(crate) found: &'a [JobRow],
    /// The queues that have nothing more: no limit ended their walk.
    pub(crate) exhausted: &'a [&'a str],
    pub(crate) took: Duration,
}

impl Frontiers {
    /// Where a claim of these queues begins.
    pub(crate) fn begin(&self, kinds: &Arc<Kinds>, queues: &[&str], now: Duration) -> Begin {
        let known = self.known();
        let of_kinds = known.of_kinds.get(kinds).filter(|_| self.is_littered());
        let mut begin = Begin::new(self.put_behind.load(Ordering::SeqCst));
        for queue in queues {
            let of_queue = of_kinds.and_then(|of_kinds| of_kinds.get(*queue));
            begin.push(of_queue.filter(|of_queue| !of_queue.walks_all(begin.put_behind, now)));
        }
        begin
    }

    /// Where a search for the next due job begins. If it leaves out something, also how long until the next walk of all.
    pub(crate) fn search(
        &self,
        kinds: &Arc<Kinds>,
        queues: &[&str],
        now: Duration,
    ) -> (Begin, Option<Duration>) {
        let known = self.known();
        let of_kinds = known.of_kinds.get(kinds).filter(|_| self.is_littered());
        let mut begin = Begin::new(self.put_behind.load(Ordering::SeqCst));
        let mut walk_in: Option<Duration> = None;
        for queue in queues {
            let of_queue = of_kinds.and_then(|of_kinds| of_kinds.get(*queue));
            let span = of_queue.and_then(|of_queue| of_queue.walks_all_in(begin.put_behind, now));
            begin.push(of_queue.filter(|_| span.is_some()));
            walk_in = walk_in.into_iter().chain(span).min();
        }
        (begin, walk_in)
    }

    /// Learns from a claim that was made at `time` by the store's clock and ended at `now` by this process's.
    pub(crate) fn walked(&self, walk: &Walk<'_>, time: Timestamp, now: Duration) {
        let mut known = self.known();
        if known.queues >= QUEUES_MAX {
            *known = Known::default();
        }
        let of_kinds = known.of_kinds.entry(Arc::clone(walk.kinds)).or_default();
        let before = of_kinds.len();
        for (index, queue) in walk.queues.iter().enumerate() {
            if !of_kinds.contains_key(*queue) {
                of_kinds.insert((*queue).to_owned(), OfQueue::default());
            }
            let Some(of_queue) = of_kinds.get_mut(*queue) else { continue };
            of_queue.learn(walk, (index, queue), time, now);
        }
        let added = of_kinds.len() - before;
        known.queues += added;
    }

    /// The server counts so many dead rows among the live jobs.
    pub(crate) fn counted(&self, dead_rows: i64) {
        self.is_littered.store(dead_rows >= DEAD_ROWS, Ordering::Relaxed);
    }

    /// A job was stored where claims may have passed already.
    pub(crate) fn put_behind(&self) {
        self.put_behind.fetch_add(1, Ordering::SeqCst);
    }

    #[cfg(test)]
    pub(crate) fn times_put_behind(&self) -> u64 {
        self.put_behind.load(Ordering::SeqCst)
    }

    fn is_littered(&self) -> bool {
        self.is_littered.load(Ordering::Relaxed)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Whole after every statement; a panic elsewhere does not damage it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
