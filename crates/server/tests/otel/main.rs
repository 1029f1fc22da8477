//! The export of spans and metrics, to a collector that takes OTLP over a real socket and reads it.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "../cli_support/mod.rs"]
mod cli_support;
mod collector;
#[path = "../serve_support/mod.rs"]
mod serve_support;
mod spans;
