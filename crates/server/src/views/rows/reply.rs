//! Schemas of reply queues, of their messages and of ended endpoints.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{EndWord, MessageKindWord, ProgressSchema, StateWord};

/// A reply queue and what waits in it.
#[derive(ToSchema)]
#[schema(as = ReplyQueue)]
pub(crate) struct ReplyQueueSchema {
    name: String,
    /// Messages that are not acknowledged.
    messages: u64,
    /// How many of them a taker has.
    taken: u64,
    /// Bytes of all of them.
    bytes: u64,
    /// When the oldest of them was written.
    #[schema(format = DateTime)]
    oldest_at: Option<String>,
    /// Messages that were not acknowledged in time, or were too many.
    dropped: u64,
}

/// A message of a reply queue.
#[derive(ToSchema)]
#[schema(as = Message)]
pub(crate) struct MessageSchema {
    /// Its position.
    seq: u64,
    #[schema(format = "uuid")]
    id: String,
    /// The reply queue.
    reply_to: String,
    body: MessageBodySchema,
    /// How often it was taken.
    deliveries: u32,
    /// The last lease, which may have ended.
    lease: Option<MessageLeaseSchema>,
}

/// The lease under which a message was taken.
#[derive(ToSchema)]
#[schema(as = MessageLease)]
pub(crate) struct MessageLeaseSchema {
    #[schema(format = "uuid")]
    id: String,
    #[schema(format = DateTime)]
    from: String,
    #[schema(format = DateTime)]
    until: String,
}

/// What a message reports. Fields that do not apply are left out.
#[derive(ToSchema)]
#[schema(as = MessageBody)]
pub(crate) struct MessageBodySchema {
    /// Of what it informs.
    r#type: MessageKindWord,
    #[schema(format = "uuid")]
    job_id: String,
    kind: String,
    queue: String,
    /// Which attempt of the budget it was, or how many there were.
    attempt: u32,
    max_attempts: u32,
    /// The job's state after the change.
    state: StateWord,
    /// When it happened.
    #[schema(format = DateTime)]
    at: String,
    /// As the caller gave it at enqueue.
    #[schema(required = false)]
    correlation_id: String,
    /// What the handler returned.
    #[schema(required = false)]
    output: Value,
    /// Why it was cancelled or discarded.
    #[schema(required = false)]
    reason: String,
    /// The error of the attempt that ended.
    #[schema(required = false)]
    error: String,
    /// In which way that attempt ended.
    #[schema(required = false)]
    end: EndWord,
    /// When the job runs again.
    #[schema(format = DateTime, required = false)]
    next_attempt_at: String,
    /// What the handler reported.
    #[schema(required = false)]
    progress: ProgressSchema,
    /// The job's labels.
    #[schema(required = false)]
    tags: Vec<String>,
    /// The job's free data.
    #[schema(required = false)]
    meta: BTreeMap<String, String>,
    /// What was too large for the message.
    #[schema(required = false)]
    left_out: Vec<LeftOutSchema>,
}

/// What became of an acknowledgement.
#[derive(Serialize, ToSchema)]
#[schema(as = Acknowledged)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AcknowledgedWord {
    /// The message is never delivered again.
    Done,
    /// The lease had ended; the message is or was delivered again.
    Lost,
}

/// A part of the job that is too large for a message.
#[derive(ToSchema)]
#[schema(as = LeftOut)]
pub(crate) struct LeftOutSchema {
    /// `output`, `tags` or `meta`.
    field: String,
    bytes: usize,
    /// Where to read it.
    read: String,
}

/// An endpoint whose receiver answered that it wants no more callbacks.
#[derive(ToSchema)]
#[schema(as = EndedEndpoint)]
pub(crate) struct EndedEndpointSchema {
    url: String,
    /// What the receiver answered.
    reason: String,
    #[schema(format = DateTime)]
    ended_at: String,
}
