//! The tests' PostgreSQL server, and a store of a test's own in it.

#![allow(
    dead_code,
    reason = "every test file uses its own part; one that used all could not expect any to be dead"
)]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::time::{SystemTime, UNIX_EPOCH};

/// The server's URL.
pub(crate) fn server() -> String {
    variable("BACKROOM_TEST_POSTGRES")
}

/// A variable that xtask sets. Its absence is a failure, never a pass.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set; run the tests by `cargo xtask test` or `cargo xtask postgres cargo test …`"
        )
    })
}

/// `url` with a schema that no other test has.
pub(crate) fn with_schema(url: &str, test: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "makes a name that no run before had")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let joint = if url.contains('?') { '&' } else { '?' };
    format!("{url}{joint}schema=cli_{test}_{}_{now}", std::process::id())
}

/// What stands between the user and the host of a URL.
pub(crate) fn password(url: &str) -> &str {
    let userinfo = url.split_once("://").unwrap().1.rsplit_once('@').unwrap().0;
    userinfo.split_once(':').expect("the tests' server wants a password").1
}
