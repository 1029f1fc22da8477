//! What every request can reach.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use backroom::{Backroom, Leases, ids::Ids};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{access::Access, lease_tokens::LeaseTokens, live::Live};
use crate::{
    config::{self, Loaded, ServerSettings},
    metrics::Metrics,
};

/// What every request can reach. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppState {
    /// The store.
    pub(crate) backroom: Backroom,
    /// The settings as they are now; a reload changes them.
    pub(crate) settings: Live<Arc<ServerSettings>>,
    /// The same with the place that each came from.
    pub(crate) loaded: Live<Arc<Loaded>>,
    /// Where ids of requests come from.
    pub(crate) ids: Arc<Ids>,
    /// Cancelled when the server begins to stop: event streams and long polls end then.
    pub(crate) stopping: CancellationToken,
    /// Who may call.
    pub(crate) access: Arc<Access>,
    /// What is measured.
    pub(crate) metrics: Arc<Metrics>,
    /// Leases of workers that ask over HTTP.
    pub(crate) leases: Leases,
    /// What the pages share.
    pub(crate) pages: crate::pages::Shared,
    /// What programs that run one job call back with.
    pub(crate) lease_tokens: Arc<LeaseTokens>,
    /// Its triggers, once they run; none if the settings define none.
    #[cfg(feature = "triggers")]
    pub(crate) triggers: Arc<std::sync::OnceLock<super::Served>>,
    /// Whether the server has been asked to stop. It may go on serving for a while after that.
    draining: Arc<AtomicBool>,
    /// What makes connections TLS ones; none if they are not.
    pub(crate) tls: Live<Option<TlsAcceptor>>,
}

impl AppState {
    pub(crate) fn new(
        backroom: Backroom,
        loaded: Loaded,
        tls: Option<TlsAcceptor>,
        metrics: Arc<Metrics>,
        is_local: bool,
    ) -> Self {
        let ids = Ids::from_entropy();
        let lease_key = loaded.settings.worker.lease_key.as_ref().map(|key| key.0.as_str());
        let lease_tokens = Arc::new(LeaseTokens::new(lease_key, ids.secret()));
        let leases = {
            let metrics = Arc::clone(&metrics);
            backroom.leases_reporting(move |end| metrics.ended(end))
        };
        // Requests of every user come from the proxy, which may run on this machine.
        let is_local = is_local && loaded.settings.proxy.user_header.is_none();
        Self {
            access: Arc::new(Access::new(
                backroom.clone(),
                is_local,
                config::sensitive::secure_queues(&loaded.settings),
            )),
            backroom,
            settings: Live::new(Arc::new(loaded.settings.clone())),
            loaded: Live::new(Arc::new(loaded)),
            pages: crate::pages::Shared::new(ids.secret()),
            ids: Arc::new(ids),
            leases,
            lease_tokens,
            stopping: CancellationToken::new(),
            #[cfg(feature = "triggers")]
            triggers: Arc::clone(&metrics.triggers),
            metrics,
            draining: Arc::default(),
            tls: Live::new(tls),
        }
    }

    /// Whether the server has been asked to stop.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The server has been asked to stop.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}
