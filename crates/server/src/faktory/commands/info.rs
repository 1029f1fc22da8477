//! `INFO`: what the server knows of itself.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use backroom::{DisplayState, core::draft::SYSTEM_PREFIX};
use serde_json::{Map, Value, json};

use super::super::{
    Faktory,
    reply::{Refusal, Reply},
};

/// The version of the protocol's server that clients expect: some refuse to work with another.
const VERSION: &str = "1.9.4";

/// The document that clients and their pages read.
pub(in super::super) async fn info(faktory: &Faktory) -> Result<Reply, Refusal> {
    let backroom = &faktory.state.backroom;
    let counts = backroom.counts().await?;
    let names = super::queues::all(faktory).await?;
    let mut queues: BTreeMap<String, u64> = {
        let removed = faktory.removed();
        names.into_iter().filter(|name| !removed.contains(name)).map(|name| (name, 0)).collect()
    };
    let mut sets = [0_u64; 4];
    let is_shown = |queue: &str| !queue.starts_with(SYSTEM_PREFIX) && !faktory.is_secure(queue);
    for count in counts.iter().filter(|count| is_shown(&count.queue)) {
        let set = match count.state {
            DisplayState::Available => {
                queues.insert(count.queue.clone(), count.jobs);
                continue;
            }
            DisplayState::Scheduled => 0,
            DisplayState::Retrying => 1,
            DisplayState::Discarded => 2,
            DisplayState::Running => 3,
            DisplayState::Waiting | DisplayState::Completed | DisplayState::Cancelled => continue,
        };
        sets[set] += count.jobs;
    }
    let [scheduled, retries, dead, working] = sets;
    let uptime = faktory.now().saturating_sub(faktory.began_at).as_secs().max(1);
    let now = backroom.clock().now();
    let task = |size: u64| json!({ "enqueued": 0, "cycles": 0, "size": size, "wall_time_sec": 0.0 });
    let reaper = |size: u64| json!({ "size": size, "reaped": 0 });
    let total: u64 = queues.values().sum();
    let count = queues.len();
    let queues: Map<String, Value> = queues.into_iter().map(|(name, jobs)| (name, jobs.into())).collect();
    let workers = faktory.workers().all().len() as u64;
    let document = json!({
        "now": now.to_string(),
        "server_utc_time": now.strftime("%H:%M:%S UTC").to_string(),
        "faktory": {
            "queues": queues,
            "sets": { "scheduled": scheduled, "retries": retries, "dead": dead, "working": working },
            "tasks": {
                "Scheduled": task(scheduled),
                "Retries": task(retries),
                "Dead": task(dead),
                "Busy": reaper(working),
                "Workers": reaper(workers),
            },
            "total_failures": faktory.failed.load(Ordering::Relaxed),
            "total_processed": faktory.processed.load(Ordering::Relaxed),
            "total_enqueued": total,
            "total_queues": count,
        },
        "server": {
            "description": format!("Backroom {}", env!("CARGO_PKG_VERSION")),
            "faktory_version": VERSION,
            "uptime": uptime,
            "connections": faktory.connections.load(Ordering::Relaxed),
            "command_count": faktory.commands.load(Ordering::Relaxed),
            "used_memory_mb": memory_mb(),
        },
    });
    Ok(Reply::Bulk(document.to_string()))
}

/// The memory of this process, where the system says it.
fn memory_mb() -> u64 {
    let read = || {
        let text = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
    };
    read().unwrap_or(0) / 1024
}
