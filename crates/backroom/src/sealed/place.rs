//! The place that a sealed value belongs to: a job and a field of it. It is authenticated with the value, so the value cannot be moved.

use std::fmt;

use backroom_core::{JobId, LeaseId};

/// A field of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Field<'a> {
    /// Its args.
    Args,
    /// The output of the run under this lease.
    Output(LeaseId),
    /// The progress message of the run under this lease.
    Progress(LeaseId),
    /// A line of the log, by the run and its number there.
    Log(LeaseId, u32),
    /// The error with which the run under this lease ended, or its reason.
    Error(LeaseId),
    /// A value of a workflow's journal, by its key.
    Step(&'a str),
}

/// A field of one job, as the `aad` of the sealed value names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) job: JobId,
    pub(crate) kind: &'a str,
    pub(crate) field: Field<'a>,
}

impl fmt::Display for Place<'_> {
    /// Lines, because neither kinds nor the keys of steps hold a line break.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "backroom:1\n{}\n{}\n{}", self.job, self.kind, self.field)
    }
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Args => f.write_str("args"),
            Self::Output(lease) => write!(f, "output {lease}"),
            Self::Progress(lease) => write!(f, "progress {lease}"),
            Self::Log(lease, seq) => write!(f, "log {lease} {seq}"),
            Self::Error(lease) => write!(f, "error {lease}"),
            Self::Step(key) => write!(f, "step {key}"),
        }
    }
}
