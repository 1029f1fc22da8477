//! Background jobs: hand work to the back room and go on serving your users.
//!
//! A *job* is a kind and its args. A *client* ([`Backroom`]) enqueues it into a *queue* of a store; a [`Worker`]
//! claims it under a lease, runs its *handler* and records what became of it. An acknowledged enqueue is
//! durable, a job runs at least once and is recorded once, and a dead worker's jobs run elsewhere.
//!
//! ```
//! use backroom::{Backroom, Context, Failure, Job, Worker};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Greet { name: String }
//!
//! impl Job for Greet {
//!     const KIND: &'static str = "greet";
//!     type Output = String;
//! }
//!
//! async fn greet(job: Greet, _: Context) -> Result<String, Failure> {
//!     Ok(format!("hello, {}", job.name))
//! }
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let url = format!("sqlite:{}", dir.path().join("backroom.db").display());
//! let backroom = Backroom::open(&url).await?; // "sqlite:backroom.db"
//! let worker = Worker::new(&backroom).queue("default", 4).handle(greet).start().await?;
//! let job = backroom.enqueue(Greet { name: "Ada".into() }).await?;
//! assert_eq!(job.wait().await?, "hello, Ada");
//! worker.stop().await?;
//! # Ok(()) }
//! ```
//!
//! # Features
//!
//! | feature | what it brings | needs |
//! |---|---|---|
//! | `sqlite` (default) | the store in one SQLite file | Rust 1.90, a C compiler |
//! | `postgres` | the store on a PostgreSQL server, version 14 or newer | Rust 1.90 |
//! | `sqlx`, `sqlx-sqlite` | enqueue inside transactions of sqlx 0.9 | Rust 1.94 |
//! | `exec` | jobs that run in child processes: [`Worker::command`]; Linux only | Rust 1.90 |
//! | `callbacks` | sends callbacks: signed HTTP requests about jobs to URLs that callers named | Rust 1.90 |
//! | `sealed` | args, outputs and logs that only the holders of a key can read: [`sealed`] | Rust 1.90 |
//! | `testing` | a kit for testing programs that use Backroom | Rust 1.90 |
//!
//! The path of one job, to read along: [`Backroom::enqueue`] → `Draft::check` → [`store::JobVerbs::insert`] ·
//! `worker/claim_call.rs` → [`store::JobVerbs::claim`] · `worker/execute.rs` → your handler · `recorder/` →
//! `transition::apply` → [`store::JobVerbs::commit`].

#![deny(missing_docs)]
// Futures of the PostgreSQL store nest deeper than the compiler's default of 128 allows.
#![recursion_limit = "256"]

#[cfg(feature = "callbacks")]
mod callbacks;
mod client;
pub mod clock;
#[cfg(all(feature = "exec", target_os = "linux"))]
pub mod command;
mod config;
mod ended;
#[cfg(feature = "callbacks")]
mod endpoint;
mod ends;
mod engine;
mod error;
mod failure;
mod handler;
mod handler_state;
#[cfg(feature = "callbacks")]
mod http_out;
pub mod ids;
mod leases;
mod middleware;
#[cfg(doctest)]
mod pages;
mod process;
mod recorder;
mod repeated;
mod schedule_news;
#[cfg(feature = "sealed")]
pub mod sealed;
pub mod store;
mod tally;
mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
mod upkeep;
mod worker;
pub mod workflow;

/// The attribute that [`Middleware`], [`clock::Clock`] and [`store::Store`] are implemented with.
pub use async_trait::async_trait;
pub use backroom_core as core;
/// What a schedule is made of: specs, policies, state, history.
pub use backroom_core::schedule;
pub use backroom_core::{
    Attempt, AttemptEnd, AuditEntry, Callback, DisplayState, Draft, Extras, Invalid, JobId, JobRow, Json,
    Kinds, LeaseId, LogLine, MessageBody, MessageId, MessageKind, MessageKinds, PausedBy, Progress, Queue,
    QueuePattern, RetryPolicy, Scope, State, Timestamp, Token, TokenId,
    batch::BatchId,
    dependency::OnFailure,
    explain::Reason,
    retention::{Retention, RetentionLimit},
    stats::{Histogram, KindStats},
    unique::UniqueRule,
};
#[cfg(feature = "callbacks")]
pub use callbacks::CallbackOptions;
pub use client::{
    Acted, Action, Amend, Audit, BackfillOptions, Backroom, BadArgs, BatchHandle, BatchState, BatchStatus,
    ChosenJob, Cursor, Enqueue, EnqueueMany, EnqueuedGraph, EnqueuedMany, Explanation, Follow, Forgotten,
    Found, GraphEdge, GraphNode, Job, JobEvent, JobHandle, NewToken, News, OpenBatch, Page, Put, Redacted,
    Replies, SECRET_PREFIX, Schedule, ScheduleInfo, ScheduleSummary, Schedules, Secret, Stats, Taken, Tokens,
    Tree, TreeEdge, TreeNode, TriggerOptions, Untyped, Watch,
};
pub use config::{Options, without_password};
pub use ended::{Ended, Ending};
#[cfg(feature = "callbacks")]
pub use endpoint::EndpointSpec;
pub use ends::ATTEMPTS_TARGET;
pub use error::{Error, ErrorKind};
pub use failure::Failure;
pub use handler_state::FromState;
#[cfg(feature = "callbacks")]
pub use http_out::signature::SigningSecret;
pub use leases::{
    AskAnswer, ClaimOrder, Commit, Extended, LeaseHeld, Leases, RemoteAsk, RemoteWorker, Report, RunKey,
    RunOutcome, Settled, UndoDue, WorkflowAnswer, WorkflowCall, WorkflowStatus, WorkflowThen,
};
pub use middleware::{Middleware, Next};
pub use process::{Process, ProcessOnHost};
/// The SQLite driver, in the version whose transactions [`Enqueue::within`] takes. Feature `sqlite`.
#[cfg(feature = "sqlite")]
pub use rusqlite;
pub use schedule_news::{SCHEDULES_TARGET, ScheduleEvent};
/// The other driver, in the version whose transactions `Enqueue::within_sqlx` (PostgreSQL, feature `sqlx`) and
/// `Enqueue::within_sqlx_sqlite` (SQLite, feature `sqlx-sqlite`) take.
#[cfg(any(feature = "sqlx", feature = "sqlx-sqlite"))]
pub use sqlx;
pub use store::{
    Acknowledged, Blocked, Count, Durability, EndedEndpoint, Filter, Health, HealthCheck, Inserted, Load,
    MessageRow, Neighbour, NeighbourState, OpenBreaker, ReplyQueue, Side, WorkerDetails, WorkerRow,
};
pub use telemetry::{SPANS_TARGET, TraceContext};
/// The PostgreSQL driver, in the version whose transactions [`Enqueue::within_postgres`] takes. Feature `postgres`.
#[cfg(feature = "postgres")]
pub use tokio_postgres;
#[doc(hidden)]
pub use worker::Neighbours;
pub use worker::{Context, QueueOrder, RunningWorker, StillRunning, Stopped, Worker};
pub use workflow::{WorkflowContext, WorkflowError, WorkflowJournal};
