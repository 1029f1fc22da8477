//! The dashboard in a browser, over a PostgreSQL store: every page and every action, with and without scripts. `browser.rs` takes the pictures, too.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "browser/driver.rs"]
mod driver;
#[path = "browser/filled.rs"]
mod filled;

mod cli_support;
mod postgres_place;
mod serve_support;

use cli_support::Place;
use postgres_place::{server, with_schema};

#[test]
fn every_page_and_every_action_works_on_postgresql_too() {
    let filled = filled::Filled::start(Place::of(with_schema(&server(), "browser")));
    driver::drive(&filled, "postgres", true);
    filled.server.stop();
}
