//! The worker: claims jobs into slots, runs their handlers, and records what became of them.
//!
//! One job's way through this room: [`claim`] takes it into a [`pool`], [`execute`] runs it, [`report`] decides and
//! commits. Beside them [`heartbeat`] keeps the leases, [`notes`] writes progress and logs, [`running_worker`] ends it
//! all in order.

mod active_runs;
mod blocked;
mod build;
mod claim;
mod context;
mod execute;
mod hand;
mod heart;
mod heartbeat;
mod neighbours;
mod notes;
mod panics;
mod pool;
mod prefetch;
mod report;
mod running_worker;
mod shared;
mod stats;
mod still_running;
mod trial;
mod trouble;

pub use build::Worker;
pub use context::Context;
pub(crate) use execute::run_handler;
#[doc(hidden)]
pub use neighbours::Neighbours;
pub use pool::Order;
pub use running_worker::{RunningWorker, Stopped};
pub(crate) use stats::Tally;
pub use still_running::StillRunning;
