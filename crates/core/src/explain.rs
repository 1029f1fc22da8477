//! Why a job is where it is: reasons for every live state, so that no job is ever simply "stuck".

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    JobId, JobRow, Kinds, Standing, State, Timestamp,
    bounds::{CRASH_SPAN, span_until},
    dependency::WaitsFor,
    sealed,
};

/// What the answer depends on besides the job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Since when the job's queue is paused.
    pub paused_at: Option<Timestamp>,
    /// Every worker whose heartbeat moved within its lease.
    pub workers: Vec<WorkerFacts>,
    /// Due jobs of the same queue that are served before this one, as far as they were counted.
    pub ahead: u64,
    /// The worker that runs the job is dead, or its heartbeat has stopped.
    pub holder_is_gone: bool,
    /// Jobs that run now, as far as they were read. Jobs that a worker holds ready are among them.
    pub running: Vec<RunFacts>,
    /// The predecessors that the job waits for, if it does.
    pub waits_for: Option<WaitsFor>,
}

/// One running job, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFacts {
    /// The job.
    pub job: JobId,
    /// Its kind.
    pub kind: String,
    /// Its queue.
    pub queue: String,
    /// Which worker runs it.
    pub worker: String,
    /// Since when.
    pub since: Timestamp,
}

/// One living worker, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerFacts {
    /// Its name.
    pub name: String,
    /// Queues it serves, each with the slots that may serve it.
    pub queues: Vec<(String, u32)>,
    /// Kinds that it takes.
    pub kinds: Kinds,
    /// All its slots, whichever queue they serve.
    pub slots: u32,
    /// Jobs it runs now, of whichever queue.
    pub running: u32,
    /// It finishes what it runs and takes no more.
    pub stopping: bool,
    /// Kinds that it does not claim for a while, because their endpoints failed again and again: since when, and why.
    pub breakers: Vec<(String, Timestamp, String)>,
    /// The ids of the keys with which it opens sealed values.
    pub keys: Vec<String>,
}

/// One reason, as data for programs; `Display` says it for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// It is finished.
    Finished {
        /// How.
        state: State,
        /// When.
        at: Option<Timestamp>,
        /// Why, when it was cancelled or discarded.
        why: Option<String>,
    },
    /// A worker runs it.
    Running {
        /// Who.
        worker: String,
        /// Since when.
        since: Option<Timestamp>,
    },
    /// Its worker is dead, or its heartbeat has stopped; the job is rescued within about a lease.
    WorkerGone {
        /// Which.
        worker: String,
    },
    /// A client asked for it to stop, and its handler was notified.
    CancelRequested {
        /// When.
        at: Timestamp,
    },
    /// It is parked until a timer, signal, child or dependency wakes it.
    Parked,
    /// Jobs that it was enqueued after have not completed.
    WaitsFor(WaitsFor),
    /// It is not due yet.
    NotDue {
        /// When it will be.
        at: Timestamp,
        /// In how many seconds.
        in_secs: u64,
    },
    /// It failed before and waits for the end of its back-off.
    BacksOff {
        /// Attempts charged.
        attempt: u32,
        /// Attempts allowed.
        max_attempts: u32,
    },
    /// Worker processes died while they ran it.
    Suspected {
        /// How many.
        crashes: u32,
        /// Of these so many while the process ran nothing else.
        alone: u32,
        /// Whether it runs next only while nothing else runs in its process.
        runs_alone: bool,
        /// From when on, if it is not due yet.
        from: Option<Timestamp>,
    },
    /// It expires unless a worker begins it.
    Expires {
        /// When.
        at: Timestamp,
    },
    /// It was not begun in time; the next upkeep cancels it.
    Expired {
        /// When.
        at: Timestamp,
    },
    /// Its queue is paused.
    QueuePaused {
        /// Which.
        queue: String,
        /// Since when.
        since: Timestamp,
    },
    /// No worker is alive.
    NoWorker,
    /// Workers are alive, none serves its queue.
    NoWorkerForQueue {
        /// Which.
        queue: String,
    },
    /// Workers serve its queue, none has a handler for its kind.
    NoWorkerForKind {
        /// Which.
        kind: String,
    },
    /// Its args are sealed, and no worker that handles its kind has the key.
    KeyMissing {
        /// The id of the key.
        key: String,
        /// How many workers handle its kind and serve its queue; none of them has it.
        workers: u64,
    },
    /// Workers could run it, every one of them is stopping.
    WorkersStopping {
        /// How many.
        workers: u64,
    },
    /// The circuit breaker of its kind is open at every worker that could run it: its endpoint failed again and again.
    BreakerOpen {
        /// Its kind.
        kind: String,
        /// At how many workers.
        workers: u64,
        /// Since when, at the first of them.
        since: Timestamp,
        /// What the endpoint failed with.
        why: String,
    },
    /// All slots that could run it are taken: those of its queue, or all slots of the workers that serve it.
    SlotsTaken {
        /// These slots.
        slots: u64,
        /// Of them taken.
        running: u64,
        /// The jobs that hold them for longest, at most [`HOLDERS_MAX`].
        holders: Vec<Holder>,
    },
    /// Other due jobs are served first.
    Behind {
        /// How many.
        ahead: u64,
    },
    /// The next free slot takes it.
    Ready,
}

