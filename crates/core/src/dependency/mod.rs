//! Jobs that run after others: edges, what the end of a predecessor means for them, and graphs of jobs.
//!
//! An [`Edge`] leads from a predecessor to a dependant and is a row of its own. A dependant with open edges is `waiting` and
//! *held*. When a predecessor ends, lives again or is deleted, [`settle`](settle::settle) decides about each of its edges and
//! about the dependant. Nothing polls: the transaction that ends the predecessor writes the answer.
//!
//! Stores carry the decisions out as `docs/decisions/0185-edges-are-rows.md` says.

mod arrive;
mod edge;
mod explain;
pub mod graph;
pub mod retry;
pub mod settle;
pub mod tree;

pub use arrive::{Arrival, PredecessorFacts, arrive};
pub use edge::{Edge, EdgeState, EdgesOf, Happening, OnFailure, Rule};
pub use explain::{NAMED_MAX, Waited, WaitsFor};

/// Most edges into one job.
pub const EDGES_MAX: usize = 10_000;
/// Most jobs in one graph, and in one sub-tree.
pub const NODES_MAX: usize = 100_000;
/// Most edges that one transaction settles. What is left is stored with them, and settled by the next transactions.
pub const SETTLED_MAX: usize = 500;
