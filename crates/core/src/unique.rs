//! Uniqueness: what makes two jobs the same, how long that counts, and what happens to the second one.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Invalid, JobId, JobRow, Json, State, Timestamp, bounds};

/// What a caller asks for: no second job with the same key while the first holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UniqueRule {
    /// What makes two jobs the same.
    pub by: UniqueBy,
    /// How long the key is held.
    #[serde(rename = "while", default)]
    pub hold: UniqueHold,
    /// What happens to the second job.
    #[serde(default)]
    pub on_conflict: OnConflict,
}

/// What makes two jobs of one kind the same. Jobs of different kinds never are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UniqueBy {
    /// Equal args: the same [canonical text](Json::canonical). The order of fields, white space, escapes, and the way a
    /// number is written make no difference: `1`, `1.0` and `1e0` are one number. Nothing is rounded.
    Args,
    /// Equal values of these fields of the args, as for [`Args`](UniqueBy::Args); a missing field counts as `null`.
    Fields(Vec<String>),
    /// This key.
    Key(String),
}

/// How long a job holds its unique key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UniqueHold {
    /// Until it is finished.
    #[default]
    Live,
    /// Until it is claimed for the first time.
    Queued,
    /// This many seconds from enqueue on, whatever happens to the job: a throttle.
    ForSecs(u64),
    /// Until it is finished, but at most this many seconds from enqueue on.
    LiveForSecs(u64),
    /// Until it is claimed for the first time, but at most this many seconds from enqueue on.
    QueuedForSecs(u64),
}

/// What happens when the key is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// The job that holds the key stays, and the caller gets its id.
    #[default]
    Keep,
    /// If the job that holds the key is still queued, it takes over args, times, priority, tags and meta of the new
    /// one. Else the enqueue is refused, because the new args would be lost. With a delay this is a debounce.
    Replace,
    /// The enqueue is refused with an error that names the holder.
    Reject,
}

/// A key and how long it is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unique {
    /// As stored in [`JobRow::unique_key`].
    pub key: String,
    /// As stored in [`JobRow::unique_while`].
    pub hold: UniqueWhile,
}

/// [`UniqueHold`] with its window made absolute, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UniqueWhile {
    /// Until the job is finished.
    Live,
    /// Until the job is claimed for the first time.
    Queued,
    /// Until this moment.
    Until(Timestamp),
    /// Until the job is finished, at most until this moment.
    LiveUntil(Timestamp),
    /// Until the job is claimed for the first time, at most until this moment.
    QueuedUntil(Timestamp),
}

impl UniqueWhile {
    /// The name in a store's column `unique_while`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live | Self::LiveUntil(_) => "live",
            Self::Queued | Self::QueuedUntil(_) => "queued",
            Self::Until(_) => "until",
        }
    }

    /// The moment in a store's column `unique_until`.
    pub const fn until(self) -> Option<Timestamp> {
        match self {
            Self::Live | Self::Queued => None,
            Self::Until(until) | Self::LiveUntil(until) | Self::QueuedUntil(until) => Some(until),
        }
    }

    /// Whether the first claim of the job frees the key.
    pub const fn ends_with_claim(self) -> bool {
        match self {
            Self::Queued | Self::QueuedUntil(_) => true,
            Self::Live | Self::LiveUntil(_) | Self::Until(_) => false,
        }
    }

    /// Whether the key is held however the job ends.
    pub const fn outlives_the_job(self) -> bool {
        match self {
            Self::Until(_) => true,
            Self::Live | Self::LiveUntil(_) | Self::Queued | Self::QueuedUntil(_) => false,
        }
    }

    /// Whether a job that is revived at `now` takes its key again.
    pub fn is_taken_again(self, now: Timestamp) -> bool {
        match self {
            Self::Live => true,
            Self::LiveUntil(until) => until > now,
            Self::Queued | Self::QueuedUntil(_) | Self::Until(_) => false,
        }
    }

    /// From these two columns.
    pub fn stored(name: &str, until: Option<Timestamp>) -> Result<Self, Invalid> {
        match (name, until) {
            ("live", None) => Ok(Self::Live),
            ("queued", None) => Ok(Self::Queued),
            ("until", Some(until)) => Ok(Self::Until(until)),
            ("live", Some(until)) => Ok(Self::LiveUntil(until)),
            ("queued", Some(until)) => Ok(Self::QueuedUntil(until)),
            _ => Err(Invalid::new(
                "stored unique_while",
                format!("{name:?} with the moment {until:?} is unknown"),
            )),
        }
    }
}

