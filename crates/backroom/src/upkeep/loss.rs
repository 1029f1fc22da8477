//! What the death of a process means for each job that its workers held. It passes the rows of the workers to
//! [`backroom_core::blame`].

use std::{collections::HashMap, time::Duration};

use backroom_core::{
    Event, JobRow, Timestamp,
    blame::{self, DeadWorker},
};

use crate::store::WorkerRow;

/// One event per job that dead workers held, process by process. `workers` are all rows that are known.
pub(super) fn events(
    jobs: Vec<JobRow>,
    workers: &[WorkerRow],
    span: Duration,
    now: Timestamp,
) -> Vec<(JobRow, Event)> {
    let mut processes: HashMap<Option<ProcessKey<'_>>, Vec<JobRow>> = HashMap::new();
    for job in jobs {
        let row = workers.iter().find(|row| job.worker.as_deref() == Some(row.name.as_str()));
        processes.entry(row.map(process)).or_default().push(job);
    }
    let mut events = Vec::new();
    for (of, jobs) in processes {
        let rows = workers.iter().filter(|row| Some(process(row)) == of);
        let dead: Vec<_> = rows.map(dead_worker).collect();
        let losses = blame::losses(&dead, &jobs, span, now);
        events.extend(jobs.into_iter().zip(losses.into_iter().map(Event::LeaseLost)));
    }
    // The order of a map differs from run to run.
    events.sort_by_key(|(job, _)| (job.lease_until, job.id));
    events
}

/// What names a process: host, id, and when it started.
pub(super) type ProcessKey<'a> = (&'a str, u32, &'a str, u64);

/// Workers of one process die together.
pub(super) fn process(row: &WorkerRow) -> ProcessKey<'_> {
    let process = &row.details.process;
    (&row.host, row.pid, &process.boot_id, process.started_ticks)
}

fn dead_worker(row: &WorkerRow) -> DeadWorker {
    let slots = usize::try_from(row.slots).unwrap_or(usize::MAX);
    let threads = row.details.threads.clone();
    DeadWorker { name: row.name.clone(), slots, threads, trials: row.trials.clone() }
}
