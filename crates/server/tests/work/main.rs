//! Kinds of the settings: commands that run inside `backroom serve` and in `backroom work`, here and at a server.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "../cli_support/mod.rs"]
mod cli_support;
mod commands;
mod endpoints;
mod keys;
mod killed;
mod misbehaving;
mod page;
#[path = "../postgres_place/mod.rs"]
mod postgres_place;
mod protocol;
mod rates;
mod scanned;
mod sensitive;
#[path = "../serve_support/mod.rs"]
mod serve_support;
mod support;
