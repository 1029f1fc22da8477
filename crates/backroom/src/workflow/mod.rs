//! Durable workflows: plain async functions that go on where they were after a crash, a deploy, or a wait of months.
//!
//! The decisions are core's ([`backroom_core::workflow`]). Here is what carries them out: the [context](WorkflowContext) that the code
//! of a workflow asks, and the driver, which polls the code, writes the journal and parks the workflow. Start reading at `drive`.

mod client;
mod code;
mod codes;
mod context;
mod drive;
mod error;
mod flow;
mod journal;
mod race;
mod register;
#[cfg(feature = "sealed")]
mod sealed;
mod step;
mod transaction;
mod versions;

pub use client::WorkflowJournal;
pub use context::WorkflowContext;
pub(crate) use drive::{BLOCKED_MAX, BLOCKED_MIN};
pub use error::WorkflowError;
pub(crate) use journal::{last_end, read as read_journal, refuses_retry};
pub use race::{Race, Won};
pub use step::Step;
pub use transaction::TransactionStep;
#[cfg(feature = "sqlite")]
pub(crate) use transaction::set_value;
pub use versions::Versions;

/// What a journal is made of.
pub use backroom_core::{
    links::{ChildEnd, ChildPolicy},
    workflow::{
        Answer, Arrival, Arrived, Ask, Attempted, Cause, Entry, EntryKind, EntryState, Header,
        JOURNAL_BYTES_MAX, KEY_BYTES_MAX, Opened, Phase, SIGNALS_MAX, STEPS_MAX, Undo, VALUE_BYTES_MAX,
    },
};