impl UniqueRule {
    /// Equal args, while live, the first job stays.
    pub const fn by_args() -> Self {
        Self { by: UniqueBy::Args, hold: UniqueHold::Live, on_conflict: OnConflict::Keep }
    }

    /// Equal values of these fields of the args, while live, the first job stays.
    pub fn by_fields<S: Into<String>>(fields: impl IntoIterator<Item = S>) -> Self {
        let by = UniqueBy::Fields(fields.into_iter().map(Into::into).collect());
        Self { by, ..Self::by_args() }
    }

    /// The same key, while live, the first job stays.
    pub fn by_key(key: impl Into<String>) -> Self {
        Self { by: UniqueBy::Key(key.into()), ..Self::by_args() }
    }

    /// The key is free again once the job has begun.
    pub const fn while_queued(mut self) -> Self {
        self.hold = UniqueHold::Queued;
        self
    }

    /// The key is held for `window` (whole seconds) from enqueue on.
    pub const fn within(mut self, window: Duration) -> Self {
        self.hold = UniqueHold::ForSecs(window.as_secs());
        self
    }

    /// The key is held as before, but not for longer than `window` (whole seconds) from enqueue on.
    pub const fn at_most(mut self, window: Duration) -> Self {
        let secs = window.as_secs();
        self.hold = match self.hold {
            UniqueHold::Live | UniqueHold::LiveForSecs(_) => UniqueHold::LiveForSecs(secs),
            UniqueHold::Queued | UniqueHold::QueuedForSecs(_) => UniqueHold::QueuedForSecs(secs),
            UniqueHold::ForSecs(whole) if whole < secs => UniqueHold::ForSecs(whole),
            UniqueHold::ForSecs(_) => UniqueHold::ForSecs(secs),
        };
        self
    }

    /// The new job's args and times replace those of the queued holder.
    pub const fn replace(mut self) -> Self {
        self.on_conflict = OnConflict::Replace;
        self
    }

    /// A second job is an error.
    pub const fn reject(mut self) -> Self {
        self.on_conflict = OnConflict::Reject;
        self
    }

    /// The stored key and hold of a job of `kind` with `args`, enqueued at `now`.
    pub fn resolve(&self, kind: &str, args: &Json, now: Timestamp) -> Result<Unique, Invalid> {
        let kind = escaped(kind);
        let key = match &self.by {
            UniqueBy::Args => format!("{kind}#{}", fingerprint(&args.canonical()?)),
            UniqueBy::Fields(fields) => format!("{kind}#{}", fingerprint(&chosen(fields, args)?)),
            UniqueBy::Key(key) => {
                bounds::check_text("unique key", key, bounds::UNIQUE_KEY_BYTES_MAX)?;
                format!("{kind}={key}")
            }
        };
        let hold = match self.hold {
            UniqueHold::Live => UniqueWhile::Live,
            UniqueHold::Queued => UniqueWhile::Queued,
            UniqueHold::ForSecs(secs) => UniqueWhile::Until(window_end(secs, now)?),
            UniqueHold::LiveForSecs(secs) => UniqueWhile::LiveUntil(window_end(secs, now)?),
            UniqueHold::QueuedForSecs(secs) => UniqueWhile::QueuedUntil(window_end(secs, now)?),
        };
        Ok(Unique { key, hold })
    }
}

