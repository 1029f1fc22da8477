//! The audit log: which administrative acts were done, by whom, on what.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Invalid, Json, Timestamp, bounds};

/// Longest detail of one entry, in bytes of JSON text.
pub const AUDIT_DETAIL_BYTES_MAX: usize = 4096;
/// How long entries are retained.
pub const AUDIT_RETENTION: Duration = Duration::from_secs(400 * 24 * 3600);
/// Most entries that are retained; the oldest go first.
pub const AUDIT_ENTRIES_MAX: u64 = 100_000;
/// Most entries that one append deletes.
pub const AUDIT_FORGOTTEN_MAX: u32 = 20;

/// One administrative act.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its identity: a UUIDv7, by which entries are ordered.
    pub id: Uuid,
    /// When it was done.
    pub at: Timestamp,
    /// Who did it: the name and id of a token, or the user of the machine.
    pub who: String,
    /// What was done: `queue.pause`, `jobs.delete`, `token.create`.
    pub act: String,
    /// To what: the name of a queue, the id of a job or a token. Empty where the detail says it.
    pub target: String,
    /// What else belongs to it: the filter of a bulk act, how many jobs it changed.
    pub detail: Option<Json>,
}

impl AuditEntry {
    /// Checks its bounds.
    pub fn check(&self) -> Result<(), Invalid> {
        bounds::check_text("who", &self.who, 3 * bounds::NAME_BYTES_MAX)?;
        bounds::check_name("act", &self.act)?;
        if self.target.len() > bounds::UNIQUE_KEY_BYTES_MAX || self.target.contains('\0') {
            return Err(Invalid::new("target", "is too long, or holds NUL"));
        }
        let bytes = self.detail.as_ref().map_or(0, |detail| detail.as_str().len());
        if bytes > AUDIT_DETAIL_BYTES_MAX {
            let why = format!("is {bytes} bytes long; at most {AUDIT_DETAIL_BYTES_MAX} are allowed");
            return Err(Invalid::new("detail", why));
        }
        Ok(())
    }
}
