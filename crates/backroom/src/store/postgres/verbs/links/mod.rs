//! Jobs that are tied to others, and batches.
//!
//! What follows for other jobs from a change is written in the transaction of the change ([`carry_out`]): first the edges, whose
//! dependants are rows of `jobs`, then the counts of batches. Core decides; here sets of rows are locked and read that its decisions
//! need. `docs/decisions/0185` and `0187` explain the order of the locks.

mod batches;
mod edges;
mod follow_up;
mod insert;
mod read;

pub(crate) use self::{
    batches::{import_batches, open_batch, prune_batches, turn_batch},
    edges::{import_edges, leave, settle_left},
    follow_up::{FollowUp, carry_out, effects_of},
    insert::{insert, insert_theirs_linked, unmarked_theirs},
    read::{batch, batches, neighbours},
};
