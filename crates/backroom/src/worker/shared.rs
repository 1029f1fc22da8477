//! What the tasks of one running worker share.

use std::{collections::HashMap, sync::Arc};

use super::{
    identity::Identity, kind_breakers::KindBreakers, report::Reports, resources::Resources,
    runtime_watch::Watched, settings::Settings, signals::Signals, trouble::Trouble, work::Work,
};
use crate::{
    Kinds, Middleware, Timestamp, ends::Ends, engine::Engine, handler::Handler, recorder::Recorder,
    repeated::Repeats, schedule_news::ScheduleNews,
};

/// One running worker.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) settings: Settings,
    pub(crate) identity: Identity,
    pub(crate) started_at: Timestamp,
    /// The handlers, and what runs around them.
    pub(crate) handlers: Handlers,
    /// What its runs need.
    pub(crate) resources: Arc<Resources>,
    /// What it holds and runs.
    pub(crate) work: Work,
    /// What its tasks wait for.
    pub(crate) signals: Signals,
    /// Where ended runs go.
    pub(crate) reports: Reports,
    /// What writes their ends.
    pub(crate) recorder: Recorder,
    /// Where every recorded end is reported.
    pub(crate) ends: Arc<Ends>,
    /// Where the events of schedules are reported.
    pub(crate) schedule_news: Arc<ScheduleNews>,
    /// Conditions that were logged once and are counted now.
    pub(crate) repeats: Arc<Repeats>,
    /// Why it cannot claim.
    pub(crate) trouble: Trouble,
    /// Whether its runtime is blocked.
    pub(super) watched: Watched,
}

/// The user's code of one worker.
pub(crate) struct Handlers {
    pub(crate) by_kind: HashMap<String, Arc<Handler>>,
    /// The kinds in order.
    pub(crate) kinds: Arc<Kinds>,
    pub(crate) middleware: Vec<Arc<dyn Middleware>>,
    /// The circuit breakers of kinds that have one.
    pub(crate) breakers: KindBreakers,
    /// The sealed kinds among them, each with the name of its key.
    #[cfg(feature = "sealed")]
    pub(crate) sealed: HashMap<String, String>,
}

impl Shared {
    /// Whether this condition is to be logged; after the first time it is only counted.
    pub(crate) fn is_news(&self, condition: &'static str) -> bool {
        self.repeats.met(condition, self.engine.clock.monotonic())
    }

    /// The kinds to claim now.
    pub(crate) fn claimable(&self) -> Arc<Kinds> {
        let Handlers { kinds, breakers, .. } = &self.handlers;
        let claimable = if breakers.0.is_empty() {
            Arc::clone(kinds)
        } else {
            breakers.claimable(kinds, self.engine.clock.monotonic())
        };
        #[cfg(feature = "sealed")]
        let claimable = super::unseal::with_keys(self, claimable);
        claimable
    }

    /// Its name in the store at this moment.
    pub(crate) fn name(&self) -> String {
        self.identity.name()
    }
}
