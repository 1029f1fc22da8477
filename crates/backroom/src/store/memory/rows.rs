//! The rows of the memory store, and how jobs come into them.

use std::collections::{BTreeMap, BTreeSet};

use backroom_core::{
    Attempt, Change, Effect, JobId, JobRow, LeaseId, LogLine, Queue, State, Timestamp,
    draft::NewJob,
    sample::{Grain, Sample},
    stats::StatsRow,
    unique::{Resolution, replace_content, resolve_conflict},
};

use super::access::Access;
use super::journals::Stored;
use super::links::Linked;
use super::replies::Replies;
use super::schedules::Schedules;
use super::triggers::Triggers;
use crate::{
    Error, ErrorKind,
    store::{
        Committed, EndedEndpoint, Inserted, QueueSetting, Record, WorkerRow, apply_setting, verbs::places,
    },
};

/// All rows, each map by its primary key.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) jobs: BTreeMap<JobId, JobRow>,
    /// The oldest first, each with how many lines the log had.
    pub(super) attempts: BTreeMap<JobId, Vec<(u32, Attempt)>>,
    /// In the order they were written.
    pub(super) lines: BTreeMap<JobId, Vec<LogLine>>,
    pub(super) queues: BTreeMap<String, Queue>,
    pub(super) workers: BTreeMap<String, WorkerRow>,
    pub(super) stats: BTreeMap<(Timestamp, String), StatsRow>,
    /// Jobs that were live when they were imported.
    pub(super) imported: BTreeSet<JobId>,
    pub(super) replies: Replies,
    pub(super) access: Access,
    pub(super) ended_endpoints: BTreeMap<String, EndedEndpoint>,
    pub(super) triggers: Triggers,
    pub(super) schedules: Schedules,
    pub(super) journals: BTreeMap<JobId, Stored>,
    pub(super) samples: BTreeMap<(Grain, Timestamp), Sample>,
    pub(super) linked: Linked,
    rings: Vec<Ring>,
}

/// A hint that is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ring {
    Queue(String),
    Job(JobId),
    Cancels,
    Replies(String),
    Schedules,
    Edges,
}

/// Where a job stands in its queue: by priority, then the time it is due, then its id.
pub(super) fn turn(job: &JobRow) -> (u8, Timestamp, JobId) {
    (job.priority, job.scheduled_at, job.id)
}

impl Rows {
    /// The hints owed for what was done since they were last taken.
    pub(super) fn take_rings(&mut self) -> Vec<Ring> {
        std::mem::take(&mut self.rings)
    }

    pub(super) fn ring(&mut self, ring: Ring) {
        self.rings.push(ring);
    }

    /// Stores the jobs of one call, all of them or none.
    pub(super) fn insert_all(&mut self, jobs: &[NewJob], now: Timestamp) -> Result<Vec<Inserted>, Error> {
        let limited: BTreeMap<&str, u64> = jobs
            .iter()
            .filter_map(|new| Some((new.job.queue.as_str(), self.queues.get(&new.job.queue)?.depth_max?)))
            .collect();
        if limited.is_empty() {
            return Ok(jobs.iter().map(|new| self.insert(new, now)).collect());
        }
        let before: BTreeMap<&str, u64> = limited.keys().map(|queue| (*queue, self.depth(queue))).collect();
        let was = (self.jobs.clone(), self.queues.clone(), self.rings.clone());
        let answers = jobs.iter().map(|new| self.insert(new, now)).collect();
        for (queue, depth_max) in limited {
            let (depth, before) = (self.depth(queue), before[queue]);
            if Queue::is_over(depth_max, depth, depth - before) {
                (self.jobs, self.queues, self.rings) = was;
                return Err(Error::queue_full(queue, before, depth_max));
            }
        }
        Ok(answers)
    }

    /// How many jobs wait in a queue for their turn.
    fn depth(&self, queue: &str) -> u64 {
        let waits = |job: &&JobRow| job.state == State::Queued && job.queue == queue;
        self.jobs.values().filter(waits).count() as u64
    }

    fn insert(&mut self, new: &NewJob, now: Timestamp) -> Inserted {
        if self.jobs.contains_key(&new.job.id) {
            return Inserted::Created;
        }
        let holder = new.job.unique_key.as_deref().and_then(|key| self.holder(key));
        if let Some(holder) = holder {
            match resolve_conflict(&(&self.jobs[&holder]).into(), new.on_conflict, now) {
                Resolution::Release => self.release(holder),
                Resolution::Keep => return Inserted::Duplicate(holder),
                Resolution::Reject => return Inserted::KeyHeld(holder),
                Resolution::Replace => {
                    self.replace(holder, &new.job);
                    return Inserted::Replaced(holder);
                }
            }
        }
        self.add(new.job.clone());
        Inserted::Created
    }

