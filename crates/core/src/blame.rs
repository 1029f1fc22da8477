//! Who is charged when a worker process died.
//!
//! [`losses`] takes every job that ran in the process according to the store, and what the process wrote about its trials
//! before it began them. It answers with one [`Loss`] per job; [`transition::apply`](crate::transition::apply) decides what
//! follows.

use std::{collections::HashSet, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{JobId, JobRow, LeaseId, Loss, Part, Standing, Timestamp, bounds::later};

/// What a worker writes to its own row before it lets a suspect begin. It is durable before the handler runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trials {
    /// The suspect whose trial is under way.
    pub on: Option<Trial>,
    /// Suspects that passed their trial and run on; at most [`PASSED_MAX`](crate::bounds::PASSED_MAX).
    pub passed: Vec<JobId>,
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The suspect.
    pub job: JobId,
    /// Its run.
    pub lease: LeaseId,
    /// Whether nothing else runs in the process, whichever store the other workers serve.
    pub alone: bool,
    /// When it began, by the same clock as [`JobRow::started_at`] of the other jobs of the worker.
    pub since: Timestamp,
}

/// A worker of the dead process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadWorker {
    /// Its name, as in [`JobRow::worker`].
    pub name: String,
    /// How many jobs it could run at once.
    pub slots: usize,
    /// The threads that its blocking handlers share.
    pub threads: Threads,
    /// What it wrote about its trials.
    pub trials: Trials,
}

/// The threads for the blocking handlers of a worker. A job in a slot waits until one of them is free.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Threads {
    /// How many of these handlers run at once; none where the worker did not write it.
    pub count: Option<usize>,
    /// The kinds with such a handler.
    pub kinds: Vec<String>,
}

/// Jobs claimed so long before a trial began may have begun in it: claims are held ready for a moment.
const HELD_READY_MAX: Duration = Duration::from_secs(1);

/// One loss per job, in order. `jobs` are all running jobs of the process, `span` is how long a crash is remembered.
pub fn losses(workers: &[DeadWorker], jobs: &[JobRow], span: Duration, now: Timestamp) -> Vec<Loss> {
    let trial = workers.iter().find_map(|worker| {
        let trial = worker.trials.on.as_ref()?;
        jobs.iter()
            .find(|job| job.id == trial.job && job.lease_id == Some(trial.lease))
            .map(|job| (trial, job))
    });
    let begun = begun(workers, jobs, span, now);
    let died = |part| Loss::Died { part, span };
    let Some((trial, tried)) = trial else {
        // Even one job that is left may have run beside others: they ended, or they are another store's.
        let loss = |job: &JobRow| {
            if begun.contains(&job.id) { died(Part::Beside) } else { Loss::NotBegun { cleared: false } }
        };
        return jobs.iter().map(loss).collect();
    };
    // One death charged both, and the suspect on trial explains it.
    let same_death = |job: &JobRow| {
        let at = |job: &JobRow| job.suspicion.map(|suspicion| suspicion.at);
        job.crashes == 1 && at(job).is_some() && at(job) == at(tried)
    };
    let loss = |job: &JobRow| {
        if job.id == tried.id {
            return died(if trial.alone { Part::Alone } else { Part::OnTrial });
        }
        if trial.alone || !begun.contains(&job.id) {
            return Loss::NotBegun { cleared: same_death(job) };
        }
        died(match (job.standing(span, now), job.suspicion) {
            (Standing::Clear, _) | (_, None) => {
                let began = job.started_at.unwrap_or(now);
                if later(began, HELD_READY_MAX) >= trial.since { Part::Beside } else { Part::Uncharged }
            }
            (Standing::Suspect(_), Some(suspicion)) if suspicion.trial_clears(job.crashes) => Part::Cleared,
            (Standing::Suspect(_) | Standing::Prime(_), Some(_)) => Part::Beside,
        })
    };
    jobs.iter().map(loss).collect()
}

fn of<'a>(jobs: &'a [JobRow], name: &str) -> impl Iterator<Item = &'a JobRow> {
    jobs.iter().filter(move |job| job.worker.as_deref() == Some(name))
}

/// The jobs whose handler may have begun. A worker begins no more jobs than it has slots, in the order in which it claimed
/// them. Jobs of blocking kinds also wait for a thread, in the same order. No suspect begins before the worker's row says so.
fn begun(workers: &[DeadWorker], jobs: &[JobRow], span: Duration, now: Timestamp) -> HashSet<JobId> {
    let mut begun = HashSet::new();
    let ran = |job: &JobRow| {
        let ran = |trials: &Trials| {
            trials.on.as_ref().is_some_and(|on| on.job == job.id) || trials.passed.contains(&job.id)
        };
        workers.iter().any(|worker| ran(&worker.trials))
    };
    for worker in workers {
        let (mut clear, suspects): (Vec<&JobRow>, Vec<&JobRow>) =
            of(jobs, &worker.name).partition(|job| job.standing(span, now) == Standing::Clear);
        let ran: Vec<&JobRow> = suspects.into_iter().filter(|job| ran(job)).collect();
        clear.sort_by_key(|job| (job.started_at, job.priority, job.scheduled_at, job.id));
        let in_slots = clear.into_iter().take(worker.slots.saturating_sub(ran.len()));
        let needs_thread = |job: &JobRow| worker.threads.kinds.contains(&job.kind);
        let taken = ran.iter().filter(|job| needs_thread(job)).count();
        let free = worker.threads.count.unwrap_or(usize::MAX).saturating_sub(taken);
        let (on_threads, others): (Vec<&JobRow>, Vec<&JobRow>) = in_slots.partition(|job| needs_thread(job));
        begun
            .extend(ran.into_iter().chain(others).chain(on_threads.into_iter().take(free)).map(|job| job.id));
    }
    // Of a worker without a row nothing is known.
    let known =
        |job: &JobRow| workers.iter().any(|worker| job.worker.as_deref() == Some(worker.name.as_str()));
    begun.extend(jobs.iter().filter(|job| !known(job)).map(|job| job.id));
    begun
}
