//! What follows from a change beyond the job's own row.

use crate::{Attempt, Message, Timestamp, draft::NewJob, links::LinkEffect, schedule::RunReport};

/// One consequence of a [`Change`](crate::Change), as data. [`transition::apply`](crate::transition::apply) decides it.
///
/// A new kind of effect is one variant here and one arm in each store. If the kind is [stored](Self::is_stored), the
/// arm is in the function that writes effects; else in the function that sends notifications. Stores notify of a stored
/// effect, too, where processes wait for it.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Stored: a row that records an attempt that did not succeed.
    RecordAttempt(Attempt),
    /// Stored: a message to a reply queue. A message of this id that is stored already stays as it is.
    Message(Box<Message>),
    /// Stored: a new job without a unique key. A job of this id that is stored already stays as it is.
    Enqueue(Box<NewJob>),
    /// Stored: the run of a schedule ended, or begins again. The schedule is planned again soon.
    ReportRun(Box<RunReport>),
    /// Stored: what follows for other jobs. Only a job with links has it.
    Link {
        /// When the change was decided.
        at: Timestamp,
        /// What follows.
        effect: Box<LinkEffect>,
    },
    /// Sent: a job of this queue is due at this moment, which may have passed. A worker that sleeps until a later moment
    /// wakes earlier.
    NotifyQueue {
        /// The queue.
        queue: String,
        /// When the job is due.
        due_at: Timestamp,
    },
    /// Sent: a running job is asked to stop. Its worker asks the store which of its runs are meant.
    NotifyCancel,
}

impl Effect {
    /// Whether a store writes the effect, in one transaction with its change: both exist or neither does. The others are
    /// hints. A store sends them once the change is written; a hint may get lost, because polling finds the same.
    pub const fn is_stored(&self) -> bool {
        match self {
            Self::RecordAttempt(_)
            | Self::Message(_)
            | Self::Enqueue(_)
            | Self::ReportRun(_)
            | Self::Link { .. } => true,
            Self::NotifyQueue { .. } | Self::NotifyCancel => false,
        }
    }
}
