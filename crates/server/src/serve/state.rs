//! What every request can reach.

use std::sync::{Arc, PoisonError, RwLock};

use backroom::{Backroom, ids::Ids};
use tokio_util::sync::CancellationToken;

use crate::config::ServerSettings;

/// What every request can reach. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct AppState {
    /// The store.
    pub(crate) backroom: Backroom,
    /// The settings as they are now; a reload changes them.
    pub(crate) settings: LiveSettings,
    /// Where ids of requests come from.
    pub(crate) ids: Arc<Ids>,
    /// Cancelled when the server begins to stop: event streams and long polls end then.
    pub(crate) stopping: CancellationToken,
}

/// The settings as they are now.
#[derive(Debug, Clone)]
pub(crate) struct LiveSettings(Arc<RwLock<Arc<ServerSettings>>>);

impl LiveSettings {
    pub(crate) fn new(settings: ServerSettings) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(settings))))
    }

    /// The settings as they are now. A request reads them once, so that it goes by one version of them.
    pub(crate) fn now(&self) -> Arc<ServerSettings> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other settings in effect. Requests that have begun go by the old ones.
    pub(super) fn replace(&self, settings: ServerSettings) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }
}
