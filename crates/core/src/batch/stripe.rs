//! A part of a batch's members, as one row counts it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Batch, Delta, MemberState};
use crate::Invalid;

/// The row that counts a part of a batch's members. All rows of a batch are written when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stripe {
    /// How many members count as what.
    pub counts: Counts,
    /// Whether members may be added. The lock on this row orders an add against the close.
    pub gate: Gate,
}

/// Whether members may be added to a batch. Every stripe of a batch has the same gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// Every program may add. A stripe that runs empty is no news for the batch.
    Open,
    /// Only members may add, while they run.
    Closed,
    /// No job may add.
    Cancelled,
}

impl Gate {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Open, Self::Closed, Self::Cancelled];

    /// The name in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromStr for Gate {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|gate| gate.as_str() == text)
            .ok_or_else(|| Invalid::new("gate of a batch", format!("{text:?} is unknown")))
    }
}

/// How many members count as what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Not finished.
    pub live: u64,
    /// Completed.
    pub completed: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Given up.
    pub discarded: u64,
}

/// How a batch ended, for its end jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// All members.
    pub total: u64,
    /// Of these, completed.
    pub completed: u64,
    /// Of these, cancelled.
    pub cancelled: u64,
    /// Of these, given up.
    pub discarded: u64,
}

/// What a stripe that was written means for the batch's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crossing {
    /// It had live members and has none.
    Emptied,
    /// It had none and has some.
    Filled,
    /// Neither.
    None,
}

impl Batch {
    /// The stripe that counts a member: from its id, so it is stored nowhere. Ids that are chosen together lie in stripes one
    /// after the other.
    pub fn stripe_of(&self, member: Uuid) -> u16 {
        let (_, low) = member.as_u64_pair();
        u16::try_from(low % u64::from(self.stripes.max(1))).unwrap_or_default()
    }
}

impl Stripe {
    /// As it is written when the batch is opened.
    pub const OPENED: Self =
        Self { counts: Counts { live: 0, completed: 0, cancelled: 0, discarded: 0 }, gate: Gate::Open };

    /// The row after `delta`; none if it would count below zero, which is damage.
    pub fn after(self, delta: Delta) -> Option<Self> {
        Some(Self { counts: self.counts.after(delta)?, ..self })
    }

    /// What its new counts mean for the batch.
    pub(super) const fn crossing(before: Counts, after: Self) -> Crossing {
        match after.gate {
            Gate::Open => return Crossing::None,
            Gate::Closed | Gate::Cancelled => {}
        }
        match (before.live, after.counts.live) {
            (0, 0) => Crossing::None,
            (0, _) => Crossing::Filled,
            (_, 0) => Crossing::Emptied,
            (_, _) => Crossing::None,
        }
    }
}

impl Counts {
    /// All members.
    pub const fn total(self) -> u64 {
        self.live + self.finished()
    }

    /// Members that have finished.
    pub const fn finished(self) -> u64 {
        self.completed + self.cancelled + self.discarded
    }

    /// Members that have finished and did not complete.
    pub const fn failed(self) -> u64 {
        self.cancelled + self.discarded
    }

    /// The counts after `delta`; none if one would be below zero.
    pub fn after(self, delta: Delta) -> Option<Self> {
        Some(Self {
            live: self.live.checked_add_signed(delta.of(MemberState::Live))?,
            completed: self.completed.checked_add_signed(delta.of(MemberState::Completed))?,
            cancelled: self.cancelled.checked_add_signed(delta.of(MemberState::Cancelled))?,
            discarded: self.discarded.checked_add_signed(delta.of(MemberState::Discarded))?,
        })
    }

    /// The counts that were there before `delta`.
    #[must_use]
    pub fn before(self, delta: Delta) -> Self {
        let without = |count: u64, state| count.saturating_add_signed(delta.of(state).saturating_neg());
        Self {
            live: without(self.live, MemberState::Live),
            completed: without(self.completed, MemberState::Completed),
            cancelled: without(self.cancelled, MemberState::Cancelled),
            discarded: without(self.discarded, MemberState::Discarded),
        }
    }

    /// What all stripes count together.
    pub fn sum(stripes: impl IntoIterator<Item = Self>) -> Self {
        stripes.into_iter().fold(Self::default(), |sum, counts| Self {
            live: sum.live + counts.live,
            completed: sum.completed + counts.completed,
            cancelled: sum.cancelled + counts.cancelled,
            discarded: sum.discarded + counts.discarded,
        })
    }

    /// The summary for an end job.
    pub const fn summary(self) -> Summary {
        let Self { live: _, completed, cancelled, discarded } = self;
        Summary { total: self.total(), completed, cancelled, discarded }
    }
}
