//! Messages in reply queues.

use std::collections::{BTreeMap, BTreeSet};

use backroom_core::{JobId, LeaseId, Message, MessageId, Timestamp, bounds::earlier};

use super::rows::{Ring, Rows};
use crate::store::{
    Acknowledged, Call, DROPPED_REMEMBERED, DropMessages, MessageRow, ReplyQueue, TakeMessages,
};

/// All messages.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// By position.
    messages: BTreeMap<u64, MessageRow>,
    last: u64,
    /// How many messages each reply queue dropped, and when it did last.
    dropped: BTreeMap<String, (u64, Timestamp)>,
}

impl Replies {
    fn of<'a>(&'a self, queue: &'a str) -> impl Iterator<Item = &'a MessageRow> {
        self.messages.values().filter(move |row| row.message.reply_to == queue)
    }

    /// Those of these messages that are under this lease.
    fn under(&mut self, lease: LeaseId, ids: &[MessageId]) -> impl Iterator<Item = &mut MessageRow> {
        self.messages.values_mut().filter(move |row| ids.contains(&row.message.id) && is_under(row, lease))
    }
}

fn is_under(row: &MessageRow, lease: LeaseId) -> bool {
    row.lease.is_some_and(|held| held.id == lease)
}

fn is_taken(row: &MessageRow, now: Timestamp) -> bool {
    row.lease.is_some_and(|lease| lease.holds(now))
}

fn bytes(row: &MessageRow) -> u64 {
    row.message.body.stored().map_or(0, |text| text.len() as u64)
}

impl Rows {
    /// Appends a message to its reply queue, unless it is stored already.
    pub(super) fn add_message(&mut self, message: &Message) -> bool {
        if self.replies.messages.values().any(|row| row.message.id == message.id) {
            return false;
        }
        self.replies.last += 1;
        let seq = self.replies.last;
        let row = MessageRow { seq, message: message.clone(), deliveries: 0, lease: None };
        self.replies.messages.insert(seq, row);
        self.ring(Ring::Replies(message.reply_to.clone()));
        true
    }

    pub(super) fn take_messages(
        &mut self,
        take: &TakeMessages,
        now: Timestamp,
        call: Call,
    ) -> Vec<MessageRow> {
        if call == Call::Repeated {
            let taken = self.messages_taken_before(take);
            if !taken.is_empty() {
                return taken;
            }
        }
        let of_queue = || self.replies.of(&take.reply_to);
        let busy: BTreeSet<String> =
            of_queue().filter(|row| is_taken(row, now)).map(|row| row.message.order_key()).collect();
        let free = of_queue().filter(|row| !busy.contains(&row.message.order_key()));
        let mut sum = 0;
        let chosen: Vec<u64> = free
            .take(take.limit)
            .take_while(|row| {
                let fits = sum == 0 || sum < take.bytes_max as u64;
                sum += bytes(row);
                fits
            })
            .map(|row| row.seq)
            .collect();
        let mut taken = Vec::new();
        for seq in chosen {
            if let Some(row) = self.replies.messages.get_mut(&seq) {
                row.lease = Some(take.lease);
                row.deliveries += 1;
                taken.push(row.clone());
            }
        }
        taken
    }

    /// What an earlier call took. A message is left out if an earlier one with its key is under another lease, or under none, by now.
    fn messages_taken_before(&self, take: &TakeMessages) -> Vec<MessageRow> {
        let (lease, mut passed, mut taken) = (take.lease.id, BTreeSet::new(), Vec::new());
        for row in self.replies.of(&take.reply_to) {
            let key = row.message.order_key();
            if !is_under(row, lease) {
                passed.insert(key);
            } else if !passed.contains(&key) {
                taken.push(row.clone());
            }
        }
        taken
    }

