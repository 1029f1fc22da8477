//! What a handler answers instead of its output.

use std::{error::Error as StdError, fmt, time::Duration};

use crate::Ending;

/// Why a handler did not return its output, and what should become of the job.
///
/// `?` turns any error into "try again": a standard error, `anyhow::Error`, `Box<dyn Error + Send + Sync>`, a `String`
/// or a `&str`. The other outcomes have names: [`Failure::discard`], [`Failure::cancel`], [`Failure::snooze`],
/// [`Failure::retry_after`]. The message of an error holds the whole chain of its causes.
///
/// ```
/// # use backroom::Failure;
/// fn width_of(text: &str) -> Result<u32, Failure> {
///     let width = text.parse()?; // a standard error
///     if width == 0 {
///         Err("the width is zero")?; // a text
///     }
///     Ok(width)
/// }
/// # assert_eq!(width_of("0").unwrap_err().message(), "the width is zero");
/// ```
///
/// An error that is not `Send`, not `Sync` or borrows something does not fit `?`: use [`Failure::from_dyn`].
pub struct Failure {
    pub(crate) outcome: Outcome,
    pub(crate) message: String,
}

/// What should become of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Tried again after its back-off, as long as attempts are left.
    Retry,
    /// As `Retry`, but after this span instead of the back-off.
    RetryAfter(Duration),
    /// As `Retry`, but the handler panicked.
    Panicked,
    /// As `Retry`, but the attempt ran out of time.
    TimedOut,
    /// As `Retry`, but the args did not decode.
    Undecoded,
    /// As `Discard`, because the args did not decode and the kind wants that.
    UndecodedForGood,
    /// Never tried again.
    Discard,
    /// Ended as cancelled.
    Cancel,
    /// Postponed; nothing failed.
    Snooze(Duration),
    /// The handler did not begin. The job goes back, and is due after this span.
    NotBegun(Duration),
    /// The run parks its job until something wakes it.
    Park,
    /// Another caller has recorded the end of the run under its lease.
    #[cfg(feature = "callbacks")]
    Reported,
}

impl Failure {
    /// Try again after the back-off. `?` on any error does the same.
    pub fn retry(why: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Outcome::Retry, chain(&*why.into()))
    }

    /// Try again after `delay`, at most ten years, instead of the back-off: for a service that says when to come back.
    /// The attempt is charged, and a job whose attempts are spent is discarded as after any failure.
    pub fn retry_after(delay: Duration, why: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Outcome::RetryAfter(delay), chain(&*why.into()))
    }

    /// Discard the job: trying again cannot help.
    pub fn discard(why: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Outcome::Discard, chain(&*why.into()))
    }

    /// End the job as cancelled: it is no longer wanted.
    pub fn cancel(why: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Outcome::Cancel, chain(&*why.into()))
    }

    /// [`Failure::retry`] for an error that `?` cannot take because it is not `Send`, not `Sync` or borrows something:
    /// `.map_err(|error| Failure::from_dyn(&*error))?` on a `Box<dyn Error>`.
    pub fn from_dyn(error: &dyn StdError) -> Self {
        Self::new(Outcome::Retry, chain(error))
    }

    /// Run the job again after `delay`, at most ten years; no attempt is charged and nothing counts as failed.
    pub fn snooze(delay: Duration) -> Self {
        Self { outcome: Outcome::Snooze(delay), message: format!("snoozed for {delay:?}") }
    }

    /// The worker could not let the handler begin.
    pub(crate) fn not_begun(wait: Duration) -> Self {
        Self::new(Outcome::NotBegun(wait), "the handler did not begin")
    }

    /// The workflow waits for a timer, a signal or a child.
    pub(crate) fn parked() -> Self {
        Self::new(Outcome::Park, "the workflow is parked")
    }

    /// The end of the run was recorded by another caller, so there is nothing to record.
    #[cfg(feature = "callbacks")]
    pub(crate) fn reported() -> Self {
        Self::new(Outcome::Reported, "the end of the run was reported by a call")
    }

    /// Whether another caller has recorded the end of the run.
    pub(crate) fn is_reported(&self) -> bool {
        #[cfg(feature = "callbacks")]
        return self.outcome == Outcome::Reported;
        #[cfg(not(feature = "callbacks"))]
        false
    }

    pub(crate) fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self { outcome, message: message.into() }
    }

    /// In which way the attempt ends by it. A middleware can distinguish a snooze or a cancel, which are no failures, from an error, a
    /// panic or a timeout: see [`Ending::is_failure`].
    pub fn ending(&self) -> Ending {
        match self.outcome {
            Outcome::Retry | Outcome::RetryAfter(_) => Ending::Failed,
            Outcome::Panicked => Ending::Panicked,
            Outcome::TimedOut => Ending::TimedOut,
            Outcome::Undecoded | Outcome::UndecodedForGood => Ending::Undecoded,
            Outcome::Discard => Ending::Discarded,
            Outcome::Cancel => Ending::Cancelled,
            Outcome::Snooze(_) => Ending::Snoozed,
            Outcome::NotBegun(_) => Ending::Released,
            Outcome::Park => Ending::Suspended,
            #[cfg(feature = "callbacks")]
            Outcome::Reported => Ending::Released,
        }
    }

    /// Its text.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Any error means: try again.
///
/// `Failure` itself is no error and must not become one: this conversion would then overlap with that of a type to
/// itself.
impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::retry(error)
    }
}

/// Most causes that are written behind an error: a chain that leads back into itself has no end.
const CAUSES_MAX: usize = 64;

/// The error and its causes, from the outside to the inside.
fn chain(error: &dyn StdError) -> String {
    let mut message = error.to_string();
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    for cause in causes.take(CAUSES_MAX).map(ToString::to_string) {
        // Many errors print their cause at their end themselves.
        if !message.ends_with(&cause) {
            message.push_str(": ");
            message.push_str(&cause);
        }
    }
    message
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.outcome, self.message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
