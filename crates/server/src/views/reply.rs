//! Reply queues and their messages.

use backroom::{Acknowledged, LeaseId, MessageRow, ReplyQueue};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rows::{AcknowledgedWord, MessageSchema, ReplyQueueSchema};

/// Reply queues by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ReplyQueues)]
pub(crate) struct ReplyQueueList {
    /// Those that have messages, or have dropped some.
    #[schema(value_type = Vec<ReplyQueueSchema>)]
    pub(crate) reply_queues: Vec<ReplyQueue>,
}

/// Messages of a reply queue in their order.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Messages)]
pub(crate) struct MessageList {
    /// The messages; those that a taker has are among them.
    #[schema(value_type = Vec<MessageSchema>)]
    pub(crate) messages: Vec<MessageRow>,
}

/// Messages that one taker has.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Taken)]
pub(crate) struct TakenMessages {
    /// Names the taker in `acknowledge` and `release`.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) lease: LeaseId,
    /// The messages, those of each correlation id in their order.
    #[schema(value_type = Vec<MessageSchema>)]
    pub(crate) messages: Vec<MessageRow>,
}

/// What became of messages that were acknowledged.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Acknowledgements {
    /// How many are never delivered again.
    pub(crate) done: usize,
    /// How many had been given back or taken again.
    pub(crate) lost: usize,
    /// `done`, or `lost`: the lease had ended, and the message is or was delivered again. In the order of the request.
    #[schema(value_type = Vec<AcknowledgedWord>)]
    pub(crate) acknowledged: Vec<Acknowledged>,
}

impl Acknowledgements {
    pub(crate) fn new(acknowledged: Vec<Acknowledged>) -> Self {
        let done = acknowledged.iter().filter(|answer| **answer == Acknowledged::Done).count();
        Self { done, lost: acknowledged.len() - done, acknowledged }
    }
}
