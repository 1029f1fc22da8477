//! What keeps a worker from its work: said in its row, and a reason to take no more jobs.
//!
//! A worker whose claims succeed while the ends of its runs cannot be written would hold more and more jobs that other workers
//! could run. So it claims nothing until an end is written again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use backroom_core::Timestamp;

use crate::{Error, ErrorKind};

/// Longest text in the row, in characters.
const CHARS_MAX: usize = 500;

/// What fails at the moment.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<Failing>);

#[derive(Debug, Default)]
struct Failing {
    claims: Option<Failure>,
    reports: Option<Failure>,
}

#[derive(Debug)]
struct Failure {
    since: Timestamp,
    why: String,
    /// One that concerns the store, not the one row that was to be written.
    is_of_store: bool,
}

impl Trouble {
    /// A claim was answered.
    pub(crate) fn claimed(&self) {
        self.failing().claims = None;
    }

    /// A claim failed.
    pub(crate) fn claim_failed(&self, error: &Error, now: Timestamp) {
        note(&mut self.failing().claims, error, now);
    }

    /// Ends of runs were written, or given up.
    pub(crate) fn reported(&self) {
        self.failing().reports = None;
    }

    /// Ends of runs could not be written.
    pub(crate) fn report_failed(&self, error: &Error, now: Timestamp) {
        note(&mut self.failing().reports, error, now);
    }

    /// Whether what is claimed now could not be reported.
    pub(crate) fn holds_claims(&self) -> bool {
        self.failing().reports.as_ref().is_some_and(|failure| failure.is_of_store)
    }

    /// What the row says; none while all is well.
    pub(crate) fn said(&self) -> Option<String> {
        let failing = self.failing();
        let part = |what: &str, failure: &Option<Failure>| {
            failure.as_ref().map(|failure| format!("cannot {what} since {}: {}", failure.since, failure.why))
        };
        let parts = [part("report", &failing.reports), part("claim", &failing.claims)];
        let said = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
        (!said.is_empty()).then(|| said.chars().take(CHARS_MAX).collect())
    }

    fn failing(&self) -> MutexGuard<'_, Failing> {
        // Whole after every statement; a panic elsewhere does not damage it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(failure: &mut Option<Failure>, error: &Error, now: Timestamp) {
    let is_of_store =
        matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::NoSpace | ErrorKind::Unusable);
    let since = failure.as_ref().map_or(now, |failure| failure.since);
    *failure = Some(Failure { since, why: said(error), is_of_store });
}

/// The error with what caused it, which is what the store itself said.
fn said(error: &Error) -> String {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_said = inner.to_string();
        if !said.contains(&inner_said) {
            said += &format!(": {inner_said}");
        }
        cause = inner.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind) -> Error {
        Error::new(kind, "claim jobs in PostgreSQL")
    }

    #[test]
    fn a_worker_that_cannot_claim_says_since_when_and_why_until_it_can() {
        let trouble = Trouble::default();
        assert_eq!(trouble.said(), None);
        trouble.claim_failed(&error(ErrorKind::Internal), Timestamp::UNIX_EPOCH);
        trouble.claim_failed(&error(ErrorKind::Internal), Timestamp::MAX);
        let said = trouble.said().expect("something is wrong");
        assert!(said.contains("cannot claim since 1970-01-01T00:00:00Z"), "{said}");
        assert!(said.contains("claim jobs in PostgreSQL"), "{said}");
        trouble.claimed();
        assert_eq!(trouble.said(), None);
    }

    #[test]
    fn no_jobs_are_claimed_while_the_store_takes_no_ends() {
        let trouble = Trouble::default();
        for (kind, holds) in [
            (ErrorKind::Unavailable, true),
            (ErrorKind::NoSpace, true),
            (ErrorKind::Unusable, true),
            (ErrorKind::Invalid, false),
        ] {
            trouble.report_failed(&error(kind), Timestamp::UNIX_EPOCH);
            assert_eq!(trouble.holds_claims(), holds, "{kind:?}");
            trouble.reported();
            assert!(!trouble.holds_claims());
        }
    }
}
