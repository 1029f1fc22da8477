//! The server, run as a user runs it and called over real sockets. One executable for all, as for the commands.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "../cli_support/mod.rs"]
mod cli_support;
#[path = "../postgres_place/mod.rs"]
mod postgres_place;
#[path = "../serve_support/mod.rs"]
mod serve_support;
#[path = "sqlite_side.rs"]
mod side;

mod abuse;
mod access;
mod command_line;
mod document;
mod frame;
#[cfg(target_os = "linux")]
mod full_disk;
mod health;
#[cfg(target_os = "linux")]
mod idle;
mod schedules;
mod settings;
mod systemd;
mod triggers;
mod triggers_clouds_killed;
mod triggers_examples;
mod triggers_killed;
mod triggers_tables_killed;
mod walk;
