//! Starts the tasks of a worker.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{
    blocked, claim, heartbeat,
    heartbeat_thread::HeartbeatThread,
    held_bytes::HeldBytes,
    identity::Identity,
    leases,
    notes::{self, Notes},
    panics,
    plan::Plan,
    pool::Pool,
    recording,
    report::Reports,
    resources::Resources,
    running_worker::RunningWorker,
    runtime_watch::Watched,
    shared::{Handlers, Shared},
    signals::Signals,
    stats, trial_turns,
    trouble::Trouble,
    work::Work,
};
use crate::{
    Error, ends::Ends, engine::Engine, process, recorder::Recorder, repeated::Repeats,
    schedule_news::ScheduleNews, upkeep,
};

/// Starts every task of a worker.
pub(super) async fn start(plan: Plan) -> Result<RunningWorker, Error> {
    panics::watch();
    let upkeep = plan.settings.upkeep;
    let (reports, receiver) = Reports::channel();
    let shared = Arc::new(share(plan, reports));
    let is_driven = shared.engine.clock.is_driven();
    let heart = if is_driven { None } else { Some(HeartbeatThread::start(&shared)?) };
    let mut tasks = match &heart {
        Some(heart) => vec![tokio::spawn(blocked::keep_ticking(Arc::clone(&shared), heart.ends_with()))],
        None => vec![
            tokio::spawn(heartbeat::keep_beating(Arc::clone(&shared))),
            tokio::spawn(leases::keep_checking(Arc::clone(&shared))),
            tokio::spawn(leases::keep_reading_cancels(Arc::clone(&shared))),
        ],
    };
    tasks.extend([
        tokio::spawn(write_notes(Arc::clone(&shared))),
        tokio::spawn(stats::keep_writing(Arc::clone(&shared))),
        tokio::spawn(trial_turns::keep_trying(Arc::clone(&shared))),
    ]);
    #[cfg(feature = "sealed")]
    if !shared.handlers.sealed.is_empty() && shared.engine.seals.keys.is_some() {
        tasks.push(tokio::spawn(super::unseal::keep_reloading(Arc::clone(&shared))));
    }
    if upkeep {
        let keeping = upkeep::keep_up(
            shared.engine.clone(),
            shared.settings.lease,
            Arc::clone(&shared.signals.heartbeats),
            Arc::clone(&shared.ends),
            Arc::clone(&shared.schedule_news),
            shared.settings.crash_span,
        );
        tasks.push(tokio::spawn(keeping));
    }
    let recording = tokio::spawn(recording::keep_recording(Arc::clone(&shared), receiver));
    let pools = shared.work.pools.iter();
    let claimers =
        pools.map(|pool| tokio::spawn(claim::keep_claiming(Arc::clone(&shared), Arc::clone(pool)))).collect();
    Ok(RunningWorker::new(shared, tasks, heart, recording, claimers))
}

/// What the tasks share.
fn share(plan: Plan, reports: Reports) -> Shared {
    let engine = plan.backroom.engine().clone();
    let settings = plan.settings;
    let name = plan.name.unwrap_or_else(|| name(&engine));
    let bytes_max = settings.bytes_max.unwrap_or(engine.bytes_max);
    let pools = plan.pools.into_iter().map(|(order, slots)| Arc::new(Pool::new(order, slots)));
    let mut kinds: Vec<_> = plan.handlers.keys().cloned().collect();
    kinds.sort();
    #[cfg(feature = "sealed")]
    let sealed = super::unseal::sealed_kinds(&plan.handlers, &engine.seals);
    let ends = Arc::new(Ends::new(&engine, plan.hooks, settings.log_successes));
    let schedule_news = Arc::new(ScheduleNews::new(plan.schedule_hooks));
    let repeats = Arc::new(Repeats::default());
    Shared {
        settings,
        identity: Identity::new(name, engine.ids.lease().0),
        started_at: engine.clock.now(),
        handlers: Handlers {
            by_kind: plan.handlers,
            kinds: Arc::new(kinds.into()),
            middleware: plan.middleware,
            breakers: plan.breakers,
            #[cfg(feature = "sealed")]
            sealed,
        },
        resources: Arc::new(Resources {
            engine: engine.clone(),
            state: plan.state,
            threads: Arc::new(Semaphore::new(settings.blocking_threads)),
            neighbours: plan.neighbours,
            notes: Notes::default(),
        }),
        work: Work::new(pools.collect(), HeldBytes::new(bytes_max)),
        signals: Signals::new(),
        reports,
        recorder: Recorder::new(engine.clone(), Arc::clone(&ends), Arc::clone(&repeats)),
        ends,
        schedule_news,
        repeats,
        trouble: Trouble::default(),
        watched: Watched::default(),
        engine,
    }
}

/// Host, process id and a random part.
fn name(engine: &Engine) -> String {
    let random = engine.ids.lease().0.simple().to_string();
    format!("{}-{}-{}", process::host(), std::process::id(), &random[..6])
}

/// Writes progress and log lines until the worker ends.
async fn write_notes(shared: Arc<Shared>) {
    let notes = &shared.resources.notes;
    loop {
        let runs = notes.wait().await;
        notes.flush(&shared.engine, &shared.repeats, runs.iter()).await;
        shared.engine.clock.sleep(notes::SPAN).await;
    }
}
