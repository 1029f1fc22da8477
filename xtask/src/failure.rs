//! Why a task stopped, in the form a person can act on.

/// One reason to stop. Every failure of this program is one of these: nothing is carried on past it.
pub(crate) struct Failure {
    /// The step that failed, once the failure has passed through [`crate::step::run_all`]; none outside a list
    /// of steps.
    pub(crate) step: Option<&'static str>,
    /// What happened, naming the thing it happened to.
    pub(crate) why: String,
    /// What the reader can do about it.
    pub(crate) remedy: String,
}

impl Failure {
    pub(crate) fn new(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { step: None, why: why.into(), remedy: remedy.into() }
    }
}

impl From<backroom_testbed::Failure> for Failure {
    fn from(failure: backroom_testbed::Failure) -> Self {
        Self::new(failure.why, failure.remedy)
    }
}
