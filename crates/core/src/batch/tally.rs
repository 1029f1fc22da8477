//! What one transaction does to the members of batches, collected so that it writes each stripe once.

use std::collections::BTreeMap;

use super::{Batch, BatchId, MemberState};
use crate::JobId;

/// A member counts as something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberChange {
    /// The batch.
    pub batch: BatchId,
    /// The member.
    pub job: JobId,
    /// What it counted as.
    pub from: MemberState,
    /// What it counts as.
    pub to: MemberState,
}

/// How counts change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delta {
    live: i64,
    completed: i64,
    cancelled: i64,
    discarded: i64,
}

impl Delta {
    /// How the count of members in this state changes.
    pub const fn of(self, state: MemberState) -> i64 {
        match state {
            MemberState::Live => self.live,
            MemberState::Completed => self.completed,
            MemberState::Cancelled => self.cancelled,
            MemberState::Discarded => self.discarded,
        }
    }

    const fn count(&mut self, state: MemberState) -> &mut i64 {
        match state {
            MemberState::Live => &mut self.live,
            MemberState::Completed => &mut self.completed,
            MemberState::Cancelled => &mut self.cancelled,
            MemberState::Discarded => &mut self.discarded,
        }
    }

    /// Whether nothing changes.
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }
}

/// Collects what a transaction does to members. The stripes come out in the one order in which every transaction locks them:
/// the deepest batch first, because the end of a batch goes on to its parent.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// By depth (deepest first), batch and stripe.
    deltas: BTreeMap<(std::cmp::Reverse<u16>, BatchId, u16), Delta>,
}

impl Tally {
    /// A member was stored. A store calls it for rows that it has inserted, not for those that were there already.
    pub fn added(&mut self, batch: &Batch, member: uuid::Uuid, state: MemberState) {
        *self.delta(batch, member).count(state) += 1;
    }

    /// A member counts as something else.
    pub fn changed(&mut self, batch: &Batch, member: uuid::Uuid, from: MemberState, to: MemberState) {
        let delta = self.delta(batch, member);
        *delta.count(from) -= 1;
        *delta.count(to) += 1;
    }

    /// All stripes to write, in the order in which they are locked.
    pub fn stripes(&self) -> impl Iterator<Item = (BatchId, u16, Delta)> + '_ {
        let written = self.deltas.iter().filter(|(_, delta)| !delta.is_zero());
        written.map(|((_, batch, stripe), delta)| (*batch, *stripe, *delta))
    }

    /// Takes out the stripes of the deepest batches, in the order in which they are locked; none when nothing is left. What their ends
    /// mean for their parents is added to what is left.
    pub fn take_deepest(&mut self) -> Vec<(BatchId, u16, Delta)> {
        let mut taken = Vec::new();
        while taken.is_empty() {
            let Some((key, _)) = self.deltas.first_key_value() else { break };
            let deepest = key.0;
            while let Some(entry) = self.deltas.first_entry() {
                let (depth, batch, stripe) = *entry.key();
                if depth != deepest {
                    break;
                }
                let delta = entry.remove();
                if !delta.is_zero() {
                    taken.push((batch, stripe, delta));
                }
            }
        }
        taken
    }

    fn delta(&mut self, batch: &Batch, member: uuid::Uuid) -> &mut Delta {
        let key = (std::cmp::Reverse(batch.depth), batch.id, batch.stripe_of(member));
        self.deltas.entry(key).or_default()
    }
}
