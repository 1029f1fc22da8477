//! Lets suspects begin one after another.
//!
//! One suspect of the process is on trial at a time, whichever of its workers runs it. A *prime suspect* begins only while
//! nothing else runs in the process. What a trial writes is in [`trial`](super::trial).

use std::{sync::Arc, time::Duration};

use backroom_core::Standing;

use super::{
    execute,
    give_back::give_back,
    pool::Pool,
    run::Run,
    shared::Shared,
    suspects::Suspect,
    trial::{Trial, TrialView},
};

/// So long a suspect waits for a slot or a thread, and a prime suspect until nothing else runs. Then others have their turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// The wait of a suspect that found no slot.
const NO_SLOT: Duration = Duration::from_secs(10);
/// The wait before the row is written again when the store did not take it.
const PAUSE: Duration = Duration::from_secs(1);

/// Sets suspects apart from claimed runs. Returns the others.
pub(super) async fn set_apart(shared: &Arc<Shared>, pool: &Arc<Pool>, runs: Vec<Arc<Run>>) -> Vec<Arc<Run>> {
    if runs.iter().all(|run| run.job.suspicion.is_none()) {
        return runs;
    }
    let (span, now) = (shared.settings.crash_span, shared.engine.clock.now());
    let mut ready = Vec::with_capacity(runs.len());
    for run in runs {
        let standing = run.job.standing(span, now);
        if standing == Standing::Clear {
            ready.push(run);
            continue;
        }
        let suspect = Suspect { run, pool: Arc::clone(pool), standing };
        if let Some((run, wait)) = shared.work.suspects.hold(suspect, pool.slots as usize) {
            shared.reports.put_off(run, wait).await;
        }
    }
    ready
}

/// Lets the worker's suspects begin until it stops; what has not begun by then is given back.
pub(super) async fn keep_trying(shared: Arc<Shared>) {
    loop {
        let Some(suspect) = shared.work.suspects.next() else {
            tokio::select! {
                biased;
                () = shared.signals.stopping.cancelled() => return,
                () = shared.work.suspects.came() => continue,
            }
        };
        let run = Arc::clone(&suspect.run);
        if !have_turn(&shared, suspect).await {
            give_back(&shared, vec![run]).await;
        }
    }
}

/// The turn of one suspect, until its trial is over. False if the run has not begun and is to be given back.
async fn have_turn(shared: &Arc<Shared>, suspect: Suspect) -> bool {
    let neighbours = Arc::clone(&shared.resources.neighbours);
    let clock = &shared.engine.clock;
    let Suspect { run, pool, standing } = &suspect;
    let permit = tokio::select! {
        biased;
        () = shared.signals.stopping.cancelled() => return false,
        () = run.stop.cancelled() => return false,
        permit = neighbours.trial() => permit,
    };
    let Ok(_permit) = permit else { return false };
    let mut closed = None;
    let alone = matches!(standing, Standing::Prime(_));
    if alone {
        closed = Some(neighbours.close());
        tokio::select! {
            biased;
            () = neighbours.empty() => neighbours.found(run.job.id),
            () = shared.signals.stopping.cancelled() => return false,
            () = clock.sleep(PATIENCE) => {
                drop(closed);
                let wait = neighbours.again(run.job.id);
                tracing::warn!(
                    job = %run.job.id, kind = %run.job.kind, crashes = run.job.crashes, ?wait,
                    "the job is suspected of killing its worker and waits to run alone: other jobs run on in this process"
                );
                shared.reports.put_off(Arc::clone(run), wait).await;
                return true;
            }
        }
    }
    let key = (run.job.id, run.lease);
    let (trial, mut view) = Trial::new(key, alone, &shared.work.suspects.record, &shared.signals.rows);
    run.put_on_trial(trial);
    if pool.give_first(Arc::clone(run)) {
        tokio::spawn(execute::keep_running(Arc::clone(shared), Arc::clone(pool)));
    }
    tokio::select! {
        biased;
        () = view.begun() => {}
        () = shared.signals.stopping.cancelled() => {
            if pool.take_first(run).is_some() {
                return false;
            }
            view.withdraw();
        }
        () = clock.sleep(PATIENCE) => {
            if let Some(run) = pool.take_first(run) {
                shared.reports.put_off(run, NO_SLOT).await;
                return true;
            }
            view.withdraw();
        }
    }
    // In its slot a blocking handler may have waited for its thread; then the run leaves its slot now. Otherwise the store is about
    // to take the worker's row.
    view.begun().await;
    if view.is_over() {
        return true;
    }
    // One death makes many suspects, so this is not for everyone's log.
    tracing::debug!(
        job = %run.job.id, kind = %run.job.kind, crashes = run.job.crashes, alone, span = ?suspect.span(),
        "the job is suspected of killing its worker and begins on trial"
    );
    let passed = tokio::select! {
        biased;
        () = view.over() => false,
        () = clock.sleep(suspect.span()) => true,
    };
    if passed {
        pass(shared, &mut view).await;
    }
    drop(closed);
    true
}

/// The trial is over and the run goes on. No other suspect begins before the row says so, unless that takes too long.
async fn pass(shared: &Arc<Shared>, view: &mut TrialView) {
    view.pass();
    let rows = shared.signals.rows.clone();
    let written = async {
        while rows.write().await.is_err() && !shared.signals.stopping.is_cancelled() {
            shared.engine.clock.sleep(PAUSE).await;
        }
    };
    tokio::select! {
        biased;
        () = written => {}
        // The suspects of other stores in this process wait for this one; its store may be away for long.
        () = shared.engine.clock.sleep(shared.settings.lease) => {}
        () = view.over() => {}
    }
}
