//! Verbs for messages in reply queues. They are written by the verbs that write changes of jobs.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{JobId, LeaseId, Message, MessageBody, MessageId, MessageLease, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};

use super::Call;
use crate::Error;

/// Takes, acknowledges, lists and drops messages.
#[async_trait]
pub trait ReplyVerbs: Send + Sync {
    /// Takes messages of a reply queue under a fresh lease, the oldest first. Where a lease holds on a message, no message with
    /// the same [`order_key`](Message::order_key) is taken; so of each key a taker gets the first ones, in order. A message
    /// whose lease has ended is taken again. A repeated call answers with the messages that the lost call took, without those that
    /// follow one that another taker has taken since. If nothing is left of them, it takes messages now. It takes nothing while another taker of the reply queue delays it.
    async fn take_messages(
        &self,
        take: Arc<TakeMessages>,
        now: Timestamp,
        call: Call,
    ) -> Result<Vec<MessageRow>, Error>;

    /// Deletes messages that were taken under this lease, durably: one answer per id, in order. The lease may have ended,
    /// unless the message was taken again since. A message that is not there any more counts as acknowledged.
    async fn acknowledge_messages(
        &self,
        lease: LeaseId,
        ids: Arc<Vec<MessageId>>,
    ) -> Result<Vec<Acknowledged>, Error>;

    /// Ends this lease of messages, so that they are taken again at once. Messages under another lease stay as they are.
    async fn release_messages(&self, lease: LeaseId, ids: Arc<Vec<MessageId>>) -> Result<(), Error>;

    /// Deletes all messages about these jobs, durably, whether a taker holds them or not. Answers how many; a call that is repeated because
    /// its answer was lost does not count those of the first one.
    async fn forget_messages(&self, jobs: Arc<Vec<JobId>>) -> Result<u64, Error>;

    /// Messages in the order in which they were written, of one reply queue if it is named, after the position `after`, at most
    /// `limit`. A store with a bound in bytes may answer with fewer: only an empty answer is the last. Takes none of them.
    async fn messages(
        &self,
        reply_to: Option<&str>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<MessageRow>, Error>;

    /// Reply queues that have messages or have dropped some, by name, after `after` when given, at most `limit`.
    async fn reply_queues(
        &self,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<ReplyQueue>, Error>;

    /// Deletes messages of a reply queue that no taker holds, the oldest first: those older than a moment, and those that are too
    /// many or too large together. Counts them as dropped. Answers how many were deleted, at most `limit`.
    async fn drop_messages(&self, bounds: Arc<DropMessages>, now: Timestamp) -> Result<u64, Error>;

    /// Stores whole messages in their order, to move a store. Answers how many were new. A message whose id is stored already
    /// stays as it is. Leases are not taken over.
    async fn import_messages(&self, messages: Arc<Vec<Message>>) -> Result<u64, Error>;
}

/// What a taker wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeMessages {
    /// From this reply queue.
    pub reply_to: String,
    /// Most messages.
    pub limit: usize,
    /// The answer ends with the message that makes it reach this many bytes. So it has at least one, however large.
    pub bytes_max: usize,
    /// The lease of all of them.
    pub lease: MessageLease,
}

/// A message as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MessageRow {
    /// Its position. Numbers rise in the order in which messages are written; on PostgreSQL a message with a smaller number may
    /// still appear later.
    pub seq: u64,
    /// The message.
    #[serde(flatten)]
    pub message: Message,
    /// How often it was taken. More than one: an earlier taker may have worked on it.
    pub deliveries: u32,
    /// The last lease, which may have ended; none if it was never taken or was given back.
    pub lease: Option<MessageLease>,
}

impl<'de> Deserialize<'de> for MessageRow {
    /// Reads the fields of the message where they stand. A field that is flattened could not have an output that stays text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Flat {
            seq: u64,
            id: MessageId,
            reply_to: String,
            body: MessageBody,
            deliveries: u32,
            lease: Option<MessageLease>,
        }
        let Flat { seq, id, reply_to, body, deliveries, lease } = Flat::deserialize(deserializer)?;
        Ok(Self { seq, message: Message { id, reply_to, body }, deliveries, lease })
    }
}

/// What became of an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acknowledged {
    /// The message is gone, and is never delivered again.
    Done,
    /// The lease ended before, and the message was given back or taken by another taker. It is delivered again, or was.
    Lost,
}

/// A reply queue and what waits in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReplyQueue {
    /// Its name.
    pub name: String,
    /// Messages that are not acknowledged.
    pub messages: u64,
    /// How many of them a taker has.
    pub taken: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// When the oldest of them was written.
    pub oldest_at: Option<Timestamp>,
    /// Messages that were dropped because they were not acknowledged in time, or were too many.
    pub dropped: u64,
}

/// Which messages to drop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropMessages {
    /// Of this reply queue.
    pub reply_to: String,
    /// Those from before this moment.
    pub before: Timestamp,
    /// The oldest, until so many are left.
    pub messages_max: u64,
    /// The oldest, until so many bytes are left.
    pub bytes_max: u64,
    /// Most messages to drop in this call.
    pub limit: usize,
}

/// How long the count of dropped messages of a reply queue is retained after the last one.
pub(crate) const DROPPED_REMEMBERED: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3600);

impl DropMessages {
    /// How many of the messages that may be dropped, the oldest first, to drop. `messages` and `bytes` count all in the queue.
    /// All stores use it.
    pub(crate) fn count(
        &self,
        mut messages: u64,
        mut bytes: u64,
        oldest: impl Iterator<Item = (Timestamp, u64)>,
    ) -> usize {
        let mut dropped = 0;
        for (at, size) in oldest.take(self.limit) {
            if at >= self.before && messages <= self.messages_max && bytes <= self.bytes_max {
                break;
            }
            messages = messages.saturating_sub(1);
            bytes = bytes.saturating_sub(size);
            dropped += 1;
        }
        dropped
    }
}