/// A job that holds a slot which another job waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The job.
    pub job: JobId,
    /// Its kind.
    pub kind: String,
    /// Which worker runs it.
    pub worker: String,
    /// Since when.
    pub since: Timestamp,
    /// For how many seconds.
    pub secs: u64,
}

/// Most jobs that are named as holders of slots.
pub const HOLDERS_MAX: usize = 3;

/// Every reason that bears on the job, the most decisive first. Never empty.
pub fn explain(job: &JobRow, facts: &Facts, now: Timestamp) -> Vec<Reason> {
    match job.state {
        State::Queued => explain_queued(job, facts, now),
        State::Running => explain_running(job, facts),
        State::Waiting => {
            vec![facts.waits_for.clone().map_or(Reason::Parked, Reason::WaitsFor)]
        }
        State::Completed | State::Cancelled | State::Discarded => {
            vec![Reason::Finished { state: job.state, at: job.finished_at, why: job.reason.clone() }]
        }
    }
}

fn explain_running(job: &JobRow, facts: &Facts) -> Vec<Reason> {
    let worker = job.worker.clone().unwrap_or_default();
    let mut reasons = vec![if facts.holder_is_gone {
        Reason::WorkerGone { worker }
    } else {
        Reason::Running { worker, since: job.started_at }
    }];
    reasons.extend(job.cancel_requested_at.map(|at| Reason::CancelRequested { at }));
    reasons
}

fn explain_queued(job: &JobRow, facts: &Facts, now: Timestamp) -> Vec<Reason> {
    if let Some(at) = job.expires_at.filter(|at| *at <= now) {
        return vec![Reason::Expired { at }];
    }
    let mut reasons = Vec::new();
    let locked = key_missing(job, facts);
    let is_locked = matches!(locked, Some(Reason::KeyMissing { workers: 1.., .. }));
    reasons.extend(locked.clone().filter(|_| is_locked));
    if job.scheduled_at > now {
        let in_secs = span_until(now, job.scheduled_at).as_secs();
        reasons.push(Reason::NotDue { at: job.scheduled_at, in_secs });
        if job.attempt > 0 {
            reasons.push(Reason::BacksOff { attempt: job.attempt, max_attempts: job.max_attempts });
        }
    }
    reasons.extend(facts.paused_at.map(|since| Reason::QueuePaused { queue: job.queue.clone(), since }));
    reasons.extend(explain_workers(job, facts, now));
    if is_locked {
        // Neither slots nor other jobs matter to a job that no worker can open.
        reasons.retain(|reason| !matches!(reason, Reason::SlotsTaken { .. }));
        return reasons;
    }
    // No worker could run it yet. One that could needs the key, too.
    reasons.extend(locked);
    // Who is ahead matters only once the job stands in line.
    if facts.ahead > 0 && job.scheduled_at <= now {
        reasons.push(Reason::Behind { ahead: facts.ahead });
    }
    if reasons.is_empty() {
        reasons.push(Reason::Ready);
    }
    // Both are worth knowing, but neither delays it.
    reasons.extend(suspected(job, now));
    reasons.extend(job.expires_at.map(|at| Reason::Expires { at }));
    reasons
}

