//! The API and the dashboard as a part of another program.

use std::{collections::BTreeMap, sync::Arc};

use axum::Router;
use backroom::Backroom;

use crate::{
    api,
    config::{self, Loaded},
    metrics::Metrics,
    serve::AppState,
};

/// Who may use an embedded router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Holders of a token of the store, as with `backroom serve` on a server that other machines reach.
    Tokens,
    /// Every request that the program lets through. Only for a router behind the program's own login: its requests may do everything.
    /// A store with tokens wants them all the same.
    Program,
}

/// The router of the API and of the dashboard, for a program that serves them beside its own pages. Its paths begin at `/`, so give it
/// a port or a host name of its own. It does no upkeep and runs no job: a worker of the program does.
///
/// `hosts` are the names under which browsers reach it, without a port, as the setting `allowed_hosts` of `backroom serve`.
pub fn router(backroom: &Backroom, guard: Guard, hosts: &[&str]) -> Router {
    let mut settings = config::defaults();
    settings.allowed_hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    let loaded = Loaded { settings, file: None, origins: BTreeMap::new(), table_origins: BTreeMap::new() };
    let labels = usize::try_from(loaded.settings.metrics.labels).unwrap_or(usize::MAX);
    let metrics = Arc::new(Metrics::new(labels, Default::default()));
    let state = AppState::new(backroom.clone(), loaded, None, metrics, guard == Guard::Program);
    api::router(state)
}