    pub(super) fn acknowledge_messages(&mut self, lease: LeaseId, ids: &[MessageId]) -> Vec<Acknowledged> {
        let done: Vec<(u64, String)> =
            self.replies.under(lease, ids).map(|row| (row.seq, row.message.reply_to.clone())).collect();
        for (seq, queue) in done {
            self.replies.messages.remove(&seq);
            // The next one with the same key may be free now.
            self.ring(Ring::Replies(queue));
        }
        let is_there = |id: &MessageId| self.replies.messages.values().any(|row| row.message.id == *id);
        ids.iter().map(|id| if is_there(id) { Acknowledged::Lost } else { Acknowledged::Done }).collect()
    }

    pub(super) fn release_messages(&mut self, lease: LeaseId, ids: &[MessageId]) {
        let mut queues = BTreeSet::new();
        for row in self.replies.under(lease, ids) {
            row.lease = None;
            queues.insert(row.message.reply_to.clone());
        }
        queues.into_iter().for_each(|queue| self.ring(Ring::Replies(queue)));
    }

    pub(super) fn forget_messages(&mut self, jobs: &[JobId]) -> u64 {
        let before = self.replies.messages.len();
        let mut queues = BTreeSet::new();
        self.replies.messages.retain(|_, row| {
            let stays = !jobs.contains(&row.message.body.job_id);
            if !stays {
                queues.insert(row.message.reply_to.clone());
            }
            stays
        });
        queues.into_iter().for_each(|queue| self.ring(Ring::Replies(queue)));
        (before - self.replies.messages.len()) as u64
    }

    pub(super) fn messages(&self, reply_to: Option<&str>, after: u64, limit: usize) -> Vec<MessageRow> {
        let wanted =
            |row: &&MessageRow| row.seq > after && reply_to.is_none_or(|queue| row.message.reply_to == queue);
        self.replies.messages.values().filter(wanted).take(limit).cloned().collect()
    }

    pub(super) fn reply_queues(&self, after: Option<&str>, limit: usize, now: Timestamp) -> Vec<ReplyQueue> {
        let of_messages = self.replies.messages.values().map(|row| &row.message.reply_to);
        let names: BTreeSet<&String> = of_messages.chain(self.replies.dropped.keys()).collect();
        let is_after = |name: &&String| after.is_none_or(|after| name.as_str() > after);
        let queue = |name: &String| ReplyQueue {
            name: name.clone(),
            messages: self.replies.of(name).count() as u64,
            taken: self.replies.of(name).filter(|row| is_taken(row, now)).count() as u64,
            bytes: self.replies.of(name).map(bytes).sum(),
            oldest_at: self.replies.of(name).map(|row| row.message.body.at).min(),
            dropped: self.replies.dropped.get(name).map_or(0, |(dropped, _)| *dropped),
        };
        names.into_iter().filter(is_after).take(limit).map(queue).collect()
    }

    pub(super) fn drop_messages(&mut self, bounds: &DropMessages, now: Timestamp) -> u64 {
        let of_queue = || self.replies.of(&bounds.reply_to);
        let free: Vec<&MessageRow> = of_queue().filter(|row| !is_taken(row, now)).collect();
        let oldest = free.iter().map(|row| (row.message.body.at, bytes(row)));
        let count = bounds.count(of_queue().count() as u64, of_queue().map(bytes).sum(), oldest);
        let dropped: Vec<u64> = free.iter().take(count).map(|row| row.seq).collect();
        for seq in &dropped {
            self.replies.messages.remove(seq);
        }
        self.replies.dropped.retain(|_, (_, at)| *at >= earlier(now, DROPPED_REMEMBERED));
        if count > 0 {
            let counted = self.replies.dropped.entry(bounds.reply_to.clone()).or_insert((0, now));
            *counted = (counted.0 + count as u64, now);
        }
        count as u64
    }

    pub(super) fn import_messages(&mut self, messages: &[Message]) -> u64 {
        messages.iter().filter(|message| self.add_message(message)).count() as u64
    }
}
