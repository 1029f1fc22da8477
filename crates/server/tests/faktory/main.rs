//! `backroom serve --faktory`: the real program, with clients over real sockets. The published clients are in `published.rs`.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "../cli_support/mod.rs"]
mod cli_support;
mod published;
mod rates;
#[path = "../serve_support/mod.rs"]
mod serve_support;
mod sockets;
mod support;
