//! Slots that share queues: which jobs wait here, how many run, and which queue is claimed from first.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backroom_core::bounds::check_name;
use tokio::sync::Notify;

use super::{prefetch::Pace, run::Run};
use crate::{Error, ErrorKind, store::Share};

/// Most queues of one pool.
const QUEUES_MAX: usize = 100;

/// In which order a pool serves its queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// A queue is served only while those before it have nothing due.
    Strict(Vec<String>),
    /// Every queue gets its part of the slots that come free; what one leaves unused goes to the others.
    Weighted(Vec<(String, u32)>),
}

impl Order {
    /// Queues in strict order, the first before all others.
    pub fn strict<S: Into<String>>(queues: impl IntoIterator<Item = S>) -> Self {
        Self::Strict(queues.into_iter().map(Into::into).collect())
    }

    /// Queues with weights: `[("urgent", 5), ("default", 1)]` serves five urgent jobs for each default one while
    /// both have jobs due.
    pub fn weighted<S: Into<String>>(queues: impl IntoIterator<Item = (S, u32)>) -> Self {
        Self::Weighted(queues.into_iter().map(|(queue, weight)| (queue.into(), weight)).collect())
    }

    /// The queues, each once.
    pub(super) fn queues(&self) -> Vec<String> {
        match self {
            Self::Strict(queues) => queues.clone(),
            Self::Weighted(queues) => queues.iter().map(|(queue, _)| queue.clone()).collect(),
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let queues = self.queues();
        let wrong = |what: String| Err(Error::new(ErrorKind::Invalid, format!("build the worker: {what}")));
        if queues.is_empty() || queues.len() > QUEUES_MAX {
            return wrong(format!("{} queues share slots; use 1 to {QUEUES_MAX}", queues.len()));
        }
        for (index, queue) in queues.iter().enumerate() {
            check_name("queue", queue)?;
            if queues[..index].contains(queue) {
                return wrong(format!("queue {queue:?} is named twice; name it once"));
            }
        }
        match self {
            Self::Strict(_) => Ok(()),
            Self::Weighted(weights) => match weights.iter().find(|(_, weight)| *weight == 0) {
                Some((queue, _)) => wrong(format!("queue {queue:?} has the weight 0; use at least 1")),
                None => Ok(()),
            },
        }
    }

    /// How a claim of `limit` jobs is shared out. `turn` counts claims: with weights, the fractions that a small
    /// claim cannot hold go round, so that a claim for one job is not always the first queue's.
    pub(super) fn shares(&self, limit: usize, turn: u64) -> Vec<Share> {
        match self {
            Self::Strict(queues) => {
                queues.iter().map(|queue| Share { queue: queue.clone(), at_most: limit }).collect()
            }
            Self::Weighted(weights) => {
                let total: u64 = weights.iter().map(|(_, weight)| u64::from(*weight)).sum();
                let start = lot(weights, turn % total.max(1));
                let from_start = || weights.iter().cycle().skip(start).take(weights.len());
                let part = |weight: u32| (limit as u64 * u64::from(weight)).div_ceil(total.max(1)) as usize;
                let first = from_start()
                    .map(|(queue, weight)| Share { queue: queue.clone(), at_most: part(*weight) });
                let rest = from_start().map(|(queue, _)| Share { queue: queue.clone(), at_most: limit });
                first.chain(rest).collect()
            }
        }
    }
}

/// Which queue the `lot`-th of all weights falls to.
fn lot(weights: &[(String, u32)], lot: u64) -> usize {
    let mut before = 0;
    for (index, (_, weight)) in weights.iter().enumerate() {
        before += u64::from(*weight);
        if lot < before {
            return index;
        }
    }
    0
}

/// Slots, the jobs claimed for them, and the runners that work them off.
pub(crate) struct Pool {
    pub(crate) order: Order,
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
    pub(crate) fn new(order: Order, slots: u32) -> Self {
        Self { order, slots, state: Mutex::default(), wants: Notify::new() }
    }

    /// How many jobs to claim now; 0 while enough are in hand.
    pub(crate) fn wanted(&self) -> usize {
        let state = self.state();
        state.pace.wanted(self.slots as usize, state.runners, state.waiting.len())
    }

    /// Takes in claimed jobs. Answers how many runners to start for them.
    pub(crate) fn give(&self, runs: impl IntoIterator<Item = Arc<Run>>) -> usize {
        let mut state = self.state();
        state.waiting.extend(runs);
        let idle = (self.slots as usize).saturating_sub(state.runners);
        let starting = idle.min(state.waiting.len());
        state.runners += starting;
        starting
    }

    /// The next job for a runner; none ends the runner. `took` is how long its last job ran.
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

    /// Takes out the jobs that were received before `before`, a reading of the monotonic clock, and that no runner has begun,
    /// and stops claiming ahead until jobs are seen to be short again.
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

    /// Takes in a suspect that gets the next slot. Answers whether to start a runner for it.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(order: &Order, limit: usize, turn: u64) -> Vec<(String, usize)> {
        order.shares(limit, turn).into_iter().map(|share| (share.queue, share.at_most)).collect()
    }

    #[test]
    fn strict_order_offers_everything_to_each_queue_in_turn() {
        let order = Order::strict(["urgent", "default"]);
        assert_eq!(asked(&order, 8, 3), [("urgent".into(), 8), ("default".into(), 8)]);
    }

    #[test]
    fn weights_share_a_claim_and_offer_the_rest_to_every_queue() {
        let order = Order::weighted([("urgent", 3), ("default", 1)]);
        let shares = asked(&order, 8, 0);
        assert_eq!(shares[..2], [("urgent".into(), 6), ("default".into(), 2)]);
        assert_eq!(shares[2..], [("urgent".into(), 8), ("default".into(), 8)]);
    }

    #[test]
    fn claims_for_one_job_go_round_by_weight() {
        let order = Order::weighted([("urgent", 3), ("default", 1)]);
        let first: Vec<_> = (0..8).map(|turn| asked(&order, 1, turn)[0].0.clone()).collect();
        assert_eq!(first.iter().filter(|queue| *queue == "urgent").count(), 6);
        assert_eq!(first.iter().filter(|queue| *queue == "default").count(), 2);
    }

    #[test]
    fn queues_named_twice_and_weights_of_zero_are_refused() {
        assert!(Order::strict(["a", "a"]).check().is_err());
        assert!(Order::weighted([("a", 0)]).check().is_err());
        assert!(Order::strict(Vec::<String>::new()).check().is_err());
        assert!(Order::weighted([("a", 1), ("b", 2)]).check().is_ok());
    }
}
