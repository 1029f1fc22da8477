//! Jobs that a store cannot read: a newer program wrote them, another program wrote into their row, or the disk is failing.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use backroom_core::JobId;

/// Jobs that are reported by one process. Beyond that, the whole store is damaged.
const REPORTED_MAX: usize = 100;

/// Whether this process meets the unreadable row of this job for the first time: each read of the table meets it again.
pub(super) fn is_first(id: JobId) -> bool {
    static REPORTED: Mutex<BTreeSet<JobId>> = Mutex::new(BTreeSet::new());
    let mut reported = REPORTED.lock().unwrap_or_else(PoisonError::into_inner);
    reported.len() < REPORTED_MAX && reported.insert(id)
}