fn window_end(secs: u64, now: Timestamp) -> Result<Timestamp, Invalid> {
    if secs == 0 {
        return Err(Invalid::new("unique window", "is zero; give it at least one second"));
    }
    let window = Duration::from_secs(secs);
    bounds::check_span("unique window", window)?;
    Ok(bounds::later(now, window))
}

/// The kind with the signs that end it in a key escaped: kind `a=b` with key `c` is not kind `a` with key `b=c`.
fn escaped(kind: &str) -> String {
    kind.replace('%', "%25").replace('=', "%3D").replace('#', "%23")
}

/// Whether the job's key was made from its args, so that other args would need another key.
pub(crate) fn is_key_of_args(job: &JobRow) -> bool {
    let rest = job.unique_key.as_deref().and_then(|key| key.strip_prefix(&escaped(&job.kind)));
    rest.is_some_and(|rest| rest.starts_with('#'))
}

fn chosen(fields: &[String], args: &Json) -> Result<String, Invalid> {
    if fields.is_empty() {
        return Err(Invalid::new("unique fields", "are an empty list; name at least one field of the args"));
    }
    args.canonical_fields(fields)
}

/// Namespace of the fingerprints: any fixed UUID does, as long as it never changes.
const NAMESPACE: Uuid = Uuid::from_u128(0x8f0f_4c5e_63b1_4c7a_9a52_1d2f_5b0e_77c1);

/// A UUIDv5 (RFC 9562) over a canonical text.
fn fingerprint(canonical: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, canonical.as_bytes())
}

/// What an insert has to do about the job that holds its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// The hold has run out: take it from the holder, then insert.
    Release,
    /// Answer with the holder.
    Keep,
    /// Give the new content to the holder.
    Replace,
    /// Refuse.
    Reject,
}

/// What decides about the job that holds a key. A store reads no more of it: the rest of its row may be of a newer version of the
/// program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub id: JobId,
    /// Its state.
    pub state: State,
    /// As stored in [`JobRow::unique_while`].
    pub unique_while: Option<UniqueWhile>,
    /// As stored in [`JobRow::attempt`].
    pub attempt: u32,
    /// As stored in [`JobRow::revision`].
    pub revision: u64,
}

impl From<&JobRow> for Holder {
    fn from(job: &JobRow) -> Self {
        let JobRow { id, state, unique_while, attempt, revision, .. } = *job;
        Self { id, state, unique_while, attempt, revision }
    }
}

impl Holder {
    /// The content of `new` as it is to be written into the row of this queued holder, under its next revision. Only what
    /// [`replace_content`] writes is meant for that row.
    pub fn with_content(&self, new: &JobRow) -> JobRow {
        let mut job = JobRow { id: self.id, attempt: self.attempt, revision: self.revision, ..new.clone() };
        replace_content(&mut job, new);
        job
    }
}

/// Decides between a new job and the `holder` of its key.
pub fn resolve_conflict(holder: &Holder, on_conflict: OnConflict, now: Timestamp) -> Resolution {
    match (holder.unique_while.and_then(UniqueWhile::until), on_conflict) {
        (Some(until), _) if until <= now => Resolution::Release,
        (_, OnConflict::Keep) => Resolution::Keep,
        (_, OnConflict::Replace) if holder.state == State::Queued => Resolution::Replace,
        (_, OnConflict::Replace | OnConflict::Reject) => Resolution::Reject,
    }
}

/// Writes the content of `new` into the queued `holder`. Identity, budget spent and history stay the holder's.
pub fn replace_content(holder: &mut JobRow, new: &JobRow) {
    holder.lane.clone_from(&new.lane);
    holder.priority = new.priority;
    holder.args = new.args.clone();
    holder.max_attempts = new.max_attempts.max(holder.attempt + 1);
    holder.scheduled_at = new.scheduled_at;
    holder.expires_at = new.expires_at;
    holder.tags.clone_from(&new.tags);
    holder.extras.clone_from(&new.extras);
    holder.revision += 1;
}
