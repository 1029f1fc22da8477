//! How long a message that was taken belongs to one taker.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    LeaseId, Timestamp,
    bounds::{later, whole_micros},
};

/// Longest lease of a message.
pub const LEASE_MAX: Duration = Duration::from_secs(12 * 3600);

/// How far the clocks of two processes may differ. A lease that began later than that from now was given before the store's
/// clock was set back.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(60);

/// The lease under which a message was taken. It holds by moments of the store's clock: if that clock is set, a lease may end
/// early or late by as much. It never holds for longer than its span and a minute: a lease that begins in the future does not
/// hold. So a step of the clock makes a message come again, and never withholds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageLease {
    /// Fresh and random for each call that takes messages.
    pub id: LeaseId,
    /// When it was given.
    pub from: Timestamp,
    /// Until when it holds.
    pub until: Timestamp,
}

impl MessageLease {
    /// Whether it holds at `now`.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until > now && self.from <= Self::latest_from(now)
    }

    /// The latest moment at which a lease that holds at `now` may have been given, for stores that compare in SQL.
    pub fn latest_from(now: Timestamp) -> Timestamp {
        later(now, CLOCKS_DIFFER_MAX)
    }

    /// A lease for `span` from `now` on.
    pub fn new(id: LeaseId, now: Timestamp, span: Duration) -> Self {
        let from = whole_micros(now);
        Self { id, from, until: later(from, span.min(LEASE_MAX)) }
    }
}
