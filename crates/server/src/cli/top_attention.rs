//! What needs attention, as lines for `backroom top`: what stands still first, then what fails, then what was stopped on purpose.

use backroom::DisplayState;

use super::top::Seen;
use crate::{terminal::words, views::QueueView};

/// Queues without a worker that are named.
const NAMED_MAX: usize = 5;

/// The lines, the worst first.
pub(super) fn lines(seen: &Seen) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(unserved(seen));
    lines.extend(seen.queues.queues.iter().filter_map(full));
    for worker in &seen.workers.workers {
        let stuck =
            (worker.stuck > 0).then(|| format!("{} handlers run on after a stop request", worker.stuck));
        let blocked = worker.details.blocked.as_ref().filter(|blocked| blocked.now).map(ToString::to_string);
        let whys = worker.trouble.clone().into_iter().chain(stuck).chain(blocked);
        lines.extend(whys.map(|why| format!("worker {}: {why}", worker.name)));
    }
    #[cfg(feature = "triggers")]
    lines.extend(
        seen.triggers
            .iter()
            .filter_map(|trigger| trigger.error().map(|error| format!("trigger {}: {error}", trigger.name))),
    );
    let discarded: u64 = seen.stats.kinds.iter().map(|kind| kind.discarded).sum();
    if discarded > 0 {
        lines.push(format!("{} discarded in the last 10 minutes", words::count(discarded, "job")));
    }
    for schedule in &seen.schedules.schedules {
        if let Some(failing) = &schedule.failing {
            lines.push(format!("schedule {}: {}", schedule.name, failing.why));
        } else if schedule.overdue_since.is_some() {
            lines.push(format!("schedule {}: a success is overdue", schedule.name));
        }
    }
    lines.extend(seen.queues.queues.iter().filter_map(paused));
    #[cfg(feature = "triggers")]
    for trigger in seen.triggers.iter().filter(|trigger| trigger.dead_letters > 0) {
        lines.push(format!(
            "trigger {} has {}",
            trigger.name,
            words::count(trigger.dead_letters, "dead letter")
        ));
    }
    lines
}

fn due(queue: &QueueView) -> u64 {
    queue.counts.get(DisplayState::Available)
}

/// Queues that no worker serves, in one line.
fn unserved(seen: &Seen) -> Option<String> {
    let is_served = |queue: &QueueView| {
        seen.workers.workers.iter().any(|worker| worker.queues.iter().any(|(name, _)| *name == queue.name))
    };
    let mut queues: Vec<_> = seen
        .queues
        .queues
        .iter()
        .filter(|queue| queue.paused_at.is_none() && due(queue) > 0 && !is_served(queue))
        .collect();
    queues.sort_by_key(|queue| std::cmp::Reverse(due(queue)));
    let jobs = words::count(queues.iter().map(|queue| due(queue)).sum(), "due job");
    let names: Vec<_> = queues.iter().take(NAMED_MAX).map(|queue| queue.name.as_str()).collect();
    let more = queues.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!queues.is_empty()).then(|| format!("no worker serves {}{more}: {jobs}", names.join(", ")))
}

fn full(queue: &QueueView) -> Option<String> {
    let waiting: u64 = [DisplayState::Available, DisplayState::Scheduled, DisplayState::Retrying]
        .into_iter()
        .map(|state| queue.counts.get(state))
        .sum();
    let is_full = queue.depth_max.is_some_and(|most| waiting >= most);
    is_full.then(|| format!("queue {} is full: {} wait", queue.name, words::count(waiting, "job")))
}

fn paused(queue: &QueueView) -> Option<String> {
    let is_held = queue.paused_at.is_some() && due(queue) > 0;
    is_held.then(|| format!("queue {} is paused: {}", queue.name, words::count(due(queue), "due job")))
}
