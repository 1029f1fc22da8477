//! Leases: which claim of a job is the current one.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Invalid;

/// Names one claim. It is random, and another one for every call; jobs of one call share it. So the pair (job, lease) names one
/// run. Every later write about that run names the lease, and a store refuses the write if the row has another one. Attempt
/// numbers could repeat, leases cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub Uuid);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for LeaseId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.parse().map(Self).map_err(|_| Invalid::new("lease id", format!("{text:?} is not a UUID")))
    }
}
