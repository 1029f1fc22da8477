//! The API over real sockets, on a PostgreSQL server.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod cli_support;
mod postgres_place;
mod serve_support;
#[path = "api/postgres_side.rs"]
mod side;

#[path = "api/bad_input.rs"]
mod bad_input;
#[path = "api/enqueue.rs"]
mod enqueue;
#[path = "api/jobs.rs"]
mod jobs;
#[path = "api/lines.rs"]
mod lines;
#[path = "api/links.rs"]
mod links;
#[path = "api/operate.rs"]
mod operate;
#[path = "api/schedules.rs"]
mod schedules;
#[path = "api/scopes.rs"]
mod scopes;
#[cfg(target_os = "linux")]
#[path = "api/slow_readers.rs"]
mod slow_readers;
#[path = "api/stream.rs"]
mod stream;
#[path = "api/support.rs"]
mod support;
#[path = "api/workflows.rs"]
mod workflows;
#[path = "api/workflows_repeated.rs"]
mod workflows_repeated;
