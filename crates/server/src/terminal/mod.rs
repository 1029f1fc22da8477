//! The terminal: what commands and the demo share to read what people write and to write what people read.
//!
//! It knows no command and no store. [`out`] writes, [`visible`] escapes what a terminal would obey, [`table`] and [`words`]
//! shape the answers, [`parse`] reads options, [`notices`] shows warnings of the library.

pub(crate) mod notices;
pub(crate) mod out;
pub(crate) mod parse;
mod problem;
pub(crate) mod stderr;
pub(crate) mod table;
pub(crate) mod visible;
pub(crate) mod words;

use std::future::Future;

use backroom::{
    Timestamp,
    clock::{Clock as _, SystemClock},
};

pub(crate) use problem::Problem;

/// The time of this machine, for what is read before a store is open. Jobs bear the times of the store's clock.
pub(crate) fn now() -> Timestamp {
    SystemClock::default().now()
}

/// Returns at the first Ctrl-C. From the first call on Ctrl-C no longer ends the program by itself.
pub(crate) async fn interrupted() -> Problem {
    match tokio::signal::ctrl_c().await {
        Ok(()) => Problem::Interrupted,
        // Where no handler can be set, Ctrl-C still ends the program.
        Err(_) => std::future::pending().await,
    }
}

/// Runs something that may be dropped half-way at any point.
pub(crate) async fn unless_interrupted<T>(
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    tokio::select! {
        done = work => done,
        problem = interrupted() => Err(problem),
    }
}
