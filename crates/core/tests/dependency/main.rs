//! Jobs that run after others: every edge in every state, arrivals, retries, graphs, and a model store that crashes between any two
//! transactions.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "../common/mod.rs"]
mod common;

mod arrive;
mod edges;
mod explain;
mod graph;
mod links;
mod model;
mod retry;
mod tree;

use backroom_core::{JobId, JobRow, State};
use uuid::Uuid;

/// The n-th job of a test.
fn job_id(n: u128) -> JobId {
    JobId(Uuid::from_u128(n))
}

/// A new job.
fn new_job(n: u128) -> JobRow {
    JobRow {
        id: job_id(n),
        attempt: 0,
        lease_id: None,
        worker: None,
        started_at: None,
        unique_key: None,
        unique_while: None,
        unique_held: false,
        scheduled_at: common::now(),
        created_at: common::now(),
        revision: 0,
        ..common::queued()
    }
}

/// A job of another state.
fn job_in(n: u128, state: State) -> JobRow {
    match state {
        State::Queued => new_job(n),
        State::Running => JobRow { id: job_id(n), ..common::running() },
        State::Waiting => JobRow { state, ..new_job(n) },
        State::Completed | State::Cancelled | State::Discarded => {
            JobRow { id: job_id(n), ..common::finished(state) }
        }
    }
}
