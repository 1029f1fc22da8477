//! What every Rust program of the comparison shares: the workload, the scenarios and the count of what ran.
//!
//! A peer's program implements [`Peer`] in its own best way and calls [`main`] with it; the clock is stopped here, so it
//! stops at the same place for everybody. It never knows which peer it measures. Start reading at [`Peer`], then
//! the module `scenario`. The programs in other languages follow the same contract: see `bench/compare/README.md`.

#![deny(missing_docs)]

mod clock;
mod email;
mod peer;
mod pickup;
mod report;
mod request;
mod scenario;
mod seen;

use std::process::ExitCode;

pub use email::Email;
pub use peer::{Error, Peer};
pub use request::Request;
pub use seen::ran;

/// Measures what the environment asks for and prints it as one line of JSON. Whatever goes wrong is said on standard
/// error, and the program fails.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the driver reads both")]
pub fn main<P: Peer>() -> ExitCode {
    match measure::<P>() {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("failed to measure: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One thread per core, as tokio does by default: the same for every peer.
fn measure<P: Peer>() -> Result<String, Error> {
    let request = Request::from_environment()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(scenario::run::<P>(&request))?;
    // What a library left running in the background has no more to say.
    runtime.shutdown_background();
    Ok(serde_json::to_string(&report)?)
}
