//! The circuit breakers of a worker's kinds: which kinds it claims now.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backroom_core::{
    Kinds, Timestamp,
    breaker::{Breaker, BreakerPolicy},
};

use crate::store::OpenBreaker;

/// The circuit breaker of one kind.
pub(crate) struct KindBreaker {
    kind: String,
    policy: BreakerPolicy,
    state: Mutex<(Breaker, Option<Opened>)>,
}

/// Since when it is open, and why.
struct Opened {
    since: Timestamp,
    why: String,
}

impl KindBreaker {
    pub(crate) fn new(kind: &str, policy: BreakerPolicy) -> Self {
        Self { kind: kind.to_owned(), policy, state: Mutex::default() }
    }

    /// Lets an attempt begin; fails with how long to wait.
    pub(crate) fn admit(&self, now: Duration) -> Result<(), Duration> {
        self.state().0.admit(self.policy, now)
    }

    /// The other side answered.
    pub(crate) fn succeeded(&self) {
        let mut state = self.state();
        state.0.succeeded();
        if state.1.take().is_some() {
            tracing::info!(kind = %self.kind, "the endpoint answers again, so jobs of its kind are claimed again");
        }
    }

    /// The other side did not answer, or answered that it failed.
    pub(crate) fn failed(&self, why: &str, reading: Duration, now: Timestamp) {
        let mut state = self.state();
        if !state.0.failed(self.policy, reading) {
            return;
        }
        let failures = state.0.failures();
        let why = backroom_core::bounds::clip(why, 512);
        if state.1.is_none() {
            tracing::warn!(
                kind = %self.kind, failures, why, pause = ?self.policy.pause,
                "the endpoint of a kind failed again and again, so its jobs are not claimed for a while"
            );
        }
        let since = state.1.as_ref().map_or(now, |opened| opened.since);
        state.1 = Some(Opened { since, why });
    }

    fn is_open(&self, now: Duration) -> bool {
        self.state().0.is_open(now)
    }

    fn opened(&self) -> Option<OpenBreaker> {
        let state = self.state();
        let Opened { since, why } = state.1.as_ref()?;
        Some(OpenBreaker {
            kind: self.kind.clone(),
            since: *since,
            failures: state.0.failures(),
            why: why.clone(),
        })
    }

    fn state(&self) -> MutexGuard<'_, (Breaker, Option<Opened>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The breakers of a worker; most workers have none.
#[derive(Default)]
pub(crate) struct KindBreakers(pub(crate) Vec<Arc<KindBreaker>>);

impl KindBreakers {
    /// The kinds that may be claimed now.
    pub(crate) fn claimable(&self, kinds: &Arc<Kinds>, now: Duration) -> Arc<Kinds> {
        let open: Vec<_> =
            self.0.iter().filter(|breaker| breaker.is_open(now)).map(|breaker| &breaker.kind).collect();
        if open.is_empty() {
            return Arc::clone(kinds);
        }
        Arc::new(kinds.names().iter().filter(|kind| !open.contains(kind)).cloned().collect())
    }

    /// Those that have opened and not closed since.
    pub(crate) fn opened(&self) -> Vec<OpenBreaker> {
        self.0.iter().filter_map(|breaker| breaker.opened()).collect()
    }
}
