//! What happened to one job.

use backroom::{Attempt, LogLine, Redacted};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rows::{AttemptSchema, LogLineSchema};

/// The attempts of a job.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Attempts {
    /// Those that did not succeed, the oldest first.
    #[schema(value_type = Vec<AttemptSchema>)]
    pub(crate) attempts: Vec<Attempt>,
}

impl Attempts {
    /// As readers see them.
    pub(crate) fn of(attempts: Vec<Attempt>, redacted: &Redacted) -> Self {
        Self { attempts: attempts.into_iter().map(|attempt| redacted.attempt(attempt)).collect() }
    }
}

/// A page of the log of a job.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Logs {
    /// The lines, in the order they were written.
    #[schema(value_type = Vec<LogLineSchema>)]
    pub(crate) log: Vec<LogLine>,
    /// Pass it as `skip` for the next page; null if there are no lines behind `skip`.
    pub(crate) next: Option<usize>,
}
