//! The commands, run as a user runs them. One executable for all: each of its own would be linked again, and take 30 MB.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "../cli_support/mod.rs"]
mod cli_support;
#[path = "../serve_support/mod.rs"]
mod serve_support;

mod args;
mod bad_input;
mod doctor;
mod enqueue;
mod enqueue_lines;
mod jobs;
mod links;
mod matching;
mod queues;
mod replies;
mod schedules;
mod schedules_preview;
mod stats;
mod store_trouble;
mod tail;
mod terminal;
mod timers;
mod tokens;

#[test]
fn batches_graphs_and_signals() {
    links::batches(&cli_support::Place::new());
    links::graphs(&cli_support::Place::new());
    links::signals(&cli_support::Place::new());
}
