//! What the death of a process means for each job that its workers held. It passes the rows of the workers to
//! [`backroom_core::blame`].

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use backroom_core::{
    Event, JobRow, Timestamp,
    blame::{self, DeadWorker},
};

use crate::store::{RunningJob, WorkerRow};

/// One event per job that dead workers held, process by process. `workers` are all rows that are known. All jobs are judged; those
/// that this program cannot read whole get no event.
pub(super) fn events(
    held: Vec<RunningJob>,
    workers: &[WorkerRow],
    span: Duration,
    now: Timestamp,
) -> Vec<(JobRow, Event)> {
    let mut processes: HashMap<Option<ProcessKey<'_>>, Vec<JobRow>> = HashMap::new();
    let mut left_alone = HashSet::new();
    for RunningJob { job, is_whole } in held {
        if !is_whole {
            left_alone.insert(job.id);
        }
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
    events.retain(|(job, _)| !left_alone.contains(&job.id));
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

#[cfg(test)]
mod tests {
    use backroom_core::{
        Draft, Json, LeaseId, Part, State,
        blame::{Trial, Trials},
    };
    use uuid::Uuid;

    use super::*;

    fn running(number: u128) -> RunningJob {
        let id = backroom_core::JobId(Uuid::from_u128(number));
        let new = Draft::new("work", Json::null()).check(id, Timestamp::UNIX_EPOCH, 99).expect("allowed");
        let lease_id = Some(LeaseId(Uuid::from_u128(99)));
        let worker = Some("w".to_owned());
        RunningJob::whole(JobRow { state: State::Running, lease_id, worker, ..new.job })
    }

    #[test]
    fn a_job_that_only_a_newer_program_can_read_explains_a_death_and_gets_no_event() {
        let newer = RunningJob { is_whole: false, ..running(1) };
        let on = Trial {
            job: newer.job.id,
            lease: LeaseId(Uuid::from_u128(99)),
            alone: true,
            since: Timestamp::UNIX_EPOCH,
        };
        let trials = Trials { on: Some(on), passed: Vec::new() };
        let row = WorkerRow { name: "w".into(), slots: 9, trials, ..WorkerRow::default() };
        let now = Timestamp::UNIX_EPOCH;
        let events = events(vec![newer, running(2)], &[row], Duration::from_secs(9), now);
        let [(job, Event::LeaseLost(loss))] = &*events else { panic!("{events:?}") };
        assert_eq!(job.id.0.as_u128(), 2);
        assert!(!matches!(loss, backroom_core::Loss::Died { part: Part::Beside, .. }), "{loss:?}");
    }
}
