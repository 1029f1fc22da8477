//! Which predecessors a job waits for, for people and programs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::OnFailure;
use crate::{JobId, State};

/// Most predecessors that are named.
pub const NAMED_MAX: usize = 3;

/// The predecessors that a job waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitsFor {
    /// How many edges are open.
    pub open: u64,
    /// Some of them. Predecessors that have failed come first, because those end only by a retry.
    pub predecessors: Vec<Waited>,
}

/// One predecessor that is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waited {
    /// Which.
    pub job: JobId,
    /// Its kind.
    pub kind: String,
    /// Its state.
    pub state: State,
    /// What happens if it does not complete.
    pub on_failure: OnFailure,
}

impl WaitsFor {
    /// Names some of `open` predecessors.
    pub fn new(open: u64, mut predecessors: Vec<Waited>) -> Self {
        predecessors.sort_by_key(|waited| (!waited.state.is_finished(), waited.job));
        predecessors.truncate(NAMED_MAX);
        Self { open, predecessors }
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.open {
            1 => write!(f, "waits for one job")?,
            open => write!(f, "waits for {open} jobs")?,
        }
        for (index, Waited { job, kind, state, .. }) in self.predecessors.iter().enumerate() {
            let lead = if index == 0 { ": " } else { ", " };
            write!(f, "{lead}{job} ({kind}, {state})")?;
            if state.is_finished() {
                write!(f, " until it is retried")?;
            }
        }
        let named = self.predecessors.len() as u64;
        match self.open.saturating_sub(named) {
            0 => Ok(()),
            _ if named == 0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}
