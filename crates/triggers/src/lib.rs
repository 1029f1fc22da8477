//! Sources that start jobs of Backroom: what happens outside becomes a job, once.
//!
//! A *source* yields *deliveries*; a *mapping* says which job each becomes. The source is acknowledged only after the job is durable,
//! and the job is unique by the identity of its delivery. So a delivery that comes twice is one job. A delivery that cannot become
//! a job is stored as a dead letter with the reason, and does not block those behind it.
//!
//! ```no_run
//! # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
//! use backroom::Backroom;
//! use backroom_triggers::{Folder, Mapping, Triggers};
//!
//! let backroom = Backroom::open("sqlite:backroom.db").await?;
//! let mapping = Mapping::kind("make_thumbnail").queue("images").build()?;
//! let triggers = Triggers::new(&backroom).add("uploads", Folder::new("in").created(), mapping).start().await?;
//! // …
//! triggers.stop().await;
//! # Ok(()) }
//! ```
//!
//! To read along: [`Source`] is what a kind of source implements, `runner` has the loop that reads it, `intake` makes jobs of
//! deliveries. A new kind of source is one file.

#![deny(missing_docs)]

pub mod admin;
#[cfg(any(feature = "objects", feature = "sqs"))]
mod aws;
#[cfg(any(feature = "objects", feature = "azure-queue"))]
mod azure;
#[cfg(feature = "azure-queue")]
mod azure_queue;
#[cfg(any(feature = "amqp", feature = "mqtt", feature = "nats", feature = "redis"))]
mod broker;
#[cfg(any(feature = "objects", feature = "azure-queue"))]
mod cloud;
#[cfg(any(feature = "amqp", feature = "hooks", feature = "mqtt", feature = "nats", feature = "redis"))]
mod cloud_event;
mod definition;
mod delivery;
#[cfg(feature = "folder")]
mod folder;
#[cfg(any(feature = "folder", feature = "objects"))]
mod glob;
mod holding;
#[cfg(feature = "hooks")]
pub mod hooks;
mod intake;
mod mapping;
#[cfg(feature = "objects")]
mod objects;
mod place;
#[cfg(any(feature = "azure-queue", feature = "sqs"))]
mod pump;
#[cfg(any(feature = "amqp", feature = "nats", feature = "redis"))]
mod replies;
mod runner;
mod source;
#[cfg(feature = "sqs")]
mod sqs;
mod status;
#[cfg(any(feature = "postgres-table", feature = "sqlite-table"))]
mod table;
mod triggers;

#[cfg(any(feature = "objects", feature = "sqs"))]
pub use aws::AwsAccess;
#[cfg(any(feature = "objects", feature = "azure-queue"))]
pub use azure::AzureAccess;
#[cfg(feature = "azure-queue")]
pub use azure_queue::{AzureQueue, QueueEncoding};
#[cfg(feature = "amqp")]
pub use broker::AmqpQueue;
#[cfg(feature = "nats")]
pub use broker::JetStream;
#[cfg(feature = "mqtt")]
pub use broker::MqttTopics;
#[cfg(any(feature = "amqp", feature = "mqtt", feature = "nats", feature = "redis"))]
pub use broker::Readers;
#[cfg(feature = "redis")]
pub use broker::RedisStream;
pub use definition::Definition;
pub use delivery::{Delivery, IDENTITY_BYTES_MAX};
#[cfg(feature = "folder")]
pub use folder::{Folder, FolderEvent, Symlinks};
pub use intake::{Intake, Outcome, Preview};
pub use mapping::{BodyFormat, Mapping, MappingBuilder, MappingRule};
#[cfg(feature = "objects")]
pub use objects::{ObjectEvent, Objects};
#[cfg(any(feature = "amqp", feature = "nats", feature = "redis"))]
pub use replies::{ReplyBrokers, permits_reply};
pub use source::{Bounds, Settled, Source, SourceContext, SourceError, SourceState, Verdict};
#[cfg(feature = "sqs")]
pub use sqs::SqsQueue;
pub use status::{Activity, Counters, Status};
#[cfg(feature = "postgres-table")]
pub use table::PostgresTable;
#[cfg(any(feature = "postgres-table", feature = "sqlite-table"))]
pub use table::RowEvent;
#[cfg(feature = "sqlite-table")]
pub use table::SqliteTable;
pub use triggers::{LEASE_DEFAULT, RunningTriggers, Triggers};