fn suspected(job: &JobRow, now: Timestamp) -> Option<Reason> {
    let runs_alone = match job.standing(CRASH_SPAN, now) {
        Standing::Clear => return None,
        Standing::Suspect(_) => false,
        Standing::Prime(_) => true,
    };
    let alone = job.suspicion.map_or(0, |suspicion| suspicion.alone);
    let from = (job.scheduled_at > now).then_some(job.scheduled_at);
    Some(Reason::Suspected { crashes: job.crashes, alone, runs_alone, from })
}

/// The key that every worker lacks which could run the job otherwise.
fn key_missing(job: &JobRow, facts: &Facts) -> Option<Reason> {
    let key = sealed::key_id(job.args.as_str())?;
    let serves = |w: &&WorkerFacts| w.queues.iter().any(|(name, _)| *name == job.queue);
    let able: Vec<_> = facts.workers.iter().filter(serves).filter(|w| w.kinds.includes(&job.kind)).collect();
    if able.iter().any(|worker| worker.keys.contains(&key)) {
        return None;
    }
    Some(Reason::KeyMissing { key, workers: able.len() as u64 })
}

fn explain_workers(job: &JobRow, facts: &Facts, now: Timestamp) -> Option<Reason> {
    let serves = |w: &&WorkerFacts| w.queues.iter().any(|(name, _)| *name == job.queue);
    let serving: Vec<_> = facts.workers.iter().filter(serves).collect();
    let able: Vec<_> = serving.iter().filter(|w| w.kinds.includes(&job.kind)).collect();
    let taking: Vec<_> = able.iter().filter(|w| !w.stopping).collect();
    if facts.workers.is_empty() {
        Some(Reason::NoWorker)
    } else if serving.is_empty() {
        Some(Reason::NoWorkerForQueue { queue: job.queue.clone() })
    } else if able.is_empty() {
        Some(Reason::NoWorkerForKind { kind: job.kind.clone() })
    } else if taking.is_empty() {
        Some(Reason::WorkersStopping { workers: able.len() as u64 })
    } else {
        breaker_open(&taking, &job.kind).or_else(|| slots_taken(&taking, &job.queue, facts, now))
    }
}

/// None if any worker that could run the job claims its kind now.
fn breaker_open(taking: &[&&&WorkerFacts], kind: &str) -> Option<Reason> {
    let of_kind = |worker: &&&&WorkerFacts| worker.breakers.iter().find(|(of, ..)| of == kind).cloned();
    let open: Vec<_> = taking.iter().map(of_kind).collect::<Option<_>>()?;
    let (kind, since, why) = open.into_iter().min_by_key(|(_, since, _)| *since)?;
    Some(Reason::BreakerOpen { kind, workers: taking.len() as u64, since, why })
}

