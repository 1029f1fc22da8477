//! The rows of runs that were claimed here lately, so that their ends need no read.

use std::{collections::HashMap, sync::Arc};

use backroom_core::{JobRow, LeaseId};

use super::RunKey;

/// Most runs that are remembered. The rows of others are read when their end comes.
const RUNS_MAX: usize = 100_000;

/// The rows of runs, bounded in number and bytes.
pub(super) struct Held {
    rows: HashMap<RunKey, Arc<JobRow>>,
    bytes: usize,
    bytes_max: usize,
}

impl Held {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { rows: HashMap::new(), bytes: 0, bytes_max }
    }

    /// Remembers the rows of one claim, as far as there is place.
    pub(super) fn add(&mut self, jobs: &[Arc<JobRow>], lease: LeaseId) {
        for job in jobs {
            if self.rows.len() >= RUNS_MAX || self.bytes + job.bytes() > self.bytes_max {
                // Those of workers that died would stay for ever.
                self.rows.clear();
                self.bytes = 0;
                if job.bytes() > self.bytes_max {
                    continue;
                }
            }
            let key = RunKey { job: job.id, lease };
            if let Some(before) = self.rows.insert(key, Arc::clone(job)) {
                self.bytes -= before.bytes();
            }
            self.bytes += job.bytes();
        }
    }

    /// The row as it was claimed, if it is remembered.
    pub(super) fn get(&self, key: RunKey) -> Option<Arc<JobRow>> {
        self.rows.get(&key).cloned()
    }

    /// The run has ended.
    pub(super) fn forget(&mut self, key: RunKey) {
        if let Some(row) = self.rows.remove(&key) {
            self.bytes -= row.bytes();
        }
    }
}
