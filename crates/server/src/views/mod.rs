//! What is answered: one type for each answer, shared by the API and the command line.
//!
//! The API serializes a view, `--json` prints it, tables are made of it, and a command that asks a server reads it back. So all of
//! them use the same names and the same shape. A list is an object with one named array: a later version can add something
//! beside it.
//!
//! Most views have rows of the library in them. The schemas of these rows are in `rows`; a test compares them with what is
//! written.

mod config;
mod endpoint;
mod enqueued;
mod event;
mod forgotten;
mod history;
mod job;
pub(crate) mod journal;
#[cfg(feature = "triggers")]
pub(crate) mod letter;
mod link;
mod matched;
pub(crate) mod preview;
mod queue;
mod reason;
mod reply;
pub(crate) mod rows;
pub(crate) mod schedule;
mod stats;
#[cfg(test)]
mod tests;
mod token;
#[cfg(feature = "triggers")]
pub(crate) mod trigger;
mod worker;

pub(crate) use self::{
    config::ConfigView,
    endpoint::EndpointPage,
    enqueued::{Enqueued, EnqueuedBatch, Outcome},
    event::{EventView, NewsView},
    forgotten::ForgottenView,
    history::{Attempts, Logs},
    job::{JobPage, JobView, WholeJob},
    journal::{EntryView, JobJournal, JournalView, SignalSent},
    link::{BatchPage, BatchView, GraphView, TreeEdgeView, TreeJob, TreeView},
    matched::{BulkAction, Matched},
    queue::{CountList, QueueList, QueueView, StateCounts},
    reason::{ReasonView, Reasons},
    reply::{Acknowledgements, MessageList, ReplyQueueList, TakenMessages},
    rows::{
        CallbackSchema, ExtrasSchema, JobSchema, OnFailureWord, ReplySchema, RetentionSchema, RetrySchema,
    },
    stats::StatsView,
    token::{AuditPage, NewTokenView, TokenList},
    worker::WorkerList,
};