/// None if any worker that could run the job has a free slot for its queue.
fn slots_taken(taking: &[&&&WorkerFacts], queue: &str, facts: &Facts, now: Timestamp) -> Option<Reason> {
    let (mut slots, mut running, mut holding) = (0, 0, Vec::new());
    for worker in taking {
        let of_worker = facts.running.iter().filter(|run| run.worker == worker.name);
        let of_queue: Vec<_> = of_worker.clone().filter(|run| run.queue == queue).collect();
        let queue_slots = worker.queues.iter().find(|(name, _)| name == queue).map_or(0, |(_, slots)| *slots);
        if queue_slots > 0 && of_queue.len() >= queue_slots as usize {
            // A worker holds more jobs than it runs: some are ready for the next slot that is free.
            slots += u64::from(queue_slots);
            running += u64::from(queue_slots);
            holding.extend(of_queue);
        } else if worker.running >= worker.slots {
            slots += u64::from(worker.slots);
            running += u64::from(worker.running);
            holding.extend(of_worker);
        } else {
            return None;
        }
    }
    holding.sort_by_key(|run| (run.since, run.job));
    holding.truncate(HOLDERS_MAX);
    let holder = |run: &RunFacts| Holder {
        job: run.job,
        kind: run.kind.clone(),
        worker: run.worker.clone(),
        since: run.since,
        secs: span_until(run.since, now).as_secs(),
    };
    Some(Reason::SlotsTaken { slots, running, holders: holding.into_iter().map(holder).collect() })
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished { state, why, .. } => match why {
                Some(why) => write!(f, "{state}: {}", sealed::shown(why)),
                None => write!(f, "{state}"),
            },
            Self::Running { worker, .. } => write!(f, "running on worker {worker}"),
            Self::WorkerGone { worker } => {
                write!(f, "worker {worker} died, or its heartbeat has stopped; another worker takes the job")
            }
            Self::CancelRequested { .. } => write!(f, "a stop was requested; its handler was notified"),
            Self::Parked => write!(f, "parked until a timer, signal, child or dependency wakes it"),
            Self::WaitsFor(waits) => write!(f, "{waits}"),
            Self::NotDue { in_secs, .. } => write!(f, "due in {}", spoken(*in_secs)),
            Self::BacksOff { attempt, max_attempts } => {
                write!(f, "attempt {attempt} of {max_attempts} failed; backing off")
            }
            Self::Suspected { crashes, alone, runs_alone, from } => {
                let crashes = if *crashes == 1 { "1 crash".to_owned() } else { format!("{crashes} crashes") };
                write!(f, "suspected of killing its worker ({crashes}, {alone} alone); ")?;
                match runs_alone {
                    true => write!(f, "runs alone in its process next")?,
                    false => write!(f, "begins next while no other suspect is on trial")?,
                }
                from.map_or(Ok(()), |from| write!(f, ", from {from}"))
            }
            Self::Expires { at } => write!(f, "expires at {at} if it has not begun by then"),
            Self::Expired { at } => write!(f, "expired at {at} before it began; it will be cancelled"),
            Self::QueuePaused { queue, .. } => write!(f, "queue {queue} is paused"),
            Self::NoWorker => write!(f, "no worker is alive"),
            Self::NoWorkerForQueue { queue } => write!(f, "no worker serves queue {queue}"),
            Self::NoWorkerForKind { kind } => write!(f, "no worker handles kind {kind}"),
            Self::BreakerOpen { kind, workers, since, why } => {
                let at =
                    if *workers == 1 { "its worker".to_owned() } else { format!("its {workers} workers") };
                write!(
                    f,
                    "the endpoint of kind {kind} failed again and again since {since} ({why}), so {at} tries it now and then only"
                )
            }
            Self::KeyMissing { key, workers: 0 } => {
                write!(f, "it is sealed with key {key}, which the worker that runs it must have")
            }
            Self::KeyMissing { key, workers: 1 } => {
                write!(
                    f,
                    "it is sealed with key {key}, and the one worker that could run it does not have this key"
                )
            }
            Self::KeyMissing { key, workers } => {
                write!(
                    f,
                    "it is sealed with key {key}, and none of the {workers} workers that could run it has this key"
                )
            }
            Self::WorkersStopping { workers: 1 } => write!(f, "the one worker that could run it is stopping"),
            Self::WorkersStopping { workers } => {
                write!(f, "all {workers} workers that could run it are stopping")
            }
            Self::SlotsTaken { slots, running, holders } => {
                write!(f, "all slots that could run it are taken ({running} running on {slots} slots)")?;
                for (index, Holder { job, kind, worker, secs, .. }) in holders.iter().enumerate() {
                    let lead = if index == 0 { "; for longest by" } else { ", then" };
                    write!(f, "{lead} job {job} ({kind}) on worker {worker} for {}", spoken(*secs))?;
                }
                Ok(())
            }
            Self::Behind { ahead: 1 } => write!(f, "behind one due job of its queue"),
            Self::Behind { ahead } => write!(f, "behind {ahead} due jobs of its queue"),
            Self::Ready => write!(f, "ready; the next free worker claims it"),
        }
    }
}

/// A span as people say it: `45 s`, `4 min`, `3 h`, `2 d`.
fn spoken(secs: u64) -> String {
    let span = Duration::from_secs(secs).as_secs();
    match span {
        0..120 => format!("{span} s"),
        120..7200 => format!("{} min", span / 60),
        7200..172_800 => format!("{} h", span / 3600),
        _ => format!("{} d", span / 86_400),
    }
}
