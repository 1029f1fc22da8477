//! The server as users run it, on a PostgreSQL server: what `serve/main.rs` tests on a file, where the store matters.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod cli_support;
mod postgres_place;
mod serve_support;
#[path = "serve/postgres_side.rs"]
mod side;

#[path = "serve/abuse.rs"]
mod abuse;
#[path = "serve/access.rs"]
mod access;
#[path = "serve/command_line.rs"]
mod command_line;
#[path = "serve/health.rs"]
mod health;
#[cfg(target_os = "linux")]
#[path = "serve/idle.rs"]
mod idle;
