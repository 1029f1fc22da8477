//! Servers on one PostgreSQL database, killed with `kill -9` under load, again and again.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod cli_support;
mod kills;
mod postgres_place;
mod serve_support;

use cli_support::Place;
use postgres_place::{server, with_schema};

#[test]
fn twenty_kills_under_load_lose_no_job_no_reply_and_no_callback() {
    kills::run(&Place::new(), &with_schema(&server(), "kill_one"), 1);
}

#[test]
fn two_servers_that_are_killed_in_turn_lose_nothing_either() {
    kills::run(&Place::new(), &with_schema(&server(), "kill_two"), 2);
}
