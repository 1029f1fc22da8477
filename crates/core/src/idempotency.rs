//! Requests that are carried out once, however often they are sent: the `Idempotency-Key` of HTTP.
//!
//! A record is begun before the jobs are stored, and chooses their ids. If the process dies in between, a repeated request
//! finds the record, stores jobs of the same ids, and so stores nothing twice.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{JobId, Timestamp};

/// How long a record is retained after it was begun.
pub const IDEMPOTENCY_RETENTION: Duration = Duration::from_secs(24 * 3600);
/// For how long a process may hold a request before another may take it over.
pub const IDEMPOTENCY_HOLD: Duration = Duration::from_secs(60);
/// Most bytes of an answer that is retained. A longer one is made again from the ids.
pub const IDEMPOTENCY_ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Most expired records that one begin deletes.
pub const IDEMPOTENCY_FORGOTTEN_MAX: u32 = 20;

/// A request under a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyRecord {
    /// A hash of the caller, the route and the key that the caller chose.
    pub key: String,
    /// A hash of the body.
    pub body: String,
    /// The id of the first job; further jobs have the ids behind it ([`JobId::nth`]).
    pub first_id: JobId,
    /// The moment of the first request: of its jobs, too.
    pub begun_at: Timestamp,
    /// The call that carries out the request.
    pub holder: Uuid,
    /// From this moment on another call may carry it out.
    pub held_until: Timestamp,
    /// From this moment on the key is free again.
    pub expires_at: Timestamp,
    /// What was answered; none while it is carried out.
    pub answer: Option<IdempotencyAnswer>,
}

/// What a request was answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyAnswer {
    /// The status.
    pub status: u16,
    /// The `Location`.
    pub location: Option<String>,
    /// The body; empty if it was too long to be retained.
    pub body: String,
}

/// What came of an attempt to begin a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// The caller carries it out, under the ids and the moment of this record.
    Yours(IdempotencyRecord),
    /// Another call carries it out at this moment.
    InFlight,
    /// The key was used for another body.
    OtherBody,
    /// It was answered before.
    Answered(IdempotencyAnswer),
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestEnd {
    /// With this answer, which a repeated request gets as well.
    Answered(IdempotencyAnswer),
    /// Nothing was stored: the record is deleted and the key is free.
    Undone,
    /// It is unknown what was stored: the next call carries it out again, under the same ids.
    Unknown,
}

/// Decides about a request from the record that is stored under its key.
pub fn begin(known: Option<&IdempotencyRecord>, wanted: &IdempotencyRecord, now: Timestamp) -> Begun {
    let Some(known) = known.filter(|known| now < known.expires_at) else {
        return Begun::Yours(wanted.clone());
    };
    if known.body != wanted.body {
        return Begun::OtherBody;
    }
    match &known.answer {
        Some(answer) => Begun::Answered(answer.clone()),
        // The same call, whose answer was lost.
        None if known.holder == wanted.holder => Begun::Yours(known.clone()),
        None if now < known.held_until => Begun::InFlight,
        None => Begun::Yours(IdempotencyRecord {
            holder: wanted.holder,
            held_until: wanted.held_until,
            ..known.clone()
        }),
    }
}

/// The record after the call `holder` has ended it; none if it is deleted. A call that no longer holds it changes nothing.
pub fn end(known: &IdempotencyRecord, holder: Uuid, end: &RequestEnd) -> Option<IdempotencyRecord> {
    if known.holder != holder || known.answer.is_some() {
        return Some(known.clone());
    }
    match end {
        RequestEnd::Answered(answer) => {
            let mut answer = answer.clone();
            if answer.body.len() > IDEMPOTENCY_ANSWER_BYTES_MAX {
                answer.body = String::new();
            }
            Some(IdempotencyRecord { answer: Some(answer), ..known.clone() })
        }
        RequestEnd::Undone => None,
        RequestEnd::Unknown => Some(IdempotencyRecord { held_until: known.begun_at, ..known.clone() }),
    }
}
