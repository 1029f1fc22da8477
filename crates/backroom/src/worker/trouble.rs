//! What keeps a worker from its work, as its row says it.
//!
//! A worker whose claims succeed while the ends of its runs cannot be written would hold more and more jobs that other workers
//! could run. So it claims nothing until an end is written again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use backroom_core::Timestamp;

use crate::{Error, recorder::Failing};

/// Longest text in the row, in characters.
const CHARS_MAX: usize = 500;

/// Why claims fail at the moment.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<Option<Failing>>);

impl Trouble {
    /// A claim was answered.
    pub(crate) fn claimed(&self) {
        *self.claims() = None;
    }

    /// A claim failed.
    pub(crate) fn claim_failed(&self, error: &Error, now: Timestamp) {
        Failing::note(&mut self.claims(), error, now);
    }

    /// What the row says; none if nothing fails. `reports` says why ends cannot be recorded.
    pub(crate) fn text(&self, reports: Option<&Failing>) -> Option<String> {
        let claims = self.claims();
        let part = |what: &str, failing: Option<&Failing>| {
            failing.map(|failing| format!("cannot {what} since {}: {}", failing.since, failing.why))
        };
        let parts = [part("report", reports), part("claim", claims.as_ref())];
        let text = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
        (!text.is_empty()).then(|| text.chars().take(CHARS_MAX).collect())
    }

    fn claims(&self) -> MutexGuard<'_, Option<Failing>> {
        // Whole after every statement; a panic elsewhere does not damage it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_worker_that_cannot_claim_says_since_when_and_why_until_it_can() {
        let trouble = Trouble::default();
        let error = Error::new(ErrorKind::Internal, "claim jobs in PostgreSQL");
        assert_eq!(trouble.text(None), None);
        trouble.claim_failed(&error, Timestamp::UNIX_EPOCH);
        trouble.claim_failed(&error, Timestamp::MAX);
        let text = trouble.text(None).expect("something fails");
        assert!(text.contains("cannot claim since 1970-01-01T00:00:00Z"), "{text}");
        assert!(text.contains("claim jobs in PostgreSQL"), "{text}");
        trouble.claimed();
        assert_eq!(trouble.text(None), None);
    }
}
