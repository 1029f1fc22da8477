//! The worker: claims jobs into slots, runs their handlers, and records what became of them.
//!
//! The way of one job through this module: [`claim`] decides when to claim, [`claim_call`] sends the claim and puts the
//! jobs into a [`pool`], [`execute`] runs a job in its slot, [`recording`] turns the answer into an event for the
//! [`recorder`](crate::recorder). Beside them [`heartbeat`] says that the worker lives, [`leases`] checks what it still
//! holds, and [`notes`] writes progress and log lines. [`start`] starts all this and [`running_worker`] stops it.
//!
//! The groups of files below stand in the order of their dependencies: a group uses only itself and those above it.

// What is known without any job.
mod held_bytes;
mod identity;
mod kind_breakers;
mod neighbours;
mod panics;
mod pending_notes;
mod prefetch;
mod queue_order;
mod row_writes;
mod runtime_watch;
mod settings;
mod trial;
mod trouble;

// One run, and the places where runs are.
mod active_runs;
mod notes;
mod pool;
mod report;
mod run;
mod suspects;

// What runs need, what runs, and what signals.
mod resources;
mod signals;
#[cfg(feature = "sealed")]
mod unseal;
mod work;

// The call of a handler.
mod call;
mod context;
mod on_thread;

// The tasks of a worker.
mod blocked;
mod claim;
mod claim_call;
mod execute;
mod give_back;
mod heartbeat;
mod heartbeat_thread;
mod leases;
mod recording;
mod shared;
mod stats;
mod stuck;
mod trial_turns;

// A worker from its building to its end.
mod build;
#[cfg(all(feature = "exec", target_os = "linux"))]
mod commands;
mod plan;
mod register;
mod running_worker;
mod start;
mod still_running;

pub use build::Worker;
pub(crate) use call::run_handler;
pub use context::Context;
#[cfg(feature = "callbacks")]
pub(crate) use kind_breakers::KindBreaker;
#[doc(hidden)]
pub use neighbours::Neighbours;
pub(crate) use panics::caught_in;
pub use queue_order::QueueOrder;
pub(crate) use register::{check_state, decode, encode, names_of, take_state};
pub(crate) use run::StopReason;
pub use running_worker::{RunningWorker, Stopped};
pub use still_running::StillRunning;
#[cfg(feature = "sealed")]
pub(crate) use unseal::{UNUSABLE, WAITS};
