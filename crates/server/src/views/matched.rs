//! What became of every job that matched.

use backroom::{Acted, Action, JobId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What can be done to many jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BulkAction {
    /// As for one job.
    Cancel,
    /// As for one job.
    Retry,
    /// As for one job.
    Delete,
    /// Queued jobs wait in another queue.
    Move,
    /// Queued jobs get another priority.
    Priority,
}

impl From<&Action> for BulkAction {
    fn from(action: &Action) -> Self {
        match action {
            Action::Cancel { .. } => Self::Cancel,
            Action::Retry => Self::Retry,
            Action::Delete => Self::Delete,
            Action::Move { .. } => Self::Move,
            Action::Prioritize { .. } => Self::Priority,
        }
    }
}

/// What became of the jobs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Matched {
    pub(crate) action: BulkAction,
    /// Whether the jobs were only counted.
    pub(crate) dry_run: bool,
    /// Jobs that matched.
    pub(crate) matched: u64,
    /// Of them those that were changed or deleted.
    pub(crate) done: u64,
    /// There was nothing to do: the job was finished already, or due already.
    pub(crate) unneeded: u64,
    /// They changed meanwhile and no longer matched.
    pub(crate) moved: u64,
    /// They could not be changed.
    pub(crate) refused: u64,
    /// Why the first of those was refused.
    pub(crate) refusal: Option<String>,
    /// Null if every job that matched was reached. Else the act ended before the last page: of an API request, send the same
    /// again with this as `before`.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) next: Option<JobId>,
}

impl Matched {
    pub(crate) fn new(action: BulkAction, dry_run: bool, acted: Acted) -> Self {
        let Acted { matched, done, unneeded, moved, refused, refusal, next, .. } = acted;
        Self { action, dry_run, matched, done, unneeded, moved, refused, refusal, next }
    }

    /// As the library answers it.
    pub(crate) fn acted(self) -> Acted {
        let mut acted = Acted::default();
        acted.matched = self.matched;
        acted.done = self.done;
        acted.unneeded = self.unneeded;
        acted.moved = self.moved;
        acted.refused = self.refused;
        acted.refusal = self.refusal;
        acted.next = self.next;
        acted
    }
}
