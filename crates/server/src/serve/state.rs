//! What every request can reach.

use std::sync::Arc;

use backroom::{Backroom, ids::Ids};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::live::Live;
use crate::config::ServerSettings;

/// What every request can reach. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppState {
    /// The store.
    pub(crate) backroom: Backroom,
    /// The settings as they are now; a reload changes them.
    pub(crate) settings: Live<Arc<ServerSettings>>,
    /// Where ids of requests come from.
    pub(crate) ids: Arc<Ids>,
    /// Cancelled when the server begins to stop: event streams and long polls end then.
    pub(crate) stopping: CancellationToken,
    /// What makes connections TLS ones; none if they are not.
    pub(super) tls: Live<Option<TlsAcceptor>>,
}

impl AppState {
    pub(super) fn new(backroom: Backroom, settings: ServerSettings, tls: Option<TlsAcceptor>) -> Self {
        Self {
            backroom,
            settings: Live::new(Arc::new(settings)),
            ids: Arc::new(Ids::from_entropy()),
            stopping: CancellationToken::new(),
            tls: Live::new(tls),
        }
    }
}
