//! Verbs for triggers: what they are, who reads their sources, where those are, and deliveries that became no job.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{Json, LeaseId, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Error;

/// Stores what triggers need to go on where another process stopped.
#[async_trait]
pub trait TriggerVerbs: Send + Sync {
    /// Stores what a trigger is. Its pause, its readers and its state stay as they are.
    async fn put_trigger(&self, name: &str, definition: Json, now: Timestamp) -> Result<(), Error>;

    /// A trigger with its readers; none if its name is unknown.
    async fn trigger(&self, name: &str) -> Result<Option<TriggerRow>, Error>;

    /// Triggers by name, after `after` when given, at most `limit`.
    async fn triggers(&self, after: Option<&str>, limit: usize) -> Result<Vec<TriggerRow>, Error>;

    /// Pauses a trigger, or ends its pause. A trigger that is paused already stays paused as it was. Answers whether there is such a
    /// trigger.
    async fn pause_trigger(&self, name: &str, pause: Option<TriggerPause>) -> Result<bool, Error>;

    /// Forgets a trigger with its readers, its state and its dead letters. Its jobs stay.
    async fn delete_trigger(&self, name: &str) -> Result<(), Error>;

    /// Makes a lease the reader of a trigger, or beats for it, as [`TriggerHold::decide`] says. Answers with the reader afterwards.
    /// Readers that share a trigger never meet another; those whose last beat is old are deleted
    /// ([`READERS_FORGOTTEN_AFTER`]).
    async fn hold_trigger(&self, hold: Arc<TriggerHold>, now: Timestamp) -> Result<TriggerReader, Error>;

    /// Ends a lease of a reader. Nothing happens if it has ended already.
    async fn release_trigger(&self, name: &str, lease: LeaseId) -> Result<(), Error>;

    /// Writes values of a source, all or none: durable once it answers. With a lease it writes nothing unless that lease is the
    /// exclusive reader's. Answers whether it wrote.
    async fn write_trigger_state(&self, write: Arc<WriteState>) -> Result<bool, Error>;

    /// Values of a source by key: keys that begin with `prefix`, after `after` when given, at most `limit`.
    async fn trigger_state(
        &self,
        name: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, String)>, Error>;

    /// The values of these keys, in order.
    async fn trigger_values(&self, name: &str, keys: Arc<Vec<String>>) -> Result<Vec<Option<String>>, Error>;

    /// Stores deliveries that became no job. One with the same trigger and identity is replaced, but its id stays. Of more than
    /// [`DEAD_LETTERS_MAX`] of one trigger, or more than [`DEAD_LETTER_BYTES_MAX`], the oldest are dropped and counted. Answers the
    /// id under which each is stored, in order.
    async fn put_dead_letters(&self, letters: Arc<Vec<DeadLetter>>) -> Result<Vec<Uuid>, Error>;

    /// Dead letters without their bodies: of one trigger or of all, the newest first, below `before` when given, at most `limit`.
    async fn dead_letters(
        &self,
        trigger: Option<&str>,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Error>;

    /// One dead letter with its body.
    async fn dead_letter(&self, id: Uuid) -> Result<Option<DeadLetter>, Error>;

    /// Deletes dead letters.
    async fn delete_dead_letters(&self, ids: Arc<Vec<Uuid>>) -> Result<(), Error>;
}

/// Most dead letters of one trigger.
pub const DEAD_LETTERS_MAX: u32 = 10_000;
/// Most bytes of the dead letters of one trigger.
pub const DEAD_LETTER_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// A reader that shares a trigger is forgotten when its last beat is older than this. It only concerns what is listed.
pub const READERS_FORGOTTEN_AFTER: std::time::Duration = std::time::Duration::from_secs(3600);

/// A trigger as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerRow {
    /// Its name.
    pub name: String,
    /// What it is: its source and its mapping, without secrets.
    pub definition: Json,
    /// Since when and why it is paused.
    pub paused: Option<TriggerPause>,
    /// Dead letters that were dropped because there were too many.
    pub dropped: u64,
    /// Dead letters that are stored.
    pub dead_letters: u64,
    /// When its definition was last stored.
    pub defined_at: Timestamp,
    /// Who reads its source, also processes that have died.
    pub readers: Vec<TriggerReader>,
}

/// A pause of a trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerPause {
    /// When it began.
    pub at: Timestamp,
    /// Who paused it, or why.
    pub reason: String,
}

/// A process that reads the source of a trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerReader {
    /// Its lease.
    pub lease: LeaseId,
    /// The process.
    pub holder: String,
    /// Whether no other process may read at the same time.
    pub exclusive: bool,
    /// How often it has beaten. An observer takes it for dead when this has not moved for a lease of the observer's own clock.
    pub beats: u64,
    /// When it last beat, for people.
    pub beat_at: Timestamp,
    /// What it reports of itself.
    pub status: Json,
}

/// What a process wants that reads a source, or wants to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerHold {
    /// The trigger.
    pub trigger: String,
    /// The reader as it shall be.
    pub reader: TriggerReader,
    /// The reader that was observed not to beat: its lease and its last beat.
    pub dead: Option<(LeaseId, u64)>,
}

impl TriggerHold {
    /// The reader that a trigger has after this call, where `known` had it before. The known one stays unless it is this one, or is
    /// the one that was observed to be dead.
    pub fn decide<'a>(&'a self, known: Option<&'a TriggerReader>) -> &'a TriggerReader {
        let Some(known) = known else { return &self.reader };
        let is_ours = known.lease == self.reader.lease && known.beats <= self.reader.beats;
        if is_ours || self.dead == Some((known.lease, known.beats)) { &self.reader } else { known }
    }

    /// The key of the reader among those of its trigger: exclusive readers share one.
    pub(crate) fn slot(&self) -> String {
        if self.reader.exclusive { String::new() } else { self.reader.lease.to_string() }
    }
}

/// Values to write for a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteState {
    /// The trigger.
    pub trigger: String,
    /// The lease of the exclusive reader on whose behalf they are written.
    pub lease: Option<LeaseId>,
    /// Each key with its new value; none deletes it.
    pub values: Vec<(String, Option<String>)>,
}

impl WriteState {
    /// How many bytes it carries.
    pub(crate) fn bytes(&self) -> usize {
        let of = |(key, value): &(String, Option<String>)| key.len() + value.as_ref().map_or(0, String::len);
        self.values.iter().map(of).sum()
    }
}

/// A delivery that became no job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its id: a UUIDv7.
    pub id: Uuid,
    /// The trigger.
    pub trigger: String,
    /// The identity of the delivery.
    pub identity: String,
    /// Why it became no job.
    pub reason: String,
    /// When it was refused.
    pub at: Timestamp,
    /// Everything of the delivery but its body, as the triggers' crate reads it.
    pub delivery: Json,
    /// How many bytes the body had.
    pub body_bytes: u64,
    /// The body; none in a list, and none if it was too large to be stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Vec<u8>>,
}

impl DeadLetter {
    /// How many bytes it takes.
    pub fn bytes(&self) -> u64 {
        let body = self.body.as_ref().map_or(0, Vec::len);
        (self.identity.len() + self.reason.len() + self.delivery.as_str().len() + body) as u64
    }
}
