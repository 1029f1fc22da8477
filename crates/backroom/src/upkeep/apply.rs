//! Applies events to jobs that upkeep found.

use std::sync::Arc;

use backroom_core::{Event, JobRow, Timestamp, transition};

use crate::{Ended, Ending, Error, ended::Times, ends::Ends, engine::Engine, store::Committed};

/// Applies `event` to each job and returns how many it changed. Another process changed the others after they were read, or
/// another transaction has locked their row: the next tick reads them again.
pub(super) async fn apply_to_all(
    engine: &Engine,
    ends: &Ends,
    jobs: &[JobRow],
    event: &Event,
    now: Timestamp,
) -> Result<usize, Error> {
    apply_to_each(engine, ends, jobs.iter().map(|job| (job, event.clone())), now).await
}

/// The same with an event of its own for each job.
pub(super) async fn apply_to_each<'a>(
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
