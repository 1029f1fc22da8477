//! The schedules of the settings: put into the store when the server starts and when it reloads its settings.
//!
//! What the settings have is put, and what they no longer have is deleted, but only schedules whose origin is the settings. Those that
//! programs, the API and the command line have put stay as they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use backroom::{Error, ErrorKind, Put, schedule::Origin};
use tokio::sync::Mutex;

use super::AppState;
use crate::config;

/// Schedules in one read.
const PAGE: usize = 1000;
/// The wait before a change is tried again that the store did not take.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Brings the schedules of the store in line with the settings.
pub(super) struct SettingsSchedules {
    state: AppState,
    /// The names that this process has put. Held while they are changed: two reloads take turns.
    put: Mutex<BTreeSet<String>>,
}

impl SettingsSchedules {
    pub(super) fn new(state: AppState) -> Arc<Self> {
        Arc::new(Self { state, put: Mutex::default() })
    }

    /// After a reload: beside the requests, and again until the store has taken it.
    pub(super) fn reload(self: &Arc<Self>) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let mut is_first = true;
            while let Err(error) = this.reconcile().await {
                if !error.is_transient() {
                    tracing::error!(%error, "the schedules of the settings were not put");
                    return;
                }
                if std::mem::take(&mut is_first) {
                    tracing::warn!(%error, "the schedules of the settings are not put yet; it is tried again");
                }
                tokio::select! {
                    () = this.state.stopping.cancelled() => return,
                    () = this.state.backroom.clock().sleep(AGAIN_AFTER) => {}
                }
            }
        });
    }

    /// Puts, changes and deletes.
    pub(super) async fn reconcile(&self) -> Result<(), Error> {
        let mut mine = self.put.lock().await;
        let settings = self.state.settings.now();
        let wanted = config::schedules::schedules(&settings.schedules)?;
        let schedules = self.state.backroom.schedules();
        let found = self.origins().await?;
        for definition in &wanted {
            let name = definition.name.clone();
            let of_others = |origin: Origin| {
                let why = format!(
                    "put schedule {name:?} of the settings: another of this name comes from the {}; rename one of them",
                    origin.as_str()
                );
                Error::new(ErrorKind::Refused, why)
            };
            let put = schedules.put_if(Origin::Settings, definition.clone(), |before| match before {
                Some(before) if before.origin != Origin::Settings => Err(of_others(before.origin)),
                Some(_) | None => Ok(()),
            });
            match put.await {
                Ok(Put::Created) => tracing::info!("put schedule {name:?} of the settings"),
                Ok(Put::Changed) => tracing::info!("changed schedule {name:?} to what the settings say"),
                Ok(Put::Unchanged) => {}
                Err(error) if error.kind() == ErrorKind::Refused => {
                    tracing::warn!(%error, "a schedule of the settings is left out");
                    continue;
                }
                Err(error) => return Err(error),
            }
            mine.insert(name);
        }
        let is_wanted = |name: &String| wanted.iter().any(|definition| definition.name == *name);
        let others = found.iter().filter(|(name, origin)| **origin == Origin::Settings && !is_wanted(name));
        let mut left = Vec::new();
        for (name, _) in others {
            // A server without schedules in its settings may stand beside one that has them.
            if wanted.is_empty() && !mine.contains(name) {
                left.push(name.as_str());
                continue;
            }
            match schedules.delete(name).await {
                Ok(()) => tracing::info!("deleted schedule {name:?}, which the settings no longer have"),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            mine.remove(name);
        }
        if !left.is_empty() {
            let names = left.join(", ");
            tracing::warn!(
                "these settings have no schedules, but the store has some that came from settings: {names}; \
                 they go on, and `backroom schedules delete` deletes them"
            );
        }
        Ok(())
    }

    /// Where each schedule of the store comes from.
    async fn origins(&self) -> Result<BTreeMap<String, Origin>, Error> {
        let mut found = BTreeMap::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.state.backroom.store().schedules(after.as_deref(), PAGE).await?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|last| last.name.clone());
            found.extend(page.into_iter().map(|row| (row.name, row.origin)));
            if is_last || after.is_none() {
                return Ok(found);
            }
        }
    }
}
