//! SIGHUP: reads the settings again and puts those in effect that can change while the server runs.

use std::sync::Arc;

use super::{AppState, tls};
use crate::config::{self, Given, Takes};

/// Reads the settings again. If anything is wrong, the old ones stay in effect. Answers whether the new ones are.
pub(super) fn reload(state: &AppState, given: &Given) -> bool {
    let loaded = match config::load(given) {
        Ok(loaded) => loaded,
        Err(wrong) => {
            for wrong in &wrong {
                tracing::error!("{wrong}");
            }
            tracing::error!("the settings were not reloaded; the old ones stay in effect");
            return false;
        }
    };
    let old = state.settings.now();
    // Whether connections are TLS ones changes for all listeners and clients at once, so that takes a restart.
    if old.tls.certificate.is_some() != loaded.settings.tls.certificate.is_some() {
        tracing::error!("TLS is switched on or off by a restart only; the old settings stay in effect");
        return false;
    }
    let tls = match tls::acceptor(&loaded.settings.tls) {
        Ok(tls) => tls,
        Err(problem) => {
            tracing::error!("{problem}; the old settings stay in effect");
            return false;
        }
    };
    for key in config::differing(&old, &loaded.settings) {
        let (from, to) = (key.show(&old), key.show(&loaded.settings));
        match key.takes {
            Takes::Reload => tracing::info!("setting `{}` is now {to:?}; it was {from:?}", key.path),
            Takes::Restart => {
                tracing::warn!(
                    "setting `{}` stays {from:?} until the server is restarted; the settings say {to:?}",
                    key.path
                );
            }
        }
    }
    for change in config::differing_tables(&old, &loaded.settings) {
        let shown = |value: &Option<String>| {
            value.as_ref().map_or_else(|| "unset".into(), |value| format!("{value:?}"))
        };
        let (path, from, to) = (&change.path, shown(&change.from), shown(&change.to));
        match change.takes {
            Takes::Reload => tracing::info!("setting `{path}` is now {to}; it was {from}"),
            Takes::Restart => {
                tracing::warn!(
                    "setting `{path}` stays {from} until the server is restarted; the settings say {to}"
                );
            }
        }
    }
    let mut loaded = loaded;
    loaded.settings = config::reloaded(&old, &loaded.settings);
    state.settings.replace(Arc::new(loaded.settings.clone()));
    state.loaded.replace(Arc::new(loaded));
    state.tls.replace(tls);
    tracing::info!("the settings were reloaded");
    true
}
