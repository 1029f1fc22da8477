//! What keeps a store in order: each duty is a `tick(engine, now) -> how long it wants to rest`, and this shell
//! sleeps in between. Any number of workers may do it at once: every write is guarded, so the second one finds
//! nothing left to do.

mod expire;
mod liveness;
mod loss;
mod prune;
mod pulse;
mod rescue;

use std::{sync::Arc, time::Duration};

use backroom_core::{Event, JobRow, Timestamp, transition};

pub(crate) use self::pulse::Pulse;
use self::{expire::Expire, prune::Prune, rescue::Rescue};
use crate::{
    Ended, Ending, Error,
    ended::{Ends, Times},
    engine::Engine,
    repeated::Repeated,
    store::{Committed, is_told},
};

/// Most rows per call, so that no tick holds up the store for long.
const ROWS_MAX: usize = 500;
/// The wait after a tick that failed.
const PAUSE: Duration = Duration::from_secs(5);

/// One thing that is looked after.
trait Duty {
    /// For people who read the log.
    const NAME: &'static str;

    /// Does what is to be done now; answers after how long it wants to run again.
    fn tick(
        &mut self,
        engine: &Engine,
        now: Timestamp,
    ) -> impl Future<Output = Result<Duration, Error>> + Send;
}

/// Does all upkeep until it is aborted. `lease`, `pulse`, `ends` and `crash_span` are those of the worker beside it.
pub(crate) async fn keep_up(
    engine: Engine,
    lease: Duration,
    pulse: Arc<Pulse>,
    ends: Arc<Ends>,
    crash_span: Duration,
) {
    tokio::join!(
        keep(&engine, Rescue::new(lease, pulse, Arc::clone(&ends), crash_span)),
        keep(&engine, Expire { ends }),
        keep(&engine, Prune)
    );
}

async fn keep<D: Duty>(engine: &Engine, mut duty: D) {
    let mut failing = Repeated::default();
    loop {
        let began = engine.clock.monotonic();
        let rest = match duty.tick(engine, engine.clock.now()).await {
            // From its beginning on, so that the pace stays the same however long it takes.
            Ok(rest) => {
                if let Some(times) = failing.over(began) {
                    tracing::warn!(duty = D::NAME, "upkeep failed: {times}, now over");
                }
                began.saturating_add(rest)
            }
            Err(error) => {
                // Outages are reported once by the store's decorator.
                if !is_told(&error) && failing.met(began) {
                    tracing::error!(duty = D::NAME, %error, "upkeep failed; it is tried again");
                }
                engine.clock.monotonic().saturating_add(PAUSE)
            }
        };
        engine.clock.sleep_to(rest).await;
    }
}

/// Applies `event` to each job and answers how many it changed. The others were extended, recorded or changed by
/// another process since they were read, or another transaction has locked their row: the next look finds them again.
async fn apply_to_all(
    engine: &Engine,
    ends: &Ends,
    jobs: &[JobRow],
    event: &Event,
    now: Timestamp,
) -> Result<usize, Error> {
    apply_to_each(engine, ends, jobs.iter().map(|job| (job, event.clone())), now).await
}

/// The same with an event of its own for each job.
async fn apply_to_each<'a>(
    engine: &Engine,
    ends: &Ends,
    events: impl Iterator<Item = (&'a JobRow, Event)>,
    now: Timestamp,
) -> Result<usize, Error> {
    let decide = |(job, event): (&'a JobRow, Event)| {
        let ending = Ending::of(&event);
        let change = transition::apply(job, event, now).ok().flatten()?;
        Some(((job, ending), change))
    };
    let (decided, changes): (Vec<_>, Vec<_>) = events.filter_map(decide).unzip();
    if changes.is_empty() {
        return Ok(0);
    }
    let changes = Arc::new(changes);
    let answers = engine.store.commit(Arc::clone(&changes)).await?;
    let mut done = 0;
    for (((job, ending), change), answer) in decided.into_iter().zip(changes.iter()).zip(answers) {
        match answer {
            Committed::Done => {
                done += 1;
                if let Some(ending) = ending {
                    ends.report(&Ended::new(job, ending, change, Times::default(), now));
                }
            }
            Committed::Stale | Committed::KeyHeld(_) | Committed::RowLocked => {}
        }
    }
    Ok(done)
}
