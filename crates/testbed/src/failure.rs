//! Why there is no server, in the form a person can act on.

/// One reason to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened, naming the thing it happened to.
    pub why: String,
    /// What the reader can do about it.
    pub remedy: String,
}

impl Failure {
    pub(crate) fn new(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { why: why.into(), remedy: remedy.into() }
    }

    /// Something of the machine's did not do as usual.
    pub(crate) fn of_machine(what: &str, error: &std::io::Error) -> Self {
        Self::new(
            format!("the server could not be made: {what}: {error}"),
            "see whether the machine is out of disk space, memory or processes",
        )
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; what to do: {}", self.why, self.remedy)
    }
}

impl std::error::Error for Failure {}
