//! Opens the args of sealed jobs before their handlers begin, and puts off those whose key is missing.
//!
//! A worker claims no job of a kind for which it has no key at all. A job that is sealed with another key of that name is claimed, found
//! locked, and put off without charging an attempt: each time for as long as the job is old, at most five minutes. When the
//! worker gets the key, the jobs that wait for it are due at once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use backroom_core::{DisplayState, Event, Kinds, bounds::span_until, sealed};

use super::{run::Run, shared::Shared};
use crate::{Failure, Filter, handler::Handler, sealed::Seals};

/// How often keys are read again.
const RELOAD: Duration = Duration::from_secs(30);
/// Shortest and longest time that a job waits for its key before a worker tries again.
const WAIT_MIN: Duration = Duration::from_secs(5);
const WAIT_MAX: Duration = Duration::from_secs(300);
/// Jobs on one page, and pages, of those that are looked through when keys came.
const PAGE: usize = 500;
const PAGES_MAX: usize = 200;
/// What the progress message of a job begins with that waits for its key.
pub(crate) const WAITS: &str = "waits for key ";
/// What the reason of a job begins with whose args no key could open.
pub(crate) const UNUSABLE: &str = "the args of the job cannot be used: ";
/// Conditions that can be met many times.
const LOCKED: &str = "a job is sealed with a key that this worker does not have";
const UNREAD: &str = "keys could not be read again";

/// Whether a run may begin.
pub(super) enum Opened {
    /// Its kind is not sealed, or its args are open.
    Ready,
    /// Its key is missing. It waits so long.
    Locked(Duration),
    /// Its args cannot be used, with whichever key.
    Refused(Failure),
}

/// The sealed kinds among those of the handlers, each with the name of its key.
pub(super) fn sealed_kinds(
    handlers: &HashMap<String, Arc<Handler>>,
    seals: &Seals,
) -> HashMap<String, String> {
    let sealed = |(kind, handler): (&String, &Arc<Handler>)| {
        let name = handler.seal.or_else(|| seals.of_kind(kind))?;
        Some((kind.clone(), name.to_owned()))
    };
    handlers.iter().filter_map(sealed).collect()
}

/// Those of the kinds that are not sealed or have a key here.
pub(super) fn with_keys(shared: &Shared, kinds: Arc<Kinds>) -> Arc<Kinds> {
    let sealed = &shared.handlers.sealed;
    // A worker that names the kinds it leaves out passes jobs on, sealed as they are.
    let Kinds::Of(names) = &*kinds else { return kinds };
    if sealed.is_empty() {
        return kinds;
    }
    let set = shared.engine.seals.keys.as_ref().map(|keys| keys.set());
    let is_open =
        |kind: &&String| sealed.get(*kind).is_none_or(|name| set.as_ref().is_some_and(|set| set.opens(name)));
    if names.iter().all(|kind| is_open(&kind)) {
        return kinds;
    }
    Arc::new(Kinds::Of(names.iter().filter(is_open).cloned().collect()))
}

/// The ids of the keys that open values here, for the worker's row.
pub(super) fn key_ids(shared: &Shared) -> Vec<String> {
    if shared.handlers.sealed.is_empty() {
        return Vec::new();
    }
    let Some(keys) = &shared.engine.seals.keys else { return Vec::new() };
    let is_used = |name: &str| shared.handlers.sealed.values().any(|used| used == name);
    let set = keys.set();
    let used = set.keys().iter().filter(|key| key.opens() && is_used(key.name()));
    used.map(|key| key.id().to_owned()).collect()
}

/// Opens the args of a run if its kind is sealed.
pub(super) async fn open(shared: &Shared, run: &Arc<Run>) -> Opened {
    // Nearly all workers have no sealed kind.
    if shared.handlers.sealed.is_empty() {
        return Opened::Ready;
    }
    let Some(name) = shared.handlers.sealed.get(&run.job.kind) else { return Opened::Ready };
    let why = match shared.engine.seals.open(&run.job, name) {
        Ok((args, codec)) => {
            run.opens(args, codec);
            return Opened::Ready;
        }
        Err(why) => why,
    };
    let Some(key) = why.missing_key() else {
        return Opened::Refused(Failure::discard(format!("{UNUSABLE}{why}")));
    };
    if shared.is_news(LOCKED) {
        tracing::warn!(worker = %shared.name(), job = %run.job.id, kind = %run.job.kind, key, "{LOCKED}; it waits for one that has it");
    }
    shared.resources.notes.progress(run, 0, &format!("{WAITS}{key}"));
    let age = span_until(run.job.created_at, shared.engine.clock.now());
    Opened::Locked(age.clamp(WAIT_MIN, WAIT_MAX))
}

/// Reads the keys again from time to time, and makes the jobs due that waited for those that came.
pub(super) async fn keep_reloading(shared: Arc<Shared>) {
    let Some(keys) = &shared.engine.seals.keys else { return };
    let clock = &shared.engine.clock;
    hurry(&shared).await;
    loop {
        clock.sleep(RELOAD).await;
        match keys.reload().await {
            Ok(is_news) => {
                shared.repeats.over(UNREAD, clock.monotonic());
                if is_news {
                    hurry(&shared).await;
                }
            }
            Err(error) if shared.is_news(UNREAD) => {
                tracing::warn!(worker = %shared.name(), %error, "{UNREAD}; those that were read before stay in use");
            }
            Err(_) => {}
        }
    }
}

/// Makes jobs due that wait for a key which is here.
async fn hurry(shared: &Shared) {
    let Some(keys) = &shared.engine.seals.keys else { return };
    let (engine, set) = (&shared.engine, keys.set());
    for kind in shared.handlers.sealed.keys() {
        let scheduled = Filter::shown(&[DisplayState::Scheduled], engine.clock.now());
        let filter = Arc::new(Filter { kind: Some(kind.clone()), ..scheduled });
        let mut before = None;
        for _ in 0..PAGES_MAX {
            // What is not read now runs when its wait is over.
            let Ok(jobs) = engine.store.list(Arc::clone(&filter), before, PAGE).await else { return };
            let Some(last) = jobs.last() else { break };
            before = Some(last.id);
            for job in jobs {
                let waits = job.progress.as_ref().is_some_and(|progress| progress.message.starts_with(WAITS));
                if !waits || job.scheduled_at <= engine.clock.now() {
                    continue;
                }
                let key = sealed::key_id(job.args.as_str());
                if key.and_then(|id| set.get(&id).map(|key| key.opens())).unwrap_or(false) {
                    // Another process may have changed it meanwhile.
                    let _ = engine.apply(job.id, Event::Retry).await;
                }
            }
        }
    }
}
