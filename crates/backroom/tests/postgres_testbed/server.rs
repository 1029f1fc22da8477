//! Servers of a test's own, of the programs that the tests are given.

use backroom_testbed::{Login, Place, Server};

use crate::postgres_support::variable;

/// What differs from PostgreSQL's own defaults, and why.
const SETTINGS: [&str; 4] = [
    "listen_addresses=127.0.0.1",
    // They protect against the loss of the machine; a killed server loses nothing without them.
    "fsync=off",
    "full_page_writes=off",
    // A standby asks again sooner for what it missed while the primary was being made.
    "wal_retrieve_retry_interval=200ms",
];

/// A new database, not started yet.
pub(crate) fn make() -> Server {
    let place = Place::make().unwrap();
    Server::make(place, variable("BACKROOM_TEST_PG_BIN").into(), &SETTINGS, Login::Trust).unwrap()
}

/// No database yet: it becomes a standby of another.
pub(crate) fn empty() -> Server {
    let place = Place::make().unwrap();
    Server::empty(place, variable("BACKROOM_TEST_PG_BIN").into(), &SETTINGS).unwrap()
}

/// The database of every test.
pub(crate) fn url(server: &Server) -> String {
    server.url("postgres")
}
