//! In which order a pool serves its queues.

use backroom_core::bounds::check_name;

use crate::{Error, ErrorKind, store::Share};

/// Most queues of one pool.
const QUEUES_MAX: usize = 100;

/// In which order a pool serves its queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueOrder {
    /// A queue is served only while those before it have nothing due.
    Strict(Vec<String>),
    /// Every queue gets its part of the slots that come free. The part that a queue does not use goes to the others.
    Weighted(Vec<(String, u32)>),
}

impl QueueOrder {
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
    pub(crate) fn queues(&self) -> Vec<String> {
        match self {
            Self::Strict(queues) => queues.clone(),
            Self::Weighted(queues) => queues.iter().map(|(queue, _)| queue.clone()).collect(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
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

    /// How a claim of `limit` jobs is shared among the queues. `turn` counts claims. With weights, a small claim cannot serve all
    /// queues, so each claim begins with another queue.
    pub(crate) fn shares(&self, limit: usize, turn: u64) -> Vec<Share> {
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

/// The queue that the `lot`-th unit of all weights belongs to.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(order: &QueueOrder, limit: usize, turn: u64) -> Vec<(String, usize)> {
        order.shares(limit, turn).into_iter().map(|share| (share.queue, share.at_most)).collect()
    }

    #[test]
    fn strict_order_offers_everything_to_each_queue_in_turn() {
        let order = QueueOrder::strict(["urgent", "default"]);
        assert_eq!(asked(&order, 8, 3), [("urgent".into(), 8), ("default".into(), 8)]);
    }

    #[test]
    fn weights_share_a_claim_and_offer_the_rest_to_every_queue() {
        let order = QueueOrder::weighted([("urgent", 3), ("default", 1)]);
        let shares = asked(&order, 8, 0);
        assert_eq!(shares[..2], [("urgent".into(), 6), ("default".into(), 2)]);
        assert_eq!(shares[2..], [("urgent".into(), 8), ("default".into(), 8)]);
    }

    #[test]
    fn claims_for_one_job_go_round_by_weight() {
        let order = QueueOrder::weighted([("urgent", 3), ("default", 1)]);
        let first: Vec<_> = (0..8).map(|turn| asked(&order, 1, turn)[0].0.clone()).collect();
        assert_eq!(first.iter().filter(|queue| *queue == "urgent").count(), 6);
        assert_eq!(first.iter().filter(|queue| *queue == "default").count(), 2);
    }

    #[test]
    fn queues_named_twice_and_weights_of_zero_are_refused() {
        assert!(QueueOrder::strict(["a", "a"]).check().is_err());
        assert!(QueueOrder::weighted([("a", 0)]).check().is_err());
        assert!(QueueOrder::strict(Vec::<String>::new()).check().is_err());
        assert!(QueueOrder::weighted([("a", 1), ("b", 2)]).check().is_ok());
    }
}
