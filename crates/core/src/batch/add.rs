//! Who may add members to a batch.

use super::{BatchId, stripe::Gate};
use crate::Invalid;

/// Who adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adder {
    /// A program from outside the batch.
    Outside,
    /// A member that runs. Its row is locked, so the batch cannot end before the transaction that adds.
    Member,
}

/// Whether members may be added. `gate` is that of the stripe, which the transaction has locked: so the add is ordered against
/// the close and the cancel, and no member escapes either.
pub fn may_add(batch: BatchId, gate: Gate, adder: Adder) -> Result<(), Invalid> {
    match (gate, adder) {
        (Gate::Open, Adder::Outside | Adder::Member) | (Gate::Closed, Adder::Member) => Ok(()),
        (Gate::Closed, Adder::Outside) => {
            let why = format!(
                "{batch} is closed; only its own members may add to it while they run. Add before the close, or open another \
                 batch"
            );
            Err(Invalid::new("batch", why))
        }
        (Gate::Cancelled, Adder::Outside | Adder::Member) => {
            Err(Invalid::new("batch", format!("{batch} was cancelled; open another one")))
        }
    }
}
