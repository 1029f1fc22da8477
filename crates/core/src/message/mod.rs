//! Messages about a job, which a caller may ask for at enqueue: to a reply queue, to a URL, or both.
//!
//! A message is an effect of the change that it reports, so a store writes both in one transaction. A message to a URL is a
//! job of its own, see [`callback`], and so is one to a broker, see [`forward`]. Start reading at `of_change`.

mod body;
pub mod callback;
mod choice;
pub mod forward;
mod hidden;
mod id;
mod lease;

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Change, Effect, Invalid, JobRow, Progress, State, Timestamp, draft::NewJob};

pub use self::{
    body::{LeftOut, MessageBody, OUTPUT_BYTES_MAX},
    callback::Callback,
    choice::{MessageKind, MessageKinds, Reply},
    hidden::{hidden_within, kind_within},
    lease::{LEASE_MAX, MessageLease},
};

/// How long a message waits for a taker before it is dropped.
pub const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
/// So many messages a reply queue retains. Upkeep drops the oldest of more.
pub const REPLY_QUEUE_MESSAGES_MAX: u64 = 100_000;
/// So many bytes of messages a reply queue retains. Upkeep drops the oldest of more.
pub const REPLY_QUEUE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Names a message. It is derived from the change that it reports, so it is the same however often the change is
/// written. By it a receiver recognises a message that is delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub Uuid);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for MessageId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.trim()
            .parse()
            .map(Self)
            .map_err(|_| Invalid::new("message id", format!("{text:?} is not a UUID")))
    }
}

/// A message to a reply queue, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Derived from the change that it reports; never changes.
    pub id: MessageId,
    /// The reply queue.
    pub reply_to: String,
    /// What it reports.
    pub body: MessageBody,
}

impl Message {
    /// Messages of a reply queue with the same key are delivered one after the other: the correlation id, or the job's id
    /// where the caller gave none.
    pub fn order_key(&self) -> String {
        self.body.correlation_id.clone().unwrap_or_else(|| self.body.job_id.to_string())
    }
}

/// The effects of a change that its caller asked to be informed of: none for most jobs.
pub(crate) fn of_change(job: &JobRow, change: &Change, now: Timestamp) -> Vec<Effect> {
    // Nearly all jobs end here.
    if job.extras.reply.is_none() && job.extras.callback.is_none() {
        return Vec::new();
    }
    let Some(kind) = kind_of(job, change) else { return Vec::new() };
    let id = id::of_change(kind, change, now);
    effects(job, kind, id, || MessageBody::of_change(kind, job, change, now))
}

/// The effects of the claim of a job that was just claimed, for stores that claim many jobs in one statement: those that
/// [`transition::apply`](crate::transition::apply) answers for it.
pub fn of_claimed(job: &JobRow, now: Timestamp) -> Vec<Effect> {
    let kind = MessageKind::Started;
    let id = id::of_revision(kind, job.id, job.revision.saturating_sub(1), now);
    effects(job, kind, id, || MessageBody::of_claimed(job, now))
}

/// What the stored text of [`Extras`](crate::Extras) contains if a claim of the job has effects.
pub const STARTED_IN_EXTRAS: &str = r#""on":["started""#;

/// The effects of progress that a running handler reported: none unless the caller asked for it.
pub fn of_progress(job: &JobRow, progress: &Progress, now: Timestamp) -> Vec<Effect> {
    let kind = MessageKind::Progress;
    let id = id::of_progress(job, progress, now);
    effects(job, kind, id, || MessageBody::of_progress(job, progress, now))
}

/// Of what a change informs. A change informs of one thing at most.
fn kind_of(job: &JobRow, change: &Change) -> Option<MessageKind> {
    match (job.state, change.state) {
        (State::Queued, State::Running) => Some(MessageKind::Started),
        (State::Queued | State::Running | State::Waiting, State::Completed) => Some(MessageKind::Completed),
        (State::Queued | State::Running | State::Waiting, State::Cancelled) => Some(MessageKind::Cancelled),
        (State::Queued | State::Running | State::Waiting, State::Discarded) => Some(MessageKind::Discarded),
        // The attempt has ended, and the job goes on.
        (State::Running, State::Queued | State::Waiting) if change.attempt_ended().is_some() => {
            Some(MessageKind::FailedAttempt)
        }
        // A snooze, a release, a suspend, a mark on a run, a wake, an amendment.
        (
            State::Queued | State::Running | State::Waiting,
            State::Queued | State::Running | State::Waiting,
        ) => None,
        // A finished job that begins again.
        (State::Completed | State::Cancelled | State::Discarded, _) => None,
    }
}

fn effects(job: &JobRow, kind: MessageKind, id: Uuid, body: impl Fn() -> MessageBody) -> Vec<Effect> {
    let mut effects = Vec::new();
    if let Some(reply) = job.extras.reply.as_ref().filter(|reply| reply.on.contains(kind)) {
        if reply.is_to_broker() {
            effects.extend(enqueue(forward::job(reply, id, body(), job)));
        } else {
            let message = Message { id: MessageId(id), reply_to: reply.to.clone(), body: body() };
            effects.push(Effect::Message(Box::new(message)));
        }
    }
    if let Some(callback) = job.extras.callback.as_ref().filter(|callback| callback.on.contains(kind)) {
        effects.extend(enqueue(callback::job(callback, id, body(), job)));
    }
    effects
}

/// A job that sends a message, and a hint for the workers that serve its queue.
fn enqueue(new: NewJob) -> [Effect; 2] {
    let notify = Effect::NotifyQueue { queue: new.job.queue.clone(), due_at: new.job.scheduled_at };
    [Effect::Enqueue(Box::new(new)), notify]
}
