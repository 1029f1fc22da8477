//! What an operation wants others to hear of once it is written.

use backroom_core::JobId;

use crate::store::Wakes;

/// Hints collected by operations of one transaction.
#[derive(Debug, Default)]
pub(super) struct Hints {
    queues: Vec<String>,
    jobs: Vec<JobId>,
    cancels: bool,
}

impl Hints {
    /// A job of this queue is, or soon will be, due.
    pub(super) fn queue(&mut self, queue: &str) {
        if !self.queues.iter().any(|known| known == queue) {
            self.queues.push(queue.to_owned());
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

    /// Takes over the hints of an operation that went well.
    pub(super) fn take(&mut self, other: Self) {
        for queue in &other.queues {
            self.queue(queue);
        }
        self.jobs.extend(other.jobs);
        self.cancels |= other.cancels;
    }

    /// Rings for queues. Called right before the commit: who hears it claims, and a claim queues up behind this very
    /// commit in the writer, so the worker's way here runs while the disk works. Should the commit fail, that claim
    /// finds nothing, as after any hint that came to nothing.
    pub(super) fn ring_queues(&self, wakes: &Wakes) {
        for queue in &self.queues {
            wakes.ring_queue(queue);
        }
    }

    /// Rings for jobs and cancels. Called after the commit: who hears it reads, through a connection that would not
    /// see the change any earlier, and would wait for another hint that never comes.
    pub(super) fn ring_jobs(&self, wakes: &Wakes) {
        for id in &self.jobs {
            wakes.ring_job(*id);
        }
        if self.cancels {
            wakes.ring_cancels();
        }
    }
}
