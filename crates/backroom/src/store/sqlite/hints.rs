//! Notifications that an operation causes once it is written.

use backroom_core::JobId;

use crate::store::Notifier;

/// Hints collected by operations of one transaction.
#[derive(Debug, Default)]
pub(super) struct Hints {
    queues: Vec<String>,
    reply_queues: Vec<String>,
    jobs: Vec<JobId>,
    cancels: bool,
    schedules: bool,
    edges_left: bool,
}

impl Hints {
    /// A job of this queue is, or soon will be, due.
    pub(super) fn queue(&mut self, queue: &str) {
        if !self.queues.iter().any(|known| known == queue) {
            self.queues.push(queue.to_owned());
        }
    }

    /// This reply queue has a message for a taker.
    pub(super) fn replies(&mut self, queue: &str) {
        if !self.reply_queues.iter().any(|known| known == queue) {
            self.reply_queues.push(queue.to_owned());
        }
    }

    /// This job changed.
    pub(super) fn job(&mut self, id: JobId) {
        self.jobs.push(id);
    }

    /// A running job was asked to stop.
    pub(super) fn cancel(&mut self) {
        self.cancels = true;
    }

    /// The turn of a schedule may have come.
    pub(super) fn schedules(&mut self) {
        self.schedules = true;
    }

    /// Edges are left for a later transaction.
    pub(super) fn edges_left(&mut self) {
        self.edges_left = true;
    }

    /// Takes over the hints of an operation that went well.
    pub(super) fn take(&mut self, other: Self) {
        for queue in &other.queues {
            self.queue(queue);
        }
        for queue in &other.reply_queues {
            self.replies(queue);
        }
        self.jobs.extend(other.jobs);
        self.cancels |= other.cancels;
        self.schedules |= other.schedules;
        self.edges_left |= other.edges_left;
    }

    /// Notifies listeners of queues. Called right before the commit: the claim of a notified worker waits in the writer behind
    /// this very commit, so the worker wakes while the disk syncs. Should the commit fail, that claim finds nothing.
    pub(super) fn ring_queues(&self, wakes: &Notifier) {
        for queue in &self.queues {
            wakes.notify_queue(queue);
        }
    }

    /// Notifies listeners of jobs, cancels, reply queues and schedules. Called after the commit: a notified listener reads through another connection. Before
    /// the commit it would not see the change, and would wait for a second notification that never comes.
    pub(super) fn notify_jobs(&self, wakes: &Notifier) {
        for id in &self.jobs {
            wakes.notify_job(*id);
        }
        for queue in &self.reply_queues {
            wakes.notify_replies(queue);
        }
        if self.cancels {
            wakes.notify_cancels();
        }
        if self.schedules {
            wakes.notify_schedules();
        }
        if self.edges_left {
            wakes.notify_edges();
        }
    }
}
