//! Letting suspects begin one after another.
//!
//! A *suspect* is a job that ran when a worker process died; the rules are core's ([`JobRow::standing`]). Before one begins,
//! the worker writes into its own row that it is on trial, and waits until that is durable: if the process dies, whoever
//! rescues its jobs knows which one to charge. A *prime suspect* begins only while nothing else runs in the process.
//!
//! [`JobRow::standing`]: backroom_core::JobRow::standing

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backroom_core::{
    JobId, Standing,
    blame::{Trial, Trials},
    bounds::PASSED_MAX,
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{active_runs::Run, execute, heartbeat, pool::Pool, report, shared::Shared};
use crate::Failure;

/// A worker holds suspects whose trials take about so long together; others are put off, so that other workers get them.
const HELD_MAX: Duration = Duration::from_secs(15);
/// So long a suspect waits for a slot, and a prime suspect until nothing else runs. Then others have their turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// The wait of a suspect that found no slot, or no thread.
const NO_SLOT: Duration = Duration::from_secs(10);
/// The wait before the row is written again when the store did not take it.
const PAUSE: Duration = Duration::from_secs(1);

/// The suspects of one worker.
#[derive(Default)]
pub(crate) struct Suspects {
    waiting: Mutex<VecDeque<Suspect>>,
    came: Notify,
    trials: Mutex<Trials>,
}

struct Suspect {
    run: Arc<Run>,
    pool: Arc<Pool>,
    standing: Standing,
}

impl Suspect {
    fn span(&self) -> Duration {
        match self.standing {
            Standing::Clear => Duration::ZERO,
            Standing::Suspect(span) | Standing::Prime(span) => span,
        }
    }

    /// Those with the least evidence go first.
    fn order(&self) -> (bool, u32, JobId) {
        (matches!(self.standing, Standing::Prime(_)), self.run.job.crashes, self.run.job.id)
    }
}

/// A run that is to begin on trial, between the worker's suspects and the slot that runs it.
pub(crate) struct Ticket {
    alone: bool,
    stage: watch::Sender<Stage>,
    /// Cancelled when the run must leave its slot, because its handler waited too long for a thread.
    withdrawn: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Running,
    Over,
}

impl Suspects {
    /// What the worker's row says of them.
    pub(crate) fn trials(&self) -> Trials {
        self.lock_trials().clone()
    }

    /// Takes out those that have not begun.
    pub(crate) fn take_waiting(&self) -> Vec<Arc<Run>> {
        self.lock_waiting().drain(..).map(|suspect| suspect.run).collect()
    }

    fn next(&self) -> Option<Suspect> {
        let mut waiting = self.lock_waiting();
        let first = waiting.iter().enumerate().min_by_key(|(_, suspect)| suspect.order())?.0;
        waiting.remove(first)
    }

    fn lock_waiting(&self) -> MutexGuard<'_, VecDeque<Suspect>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_trials(&self) -> MutexGuard<'_, Trials> {
        self.trials.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets suspects apart from claimed runs, and answers with the others.
pub(crate) async fn set_apart(shared: &Arc<Shared>, pool: &Arc<Pool>, runs: Vec<Arc<Run>>) -> Vec<Arc<Run>> {
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
        if let Some((run, wait)) = hold(&shared.suspects, suspect, pool.slots as usize) {
            report::put_off(shared, run, wait).await;
        }
    }
    ready
}

/// Holds a suspect until its turn. Answers with it and how long to put it off if there are too many.
fn hold(suspects: &Suspects, suspect: Suspect, most: usize) -> Option<(Arc<Run>, Duration)> {
    let mut waiting = suspects.lock_waiting();
    let wait: Duration = waiting.iter().map(Suspect::span).sum();
    if wait > HELD_MAX || waiting.len() >= most {
        return Some((suspect.run, wait.clamp(PAUSE, HELD_MAX)));
    }
    waiting.push_back(suspect);
    suspects.came.notify_one();
    None
}

/// Lets the worker's suspects begin, one after another, until it stops; what has not begun by then is given back.
pub(crate) async fn keep_trying(shared: Arc<Shared>) {
    loop {
        let Some(suspect) = shared.suspects.next() else {
            tokio::select! {
                biased;
                () = shared.stopping.cancelled() => return,
                () = shared.suspects.came.notified() => continue,
            }
        };
        let run = Arc::clone(&suspect.run);
        if !on_trial(&shared, suspect).await {
            report::give_back(&shared, vec![run]).await;
        }
    }
}

/// One trial from its beginning to its end. False if the run has not begun and is to be given back.
async fn on_trial(shared: &Arc<Shared>, suspect: Suspect) -> bool {
    let neighbours = Arc::clone(&shared.neighbours);
    let clock = &shared.engine.clock;
    let Suspect { run, pool, standing } = &suspect;
    let permit = tokio::select! {
        biased;
        () = shared.stopping.cancelled() => return false,
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
            () = shared.stopping.cancelled() => return false,
            () = clock.sleep(PATIENCE) => {
                drop(closed);
                let wait = neighbours.again(run.job.id);
                tracing::warn!(
                    job = %run.job.id, kind = %run.job.kind, crashes = run.job.crashes, ?wait,
                    "the job is suspected of killing its worker and waits to run alone: other jobs run on in this process"
                );
                report::put_off(shared, Arc::clone(run), wait).await;
                return true;
            }
        }
    }
    let (stage, mut stages) = watch::channel(Stage::Waiting);
    let withdrawn = CancellationToken::new();
    run.put_on_trial(Ticket { alone, stage, withdrawn: withdrawn.clone() });
    if pool.give_first(Arc::clone(run)) {
        tokio::spawn(execute::keep_running(Arc::clone(shared), Arc::clone(pool)));
    }
    tokio::select! {
        biased;
        () = reached(&mut stages, Stage::Running) => {}
        () = shared.stopping.cancelled() => {
            if pool.take_first(run).is_some() {
                return false;
            }
            withdrawn.cancel();
        }
        () = clock.sleep(PATIENCE) => {
            if let Some(run) = pool.take_first(run) {
                report::put_off(shared, run, NO_SLOT).await;
                return true;
            }
            withdrawn.cancel();
        }
    }
    // In its slot a blocking handler may have waited for its thread; then the run is over now. Otherwise the store is about to
    // take the worker's row.
    reached(&mut stages, Stage::Running).await;
    if *stages.borrow() == Stage::Over {
        return true;
    }
    // One death makes many suspects, so this is not for everyone's log.
    tracing::debug!(
        job = %run.job.id, kind = %run.job.kind, crashes = run.job.crashes, alone, span = ?suspect.span(),
        "the job is suspected of killing its worker and begins on trial"
    );
    tokio::select! {
        biased;
        () = reached(&mut stages, Stage::Over) => {}
        () = clock.sleep(suspect.span()) => passed(shared, run, &mut stages).await,
    }
    drop(closed);
    true
}

/// Returns once the run has come so far; or farther.
async fn reached(stages: &mut watch::Receiver<Stage>, stage: Stage) {
    // An error says that the run is gone, so it is over.
    let _ = stages.wait_for(|now| *now == stage || *now == Stage::Over).await;
}

/// The trial is over and the run goes on. Nothing else begins before the row says so.
async fn passed(shared: &Arc<Shared>, run: &Run, stages: &mut watch::Receiver<Stage>) {
    {
        let mut trials = shared.suspects.lock_trials();
        trials.on = None;
        if trials.passed.len() < PASSED_MAX {
            trials.passed.push(run.job.id);
        }
    }
    let written = async {
        while heartbeat::say(shared).await.is_err() && !shared.stopping.is_cancelled() {
            shared.engine.clock.sleep(PAUSE).await;
        }
    };
    tokio::select! {
        biased;
        () = written => {}
        // The suspects of other stores in this process wait for this one; its store may be away for long.
        () = shared.engine.clock.sleep(shared.settings.lease) => {}
        () = reached(stages, Stage::Over) => {}
    }
}

/// The handler of the run has its slot, and its thread if it needs one: writes that it is on trial. False if that could not be
/// written, or the run ended in between; then the handler must not begin.
pub(crate) async fn begin(shared: &Arc<Shared>, run: &Run, ticket: &Ticket) -> bool {
    let since = shared.engine.clock.now();
    let trial = Trial { job: run.job.id, lease: run.lease, alone: ticket.alone, since };
    {
        let mut trials = shared.suspects.lock_trials();
        if ticket.is_over() {
            return false;
        }
        trials.on = Some(trial);
    }
    let written = heartbeat::say(shared).await;
    let mut trials = shared.suspects.lock_trials();
    // While the row was written, the worker may have learned that the lease is lost.
    if written.is_err() || run.told().is_some() || ticket.is_over() {
        trials.on.take_if(|on| on.lease == run.lease && on.job == run.job.id);
        return false;
    }
    ticket.stage.send_replace(Stage::Running);
    true
}

impl Ticket {
    /// Whether the run has the process for itself.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Returns when the run must leave its slot although its handler has no thread yet.
    pub(crate) async fn withdrawn(&self) {
        self.withdrawn.cancelled().await;
    }

    fn is_over(&self) -> bool {
        *self.stage.borrow() == Stage::Over
    }
}

/// The answer of a run whose handler found no thread.
pub(crate) fn without_thread() -> Failure {
    Failure::not_begun(NO_SLOT)
}

/// The run of a suspect is over when this is dropped.
pub(crate) struct Over<'a>(pub(crate) &'a Shared, pub(crate) &'a Run);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let Self(shared, run) = self;
        let Some(ticket) = run.ticket() else { return };
        let mut trials = shared.suspects.lock_trials();
        trials.on.take_if(|on| on.job == run.job.id);
        trials.passed.retain(|passed| *passed != run.job.id);
        // Under the lock, so that a thread that comes late does not begin a trial that is over.
        ticket.stage.send_replace(Stage::Over);
    }
}
