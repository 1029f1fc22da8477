//! Wakes parked workflows when their time comes.

use std::{sync::Arc, time::Duration};

use backroom_core::{
    Event, JobId, JobRow, Timestamp,
    bounds::{earlier, span_until},
    transition,
};

use super::duty::{Duty, ROWS_MAX};
use crate::{
    Error,
    engine::Engine,
    store::{Committed, Listener},
};

/// How often wake times are read while workflows have some, and how soon after a hint. A workflow parks for a second at least, so each is
/// found in time.
const SPAN: Duration = Duration::from_secs(1);
/// The same while no workflow has one. Hints come for those that park in this process.
const SPAN_IDLE: Duration = Duration::from_secs(5);
/// The wait while other processes change workflows that are due.
const WHILE_LOCKED: Duration = Duration::from_millis(40);
/// So long after the last wake time the store counts as having some.
const REMEMBERED: Duration = Duration::from_secs(60);
/// For so long a signal that was taken is known by its id.
const TAKEN_KNOWN: Duration = Duration::from_secs(3600);
/// How often those are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// Wakes workflows.
pub(super) struct Wakes {
    hints: Listener,
    /// Readings of the monotonic clock: when wake times were seen last, and when taken signals were forgotten last.
    seen: Option<Duration>,
    forgot: Option<Duration>,
}

impl Wakes {
    pub(super) fn new(engine: &Engine) -> Self {
        Self { hints: engine.store.notifier().subscribe_wakes(), seen: None, forgot: None }
    }

    async fn forget(&mut self, engine: &Engine, now: Timestamp) -> Result<(), Error> {
        let reading = engine.clock.monotonic();
        if self.forgot.is_none_or(|at| reading.saturating_sub(at) >= FORGET_EVERY) {
            self.forgot = Some(reading);
            let before = earlier(now, TAKEN_KNOWN);
            while engine.store.forget_taken(before, ROWS_MAX).await? >= ROWS_MAX as u64 {}
        }
        Ok(())
    }
}

/// Wakes each, and forgets its wake time. Answers how many are left: others changed them in between.
async fn wake(
    engine: &Engine,
    due: Vec<(JobId, Timestamp, Option<JobRow>)>,
    now: Timestamp,
) -> Result<usize, Error> {
    let (mut over, mut wakes, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    for (id, at, job) in due {
        match job.and_then(|job| transition::apply(&job, Event::Wake, now).ok().flatten()) {
            Some(change) => {
                wakes.push((id, at));
                changes.push(change);
            }
            // It is awake, has ended, or is gone.
            None => over.push((id, at)),
        }
    }
    let mut left = 0;
    if !changes.is_empty() {
        let answers = engine.store.commit(Arc::new(changes)).await?;
        for (wake, answer) in wakes.into_iter().zip(answers) {
            match answer {
                Committed::Done => over.push(wake),
                Committed::Stale | Committed::KeyHeld(_) | Committed::RowLocked => left += 1,
            }
        }
    }
    if !over.is_empty() {
        engine.store.clear_wakes(Arc::new(over)).await?;
    }
    Ok(left)
}

impl Duty for Wakes {
    const NAME: &'static str = "wake workflows";

    fn hints(&self) -> Option<(&Listener, Duration)> {
        Some((&self.hints, SPAN))
    }

    /// Wakes every workflow whose time has come.
    async fn tick(&mut self, engine: &Engine, _: Timestamp) -> Result<Duration, Error> {
        let next_at = loop {
            let now = engine.clock.now();
            let found = engine.store.due_wakes(ROWS_MAX, now).await?;
            if !found.due.is_empty() {
                self.seen = Some(engine.clock.monotonic());
            }
            let is_page = found.due.len() == ROWS_MAX;
            let left = wake(engine, found.due, now).await?;
            if left > 0 {
                return Ok(WHILE_LOCKED);
            }
            if !is_page {
                break found.next_at;
            }
        };
        let now = engine.clock.now();
        self.forget(engine, now).await?;
        if next_at.is_some() {
            self.seen = Some(engine.clock.monotonic());
        }
        let is_lately = self.seen.is_some_and(|at| engine.clock.monotonic().saturating_sub(at) < REMEMBERED);
        let span = if is_lately { SPAN } else { SPAN_IDLE };
        Ok(next_at.map_or(span, |at| span_until(now, at).min(span)).max(Duration::from_millis(1)))
    }
}
