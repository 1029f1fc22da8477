//! Real brokers, and the real server that reads them: each message that the broker does not lose becomes one job, in order.
//!
//! `bench` says what differs between the brokers, `scenarios` what is the same for all. Each broker runs every scenario.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "../cli_support/mod.rs"]
mod cli_support;
#[path = "../serve_support/mod.rs"]
mod serve_support;

mod amqp;
mod bench;
mod examples;
mod mqtt;
mod nats;
mod redis;
mod replies;
mod scenarios;
mod tls;
