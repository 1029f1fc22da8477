//! Hints that something happened, so that nobody has to poll faster than the work needs.
//!
//! A hint may come early, late, twice or never: whoever hears one looks at the store, and looks from time to
//! time even if none comes. That lets a store ring before its commit is on disk (the claim then queues up right
//! behind it) and across processes by whatever means it has.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use backroom_core::JobId;
use tokio::sync::Notify;

/// The bell of one store in one process.
#[derive(Debug, Default)]
pub struct Wakes {
    listeners: AtomicUsize,
    by_topic: Mutex<HashMap<Topic, Vec<Arc<Ear>>>>,
}

/// What a listener hears by.
#[derive(Debug, Default)]
struct Ear {
    notify: Notify,
    /// Whether it waits for a hint right now, and has nothing else to do.
    is_idle: AtomicBool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Topic {
    /// A job of this queue became due.
    Queue(String),
    /// This job changed.
    Job(JobId),
    /// Some running job was asked to stop.
    Cancels,
}

impl Wakes {
    /// Hears that a job of one of these queues may be due.
    pub fn listen_queues(self: &Arc<Self>, queues: &[String]) -> Listener {
        self.listen(queues.iter().cloned().map(Topic::Queue).collect())
    }

    /// Hears that this job may have changed.
    pub fn listen_job(self: &Arc<Self>, id: JobId) -> Listener {
        self.listen(vec![Topic::Job(id)])
    }

    /// Hears that a running job may have been asked to stop.
    pub fn listen_cancels(self: &Arc<Self>) -> Listener {
        self.listen(vec![Topic::Cancels])
    }

    /// Whether anybody in this process would hear a hint. Stores that must work to notice the outside need not
    /// while nobody listens.
    pub fn anybody_listens(&self) -> bool {
        self.listeners.load(Ordering::Relaxed) > 0
    }

    /// A job of this queue may be due. Answers whether somebody heard it who was waiting for just that.
    pub fn ring_queue(&self, queue: &str) -> bool {
        self.anybody_listens() && self.ring(&Topic::Queue(queue.to_owned()))
    }

    /// This job may have changed.
    pub fn ring_job(&self, id: JobId) {
        if self.anybody_listens() {
            _ = self.ring(&Topic::Job(id));
        }
    }

    /// Many jobs may have changed, too many to name: every listener to a job looks.
    pub fn ring_jobs(&self) {
        let by_topic = self.topics();
        let jobs = by_topic.iter().filter(|(topic, _)| matches!(topic, Topic::Job(_)));
        for ear in jobs.flat_map(|(_, ears)| ears) {
            ear.notify.notify_one();
        }
    }

    /// A running job may have been asked to stop.
    pub fn ring_cancels(&self) {
        _ = self.ring(&Topic::Cancels);
    }

    /// Something changed, nobody knows what: another process wrote.
    pub fn ring_all(&self) {
        for ear in self.topics().values().flatten() {
            ear.notify.notify_one();
        }
    }

    fn listen(self: &Arc<Self>, topics: Vec<Topic>) -> Listener {
        let ear = Arc::new(Ear::default());
        let mut by_topic = self.topics();
        for topic in &topics {
            by_topic.entry(topic.clone()).or_default().push(Arc::clone(&ear));
        }
        drop(by_topic);
        self.listeners.fetch_add(1, Ordering::Relaxed);
        Listener { wakes: Arc::clone(self), topics, ear }
    }

    /// Answers whether an idle listener heard it.
    fn ring(&self, topic: &Topic) -> bool {
        let mut is_heard = false;
        for ear in self.topics().get(topic).into_iter().flatten() {
            is_heard |= ear.is_idle.load(Ordering::Relaxed);
            ear.notify.notify_one();
        }
        is_heard
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<Topic, Vec<Arc<Ear>>>> {
        // The map is whole after every statement; a panic elsewhere does not damage it.
        self.by_topic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears hints from the moment it is made until it is dropped. A hint that comes while nobody awaits is kept
/// (one, however many come).
#[derive(Debug)]
pub struct Listener {
    wakes: Arc<Wakes>,
    topics: Vec<Topic>,
    ear: Arc<Ear>,
}

impl Listener {
    /// Returns at the next hint, at once if one came since the last call. Safe to drop and call again.
    pub async fn woken(&self) {
        let _idle = Idle::of(&self.ear);
        self.ear.notify.notified().await;
    }
}

/// Marks an ear as idle until it is dropped, be it by an answer or because nobody waits any more.
struct Idle<'a>(&'a Ear);

impl<'a> Idle<'a> {
    fn of(ear: &'a Ear) -> Self {
        ear.is_idle.store(true, Ordering::Relaxed);
        Self(ear)
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.is_idle.store(false, Ordering::Relaxed);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut by_topic = self.wakes.topics();
        for topic in &self.topics {
            if let Some(listeners) = by_topic.get_mut(topic) {
                listeners.retain(|other| !Arc::ptr_eq(other, &self.ear));
                if listeners.is_empty() {
                    by_topic.remove(topic);
                }
            }
        }
        drop(by_topic);
        self.wakes.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}
