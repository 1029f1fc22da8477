//! The error for input that breaks a bound.

/// Input that cannot become (part of) a job: which part, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {why}")]
#[non_exhaustive]
pub struct Invalid {
    /// The part that was refused, as the caller knows it: `queue`, `args`, `priority`.
    pub what: &'static str,
    /// Why, and the remedy.
    pub why: String,
}

impl Invalid {
    /// Names the part and the reason.
    pub fn new(what: &'static str, why: impl Into<String>) -> Self {
        Self { what, why: why.into() }
    }
}
