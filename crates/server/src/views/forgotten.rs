//! What was deleted about a subject.

use backroom::Forgotten;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What was deleted about a subject.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = Forgotten)]
pub(crate) struct ForgottenView {
    /// Jobs, with their args and outputs.
    pub(crate) jobs: u64,
    /// Records of attempts.
    pub(crate) attempts: u64,
    /// Log lines.
    pub(crate) lines: u64,
    /// Messages in reply queues.
    pub(crate) messages: u64,
    /// Callbacks that were not pruned yet.
    pub(crate) callbacks: u64,
    /// Batches whose description and end jobs were deleted. The batches stay, with their counts.
    #[serde(default)]
    pub(crate) batches: u64,
    /// Jobs that run. They were asked to stop: forget again when they have ended.
    pub(crate) left: u64,
}

impl From<Forgotten> for ForgottenView {
    fn from(forgotten: Forgotten) -> Self {
        let Forgotten { jobs, attempts, lines, messages, callbacks, batches, left, .. } = forgotten;
        Self { jobs, attempts, lines, messages, callbacks, batches, left }
    }
}
