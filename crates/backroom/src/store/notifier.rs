//! Hints that something happened, so that no process polls faster than the work needs.
//!
//! A hint may come early, late, twice or never. A listener reads the store after each hint, and from time to time without
//! one. So a store may notify before its commit is on disk: the claim then queues up behind it. Stores notify other processes
//! by whatever means they have.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use backroom_core::JobId;
use tokio::sync::Notify;

/// Notifies the listeners of one store in one process.
#[derive(Debug, Default)]
pub struct Notifier {
    listeners: AtomicUsize,
    /// Hints of other processes do not arrive.
    hears_no_others: AtomicBool,
    /// Listeners that wait for the claim of their job.
    awaiting_claims: AtomicUsize,
    /// Notified when there is a first such listener.
    awaits_first_claim: Notify,
    by_topic: Mutex<HashMap<Topic, Vec<Arc<Subscription>>>>,
}

/// What the notifier knows of one listener.
#[derive(Debug, Default)]
struct Subscription {
    notify: Notify,
    /// Whether the listener waits for a hint at this moment.
    is_idle: AtomicBool,
    /// Whether it waits for the claim of its job.
    awaits_claim: AtomicBool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Topic {
    /// A job of this queue became due.
    Queue(String),
    /// This job changed.
    Job(JobId),
    /// A running job was asked to stop.
    Cancels,
    /// This reply queue has a message for a taker.
    Replies(String),
    /// The next turn of a schedule may be earlier than known.
    Schedules,
    /// A transaction has left edges for later ones.
    Edges,
    /// A workflow has a wake time.
    Wakes,
}

impl Notifier {
    /// Hints that a job of one of these queues may be due.
    pub fn subscribe_queues(self: &Arc<Self>, queues: &[String]) -> Listener {
        self.subscribe(queues.iter().cloned().map(Topic::Queue).collect())
    }

    /// Hints that this job may have changed.
    pub fn subscribe_job(self: &Arc<Self>, id: JobId) -> Listener {
        self.subscribe(vec![Topic::Job(id)])
    }

    /// Hints that a running job may have been asked to stop.
    pub fn subscribe_cancels(self: &Arc<Self>) -> Listener {
        self.subscribe(vec![Topic::Cancels])
    }

    /// Hints that this reply queue may have a message for a taker.
    pub fn subscribe_replies(self: &Arc<Self>, queue: &str) -> Listener {
        self.subscribe(vec![Topic::Replies(queue.to_owned())])
    }

    /// Hints that the turn of a schedule may have come.
    pub fn subscribe_schedules(self: &Arc<Self>) -> Listener {
        self.subscribe(vec![Topic::Schedules])
    }

    /// Hints that edges may be left to settle.
    pub fn subscribe_edges(self: &Arc<Self>) -> Listener {
        self.subscribe(vec![Topic::Edges])
    }

    /// Hints that a workflow may have got a wake time.
    pub fn subscribe_wakes(self: &Arc<Self>) -> Listener {
        self.subscribe(vec![Topic::Wakes])
    }

    /// Whether this process has listeners. Without any, a store need not watch for changes by other processes.
    pub fn has_listeners(&self) -> bool {
        self.listeners.load(Ordering::Relaxed) > 0
    }

    /// Whether hints of other processes arrive as well. Where they do not, a listener has to read the store more often.
    pub fn hears_others(&self) -> bool {
        !self.hears_no_others.load(Ordering::Relaxed)
    }

    /// Says that hints of other processes will not arrive.
    pub fn hear_no_others(&self) {
        self.hears_no_others.store(true, Ordering::Relaxed);
    }

    /// Returns once a listener waits for the claim of its job.
    #[cfg(feature = "postgres")]
    pub(crate) async fn some_await_claims(&self) {
        while self.awaiting_claims.load(Ordering::Relaxed) == 0 {
            self.awaits_first_claim.notified().await;
        }
    }

    /// The jobs for whose claim listeners wait: so many at most, those behind `after` first.
    #[cfg(feature = "postgres")]
    pub(crate) fn awaiting_claims(&self, after: Option<JobId>, most: usize) -> Vec<JobId> {
        let by_topic = self.topics();
        let awaits = |subscription: &Arc<Subscription>| subscription.awaits_claim.load(Ordering::Relaxed);
        let mut ids: Vec<JobId> = by_topic
            .iter()
            .filter(|(_, subscriptions)| subscriptions.iter().any(awaits))
            .filter_map(|(topic, _)| if let Topic::Job(id) = topic { Some(*id) } else { None })
            .collect();
        drop(by_topic);
        if ids.len() > most {
            ids.sort_unstable();
            let next = after.map_or(0, |after| ids.partition_point(|id| *id <= after));
            ids.rotate_left(next);
            ids.truncate(most);
        }
        ids
    }