    /// Writes one decision under its guard.
    pub(super) fn commit(&mut self, change: &Change) -> Committed {
        let Some(job) = self.jobs.get(&change.id) else { return Committed::Stale };
        if change.is_written_to(job) {
            return Committed::Done;
        }
        let speaks_for_the_run =
            change.lease.is_none_or(|lease| job.state == State::Running && job.lease_id == Some(lease));
        if job.revision != change.revision_before || !speaks_for_the_run {
            return Committed::Stale;
        }
        let mut after = job.clone();
        change.write_to(&mut after);
        let other =
            after.unique_key.as_deref().filter(|_| after.unique_held).and_then(|key| self.holder(key));
        if let Some(other) = other.filter(|other| *other != change.id) {
            return Committed::KeyHeld(other);
        }
        self.queue(&after.queue);
        self.jobs.insert(change.id, after);
        self.ring(Ring::Job(change.id));
        change.effects.iter().for_each(|effect| self.carry_out(change.id, effect));
        Committed::Done
    }

    pub(super) fn carry_out(&mut self, id: JobId, effect: &Effect) {
        match effect {
            Effect::RecordAttempt(attempt) => {
                let lines =
                    self.lines.get(&id).map_or(0, |lines| u32::try_from(lines.len()).unwrap_or(u32::MAX));
                self.attempts.entry(id).or_default().push((lines, attempt.clone()));
            }
            Effect::Message(message) => _ = self.add_message(message),
            Effect::Enqueue(new) if self.jobs.contains_key(&new.job.id) => {}
            Effect::Enqueue(new) => self.add(new.job.clone()),
            Effect::ReportRun(report) => self.report_run(report),
            // For all changes of a call together.
            Effect::Link { .. } => {}
            Effect::NotifyQueue { queue, .. } => self.ring(Ring::Queue(queue.clone())),
            Effect::NotifyCancel => self.ring(Ring::Cancels),
        }
    }

    fn has_had(&self, id: JobId) -> bool {
        self.jobs.contains_key(&id) || self.imported.contains(&id)
    }

    pub(super) fn import(&mut self, records: &[Record]) -> Result<u64, Error> {
        // Checked whole before anything is written: all records or none.
        let mut keys = BTreeMap::new();
        for record in records.iter().filter(|record| !self.has_had(record.job.id)) {
            let Some(key) = record.job.unique_key.as_deref().filter(|_| record.job.unique_held) else {
                continue;
            };
            let other = self.holder(key).or_else(|| keys.insert(key, record.job.id));
            if let Some(holder) = other.filter(|other| *other != record.job.id) {
                let why = format!("import job {}: its unique key is held by job {holder}", record.job.id);
                return Err(Error::new(ErrorKind::KeyHeld { holder }, why));
            }
        }
        let mut created = 0;
        for record in records {
            let id = record.job.id;
            if self.has_had(id) {
                continue;
            }
            if !record.job.state.is_finished() {
                self.imported.insert(id);
            }
            self.add(record.job.clone());
            self.attempts
                .insert(id, places(record).into_iter().zip(record.attempts.iter().cloned()).collect());
            self.lines.insert(id, record.lines.clone());
            self.import_edges(record);
            if let Some(journal) = &record.journal {
                self.import_journal(id, journal);
            }
            created += 1;
        }
        Ok(created)
    }

    pub(super) fn set_queue(&mut self, name: &str, setting: &QueueSetting) {
        apply_setting(self.queue(name), setting);
        self.ring(Ring::Queue(name.to_owned()));
    }

    /// The job that holds this unique key now: at most one does.
    fn holder(&self, key: &str) -> Option<JobId> {
        let holds = |job: &&JobRow| job.unique_held && job.unique_key.as_deref() == Some(key);
        self.jobs.values().find(holds).map(|job| job.id)
    }

    /// Takes the key, whose window has passed, from its holder. A decision made before this must not give it back,
    /// so it counts as a change of the row.
    fn release(&mut self, holder: JobId) {
        if let Some(job) = self.jobs.get_mut(&holder) {
            job.unique_held = false;
            job.revision += 1;
        }
    }

    fn replace(&mut self, holder: JobId, new: &JobRow) {
        if let Some(job) = self.jobs.get_mut(&holder) {
            replace_content(job, new);
            let job = job.clone();
            self.ring_stored(&job);
        }
    }

    pub(super) fn add(&mut self, job: JobRow) {
        self.queue(&job.queue);
        self.ring_stored(&job);
        self.jobs.insert(job.id, job);
    }

    /// Notifies of a job that is stored or replaced. One that is due later only counts as well: a worker that sleeps until the
    /// next due time must wake earlier.
    fn ring_stored(&mut self, job: &JobRow) {
        self.ring(Ring::Job(job.id));
        if job.state == State::Queued {
            self.ring(Ring::Queue(job.queue.clone()));
        }
    }

    fn queue(&mut self, name: &str) -> &mut Queue {
        self.queues.entry(name.to_owned()).or_insert_with(|| Queue::new(name))
    }

    /// The job if it runs under this lease.
    pub(super) fn running(&mut self, id: JobId, lease: LeaseId) -> Option<&mut JobRow> {
        let under = |job: &&mut JobRow| job.state == State::Running && job.lease_id == Some(lease);
        self.jobs.get_mut(&id).filter(under)
    }
}
