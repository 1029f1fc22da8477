//! The server on a SQLite file, killed with `kill -9` under load, again and again.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod cli_support;
mod kills;
mod serve_support;

use cli_support::Place;

#[test]
fn twenty_kills_under_load_lose_no_job_no_reply_and_no_callback() {
    let place = Place::new();
    let store = format!("sqlite:{}", place.path("backroom.db").display());
    kills::run(&place, &store, 1);
}