    /// A job of this queue may be due. Answers whether an idle listener was notified.
    pub fn notify_queue(&self, queue: &str) -> bool {
        self.has_listeners() && self.notify(&Topic::Queue(queue.to_owned()))
    }

    /// This job may have changed.
    pub fn notify_job(&self, id: JobId) {
        if self.has_listeners() {
            _ = self.notify(&Topic::Job(id));
        }
    }

    /// Many jobs may have changed, too many to name: notifies every listener of a job.
    pub fn notify_jobs(&self) {
        let by_topic = self.topics();
        let jobs = by_topic.iter().filter(|(topic, _)| matches!(topic, Topic::Job(_)));
        for subscription in jobs.flat_map(|(_, subscriptions)| subscriptions) {
            subscription.notify.notify_one();
        }
    }

    /// A running job may have been asked to stop.
    pub fn notify_cancels(&self) {
        _ = self.notify(&Topic::Cancels);
    }

    /// This reply queue may have a message for a taker.
    pub fn notify_replies(&self, queue: &str) {
        if self.has_listeners() {
            _ = self.notify(&Topic::Replies(queue.to_owned()));
        }
    }

    /// The turn of a schedule may have come.
    pub fn notify_schedules(&self) {
        _ = self.notify(&Topic::Schedules);
    }

    /// Edges may be left to settle.
    pub fn notify_edges(&self) {
        _ = self.notify(&Topic::Edges);
    }

    /// A workflow has got a wake time.
    pub fn notify_wakes(&self) {
        _ = self.notify(&Topic::Wakes);
    }

    /// Another process wrote, and it is not known what: notifies every listener.
    pub fn notify_all(&self) {
        for subscription in self.topics().values().flatten() {
            subscription.notify.notify_one();
        }
    }

    fn subscribe(self: &Arc<Self>, topics: Vec<Topic>) -> Listener {
        let subscription = Arc::new(Subscription::default());
        let mut by_topic = self.topics();
        for topic in &topics {
            by_topic.entry(topic.clone()).or_default().push(Arc::clone(&subscription));
        }
        drop(by_topic);
        self.listeners.fetch_add(1, Ordering::Relaxed);
        Listener { notifier: Arc::clone(self), topics, subscription }
    }

    /// Answers whether an idle listener was notified.
    fn notify(&self, topic: &Topic) -> bool {
        let mut was_idle = false;
        for subscription in self.topics().get(topic).into_iter().flatten() {
            was_idle |= subscription.is_idle.load(Ordering::Relaxed);
            subscription.notify.notify_one();
        }
        was_idle
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<Topic, Vec<Arc<Subscription>>>> {
        // The map is whole after every statement; a panic elsewhere does not damage it.
        self.by_topic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Receives hints from its creation until it is dropped. One hint that comes between two calls of
/// [`notified`](Self::notified) is remembered, however many come.
#[derive(Debug)]
pub struct Listener {
    notifier: Arc<Notifier>,
    topics: Vec<Topic>,
    subscription: Arc<Subscription>,
}

impl Listener {
    /// Says whether the listener waits for the claim of its job, which no other process notifies by itself: a store on which this is so
    /// then finds out.
    pub fn await_claim(&self, awaits: bool) {
        if self.subscription.awaits_claim.swap(awaits, Ordering::Relaxed) == awaits {
            return;
        }
        let awaiting = &self.notifier.awaiting_claims;
        if awaits {
            awaiting.fetch_add(1, Ordering::Relaxed);
            self.notifier.awaits_first_claim.notify_one();
        } else {
            awaiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Returns at the next hint, at once if one came since the last call. Safe to drop and call again.
    pub async fn notified(&self) {
        let _idle = Idle::of(&self.subscription);
        self.subscription.notify.notified().await;
    }
}

/// Marks a subscription as idle until it is dropped.
struct Idle<'a>(&'a Subscription);

impl<'a> Idle<'a> {
    fn of(subscription: &'a Subscription) -> Self {
        subscription.is_idle.store(true, Ordering::Relaxed);
        Self(subscription)
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.is_idle.store(false, Ordering::Relaxed);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut by_topic = self.notifier.topics();
        for topic in &self.topics {
            if let Some(subscriptions) = by_topic.get_mut(topic) {
                subscriptions.retain(|other| !Arc::ptr_eq(other, &self.subscription));
                if subscriptions.is_empty() {
                    by_topic.remove(topic);
                }
            }
        }
        drop(by_topic);
        self.await_claim(false);
        self.notifier.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}
