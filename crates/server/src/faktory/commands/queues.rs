//! `QUEUE`: pause, resume and remove queues, and ask how long jobs wait.

use std::collections::BTreeMap;

use backroom::{Action, DisplayState, Filter, core::draft::SYSTEM_PREFIX};

use super::super::{
    Faktory,
    reply::{Refusal, Reply},
};

/// Stands for all queues.
const ALL: &str = "*";

/// No job is fetched from these queues.
pub(in super::super) async fn pause(faktory: &Faktory, named: &[String]) -> Result<Reply, Refusal> {
    for queue in known(faktory, named).await? {
        faktory.state.backroom.pause(&queue).await?;
    }
    Ok(Reply::Ok)
}

/// Jobs are fetched from these queues again.
pub(in super::super) async fn resume(faktory: &Faktory, named: &[String]) -> Result<Reply, Refusal> {
    for queue in known(faktory, named).await? {
        faktory.state.backroom.resume(&queue).await?;
    }
    Ok(Reply::Ok)
}

/// Deletes the jobs of these queues that are due. Until a job is pushed to it, a queue is not listed any more.
pub(in super::super) async fn remove(faktory: &Faktory, named: &[String]) -> Result<Reply, Refusal> {
    let now = faktory.state.backroom.clock().now();
    for queue in known(faktory, named).await? {
        let filter = Filter { queue: Some(queue.clone()), ..Filter::shown(&[DisplayState::Available], now) };
        let mut before = None;
        loop {
            let acted = faktory.state.backroom.act_on_matching(&filter, &Action::Delete, before).await?;
            before = acted.next;
            if before.is_none() {
                break;
            }
        }
        faktory.state.backroom.resume(&queue).await?;
        faktory.removed().insert(queue);
    }
    Ok(Reply::Ok)
}

/// For how many seconds the oldest job of each queue has been due.
pub(in super::super) async fn latency(faktory: &Faktory, named: &[String]) -> Result<Reply, Refusal> {
    if named.iter().any(|queue| queue == ALL) {
        return Err(Refusal::new("QUEUE LATENCY does not support wildcards"));
    }
    if let Some(queue) = named.iter().find(|queue| faktory.is_secure(queue)) {
        return Err(super::fetch::for_tokens(queue));
    }
    let now = faktory.state.backroom.clock().now();
    let mut latencies = BTreeMap::new();
    for queue in named {
        let oldest = faktory.state.backroom.load(queue).await?.oldest_at;
        let waits = oldest.map_or(0.0, |at| backroom::core::bounds::span_until(at, now).as_secs_f64());
        latencies.insert(queue, waits);
    }
    Ok(Reply::Bulk(serde_json::to_string(&latencies).expect("invariant: numbers are JSON")))
}

/// The queues that exist, but those of Backroom itself and those for some tokens only.
pub(in super::super) async fn all(faktory: &Faktory) -> Result<Vec<String>, Refusal> {
    let queues = faktory.state.backroom.queues().await?;
    Ok(queues
        .into_iter()
        .map(|queue| queue.name)
        .filter(|name| !name.starts_with(SYSTEM_PREFIX) && !faktory.is_secure(name))
        .collect())
}

/// Those of the named ones that exist.
async fn known(faktory: &Faktory, named: &[String]) -> Result<Vec<String>, Refusal> {
    let mut queues = all(faktory).await?;
    if !named.iter().any(|queue| queue == ALL) {
        queues.retain(|queue| named.contains(queue));
    }
    Ok(queues)
}
