//! Durable functions: a journal of what a workflow has done, and the replay of it.
//!
//! A workflow is a job whose handler asks for [steps, timers, signals and children](Ask). Each answer is an [`Entry`] of the journal,
//! written once. A run after a crash begins the handler again from the top; [`Run`] then gives the recorded answers in the order in which they were
//! recorded, so the handler takes the same path. Start reading at [`Run::next`].
//!
//! Workers drive runs, and stores hold journals: see `docs/decisions/0189-a-journal-is-replayed-in-its-order.md`.

mod ask;
pub mod chance;
mod end;
mod entry;
mod happening;
mod inbox;
mod journal;
mod name;
mod resume;
mod run;
mod step;
mod undo;
mod write;

pub use ask::{Answered, Ask, Attempted, Blocked, Refused, Ticket};
pub use end::moved_on;
pub use entry::{Answer, Entry, EntryKind, EntryState, Opened, Undo};
pub use inbox::{Arrival, Arrived, Inbox, check_signal};
pub use journal::{BlockedMark, Cause, Header, Journal, Phase};
pub use name::{Derived, NameError, Named, Names, ScopeId};
pub use resume::Resumed;
pub use run::{Next, Run};
pub use write::Write;

/// Most entries of one journal.
pub const STEPS_MAX: usize = 10_000;
/// Longest value of a step, a signal or a published state, in bytes of JSON.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes of values in one journal.
pub const JOURNAL_BYTES_MAX: usize = 50 * 1024 * 1024;
/// Longest key of an entry: its scopes and its name, in bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// Most signals of one workflow that no wait has taken.
pub const SIGNALS_MAX: usize = 10_000;
