//! Messages to reply queues.

use std::collections::BTreeMap;

use backroom_core::Message;

use super::rows::{Ring, Rows};

/// All messages.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// In the order in which they were written.
    messages: BTreeMap<u64, Message>,
    last: u64,
}

impl Rows {
    /// Appends a message to its reply queue, unless it is stored already.
    pub(super) fn add_message(&mut self, message: &Message) {
        if self.replies.messages.values().any(|other| other.id == message.id) {
            return;
        }
        self.replies.last += 1;
        self.replies.messages.insert(self.replies.last, message.clone());
        self.ring(Ring::Replies(message.reply_to.clone()));
    }
}
