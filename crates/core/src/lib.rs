//! The pure decisions of Backroom: what a job is, which states it may take, what each event does to it.
//!
//! Nothing here reads a clock, draws a random number, writes a row or uses tokio. Time, chance and ids are arguments.
//! Answers are values: stores and workers carry them out. So a test of a rule only has to call a function.
//!
//! Start reading at [`transition::apply`], the one place that decides what an [`Event`] does to a [`JobRow`].

#![deny(missing_docs)]

mod amend;
pub mod audit;
pub mod batch;
pub mod blame;
pub mod bounds;
pub mod breaker;
mod change;
pub mod dependency;
pub mod draft;
mod effect;
mod event;
pub mod explain;
pub mod extras;
pub mod http_url;
pub mod idempotency;
pub mod invalid;
mod job;
pub mod json;
mod kinds;
mod lease;
pub mod links;
pub mod message;
mod millis;
mod plain;
pub mod queue;
pub mod redact;
pub mod retention;
pub mod retry;
pub mod sample;
pub mod schedule;
pub mod sealed;
mod state;
pub mod stats;
mod suspicion;
pub mod template;
pub mod token;
pub mod trace;
pub mod transition;
pub mod unique;
mod versioned;
pub mod workflow;

pub use amend::{Amendment, Content};
pub use audit::AuditEntry;
pub use change::{Attempt, AttemptEnd, Change};
pub use draft::Draft;
pub use effect::Effect;
pub use event::{Event, Loss, Part};
pub use extras::Extras;
pub use invalid::Invalid;
pub use job::{JobId, JobRow, LogLine, Progress};
pub use json::Json;
pub use kinds::Kinds;
pub use lease::LeaseId;
pub use message::{
    Callback, Message, MessageBody, MessageId, MessageKind, MessageKinds, MessageLease, Reply,
};
pub use queue::{PausedBy, Queue};
pub use retry::RetryPolicy;
pub use state::{DisplayState, State};
pub use suspicion::{POISON, Standing, Suspicion};
pub use token::{QueuePattern, Scope, SecretHash, Token, TokenId};
pub use transition::Refused;

/// A moment. Stores have microseconds, so every moment of a job is cut to whole ones ([`bounds::whole_micros`]). Otherwise
/// a job would come back from a store with another moment.
pub type Timestamp = jiff::Timestamp;
