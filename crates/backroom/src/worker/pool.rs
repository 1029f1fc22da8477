//! Slots that share queues: which jobs wait here, and how many run.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::{prefetch::Pace, queue_order::QueueOrder, run::Run};

/// Slots, the jobs claimed for them, and the runners that run these jobs.
pub(crate) struct Pool {
    pub(crate) order: QueueOrder,
    pub(crate) slots: u32,
    state: Mutex<State>,
    /// Notified when the pool may want more jobs.
    pub(crate) wants: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Arc<Run>>,
    /// A suspect that is to begin on trial: it gets the next slot.
    first: Option<Arc<Run>>,
    /// Runners at work; each holds one slot.
    runners: usize,
    pace: Pace,
}

impl Pool {
    pub(crate) fn new(order: QueueOrder, slots: u32) -> Self {
        Self { order, slots, state: Mutex::default(), wants: Notify::new() }
    }

    /// How many jobs to claim now; 0 while enough are in hand.
    pub(crate) fn wanted(&self) -> usize {
        let state = self.state();
        state.pace.wanted(self.slots as usize, state.runners, state.waiting.len())
    }

    /// Adds claimed jobs. Returns how many runners to start for them.
    pub(crate) fn give(&self, runs: impl IntoIterator<Item = Arc<Run>>) -> usize {
        let mut state = self.state();
        state.waiting.extend(runs);
        let idle = (self.slots as usize).saturating_sub(state.runners);
        let starting = idle.min(state.waiting.len());
        state.runners += starting;
        starting
    }

    /// The next job for a runner. The runner ends if there is none. `took` is how long its last job ran.
    pub(crate) fn next(&self, took: Option<Duration>) -> Option<Arc<Run>> {
        let mut state = self.state();
        if let Some(took) = took {
            state.pace.ran(took);
        }
        let next = state.first.take().or_else(|| state.waiting.pop_front());
        if next.is_none() {
            state.runners -= 1;
        }
        let wanted = state.pace.wanted(self.slots as usize, state.runners, state.waiting.len());
        drop(state);
        if wanted > 0 {
            self.wants.notify_one();
        }
        next
    }

    /// Whether jobs wait here for a slot.
    pub(crate) fn has_ready(&self) -> bool {
        !self.state().waiting.is_empty()
    }

    /// Takes out the jobs that no runner has begun, if the oldest was received before `before`, a reading of the monotonic clock.
    /// Then no jobs are claimed ahead until jobs are short again.
    pub(crate) fn take_hoard(&self, before: Duration) -> Vec<Arc<Run>> {
        let mut state = self.state();
        let is_old = |run: &Arc<Run>| run.received <= before;
        if !state.waiting.front().is_some_and(is_old) {
            return Vec::new();
        }
        state.pace.ran_long();
        state.waiting.drain(..).collect()
    }

    /// Takes out the jobs that no runner has begun.
    pub(crate) fn take_waiting(&self) -> Vec<Arc<Run>> {
        self.state().waiting.drain(..).collect()
    }

    /// Adds a suspect that gets the next slot. Returns whether to start a runner for it.
    pub(crate) fn give_first(&self, run: Arc<Run>) -> bool {
        let mut state = self.state();
        state.first = Some(run);
        let idle = state.runners < self.slots as usize;
        state.runners += usize::from(idle);
        idle
    }

    /// Takes this suspect out again; none if it has its slot.
    pub(crate) fn take_first(&self, run: &Arc<Run>) -> Option<Arc<Run>> {
        self.state().first.take_if(|first| Arc::ptr_eq(first, run))
    }

    /// Whether nothing waits and nothing runs.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state();
        state.runners == 0 && state.waiting.is_empty() && state.first.is_none()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
