//! Messages to reply queues: which must be written, and which takers were handed.

use std::collections::BTreeSet;

use backroom::{JobId, MessageId, MessageKind, MessageRow, State, core::Change};

use super::{Model, Row};

/// The messages of one job.
#[derive(Debug, Clone, Default)]
pub(super) struct Messages {
    /// Those that the changes which the store accepted must have written, in order.
    expected: Vec<MessageKind>,
    /// Those that a taker was handed, in the order in which each came for the first time.
    delivered: Vec<MessageKind>,
    seen: BTreeSet<MessageId>,
}

impl Model {
    /// The store wrote a change of a job that asks for messages.
    pub(super) fn informs(&mut self, id: JobId, kind: MessageKind) {
        self.messages.entry(id).or_default().expected.push(kind);
    }

    /// What an accepted change informs of, if its job asks for messages.
    pub(super) fn informs_of_change(&mut self, row: &Row, change: &Change) {
        if !row.replies {
            return;
        }
        let kind = match (row.state, change.state) {
            (State::Completed | State::Cancelled | State::Discarded, _) => return,
            (_, State::Completed) => MessageKind::Completed,
            (_, State::Cancelled) => MessageKind::Cancelled,
            (_, State::Discarded) => MessageKind::Discarded,
            (State::Running, State::Queued) if change.attempt_ended().is_some() => MessageKind::FailedAttempt,
            (_, State::Queued | State::Running | State::Waiting) => return,
        };
        self.informs(change.id, kind);
    }

    /// A taker was handed these messages.
    pub fn delivered(&mut self, rows: &[MessageRow]) {
        self.tally.delivered += rows.len() as u64;
        for row in rows {
            let (id, job) = (row.message.id, row.message.body.job_id);
            self.tell(format!("             taken  {} {}", Self::short(job), row.message.body.about));
            let messages = self.messages.entry(job).or_default();
            if !messages.seen.insert(id) {
                continue;
            }
            messages.delivered.push(row.message.body.about);
            if !self.dropped && !messages.expected.starts_with(&messages.delivered) {
                let what = format!("job {job} sent other messages, or in another order: {messages:?}");
                self.wrong(what);
            }
        }
    }

    /// The store dropped messages: then some are never delivered, and rightly so.
    pub(super) fn dropped(&mut self, count: u64) {
        self.dropped |= count > 0;
    }

    /// Whether every message was delivered, once all takers are done.
    pub fn check_delivered(&mut self) {
        if self.dropped {
            return;
        }
        let lost = self.messages.iter().find(|(_, messages)| messages.delivered != messages.expected);
        if let Some((job, messages)) = lost {
            let what = format!("messages of job {job} were not delivered: {messages:?}");
            self.wrong(what);
        }
    }
}
