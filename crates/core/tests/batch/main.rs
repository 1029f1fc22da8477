//! Batches: adds, the close, the end jobs, nesting, progress; and a model store that a crash may stop between any two transactions.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "../common/mod.rs"]
mod common;

mod end;
mod model;
mod pace;
mod stored;
mod tally;

use backroom_core::{
    Draft,
    batch::{Batch, BatchId, Counts, Gate, Stripe},
};
use uuid::Uuid;

fn batch_id(n: u128) -> BatchId {
    BatchId(Uuid::from_u128(n))
}

/// An open batch with both end jobs.
fn opened(stripes: u16) -> Batch {
    let batch = Batch::open(batch_id(0xba7c), None, stripes, common::now()).unwrap();
    let draft = |kind: &str| Some(Draft::new(kind, common::json("{}")));
    Batch { on_success: draft("publish"), on_finish: draft("report"), ..batch }
}

fn stripe(live: u64, completed: u64, discarded: u64) -> Stripe {
    Stripe { counts: Counts { live, completed, cancelled: 0, discarded }, gate: Gate::Closed }
}
