//! The triggers of the settings, while the server runs.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use backroom_triggers::{
    RunningTriggers, Triggers,
    hooks::{Hook, Refusal},
};

use super::AppState;
use crate::{
    config::triggers::{self, Made},
    terminal::Problem,
};

/// How often a refusal of one sort is logged.
const LOGGED_EVERY: Duration = Duration::from_secs(60);

/// Triggers that run in this server.
pub(crate) struct Served {
    running: RunningTriggers,
    hooks: BTreeMap<String, ServedHook>,
}

/// A hook, and what was refused.
pub(crate) struct ServedHook {
    pub(crate) hook: Hook,
    refused: [AtomicU64; Refusal::ALL.len()],
    logged_at: Mutex<BTreeMap<Refusal, Duration>>,
}

/// Starts the triggers of the settings, if there are any.
pub(super) async fn start(state: &AppState) -> Result<(), Problem> {
    let settings = state.settings.now();
    if settings.triggers.is_empty() {
        return Ok(());
    }
    let mut added = Triggers::new(&state.backroom);
    let mut hooks = BTreeMap::new();
    for (name, trigger) in &settings.triggers {
        let (made, mapping) = triggers::make(trigger).map_err(|(key, why)| {
            Problem::new(format_args!("read the setting `triggers.{name}.{key}`"), &why)
        })?;
        added = match made {
            Made::Source(source) => added.add_boxed(name, source, mapping),
            Made::Hook(hook) => {
                let described = hook.describe();
                hooks.insert(name.clone(), ServedHook::new(hook));
                added.add_pushed(name, "hook", described, mapping)
            }
        };
    }
    let running = added.start().await?;
    // The server starts once.
    let _ = state.triggers.set(Served { running, hooks });
    Ok(())
}

impl Served {
    /// A hook.
    pub(crate) fn hook(&self, name: &str) -> Option<&ServedHook> {
        self.hooks.get(name)
    }

    /// What runs.
    pub(crate) fn running(&self) -> &RunningTriggers {
        &self.running
    }

    /// The hooks by name.
    pub(crate) fn hooks(&self) -> impl Iterator<Item = (&str, &ServedHook)> {
        self.hooks.iter().map(|(name, hook)| (name.as_str(), hook))
    }
}

impl ServedHook {
    fn new(hook: Hook) -> Self {
        Self { hook, refused: Default::default(), logged_at: Mutex::default() }
    }

    /// Counts a refusal. Answers whether it is to be logged: a sender that repeats a wrong request must not fill the log.
    pub(crate) fn refused(&self, refusal: Refusal, now: Duration) -> bool {
        if let Some(counter) =
            Refusal::ALL.iter().position(|known| *known == refusal).and_then(|at| self.refused.get(at))
        {
            counter.fetch_add(1, Relaxed);
        }
        let mut logged_at = self.logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = logged_at.get(&refusal).is_none_or(|at| now.saturating_sub(*at) >= LOGGED_EVERY);
        if is_due {
            logged_at.insert(refusal, now);
        }
        is_due
    }

    /// How often each sort of request was refused.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (Refusal, u64)> {
        Refusal::ALL.into_iter().zip(self.refused.iter().map(|count| count.load(Relaxed)))
    }
}
