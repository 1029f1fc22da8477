//! What workers do with jobs that run.

use std::collections::BTreeSet;

use backroom_core::{
    JobId, JobRow, LeaseId, State, Timestamp,
    bounds::{JOB_LOG_LINES_MAX, earlier},
    message,
    stats::{RETENTION, StatsRow},
    transition,
};

use super::rows::{Ring, Rows, turn};
use crate::store::{
    Beaten, Call, Claim, DEAD_REMEMBERED, Holder, LeaseStatus, Note, RunningJob, Share, WorkerRow,
    dead_without_a_row,
};

impl Rows {
    pub(super) fn claim(&mut self, claim: &Claim, now: Timestamp, call: Call) -> Vec<JobRow> {
        if call == Call::Repeated {
            let taken = self.taken_before(claim);
            if !taken.is_empty() {
                return taken;
            }
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        for share in &claim.shares {
            let room = share.at_most.min(claim.limit - taken.len());
            for id in self.first_due(share, claim, room, now) {
                if bytes >= claim.bytes_max && !taken.is_empty() {
                    return taken;
                }
                if let Some(job) = self.claim_one(id, claim, now) {
                    bytes += job.bytes();
                    taken.push(job);
                }
            }
        }
        taken
    }

    /// What the lost call of a repeated claim took. If it took anything, that is the whole answer: the shares
    /// were filled then, and taking more now would overfill them.
    fn taken_before(&self, claim: &Claim) -> Vec<JobRow> {
        let under = |job: &&JobRow| job.state == State::Running && job.lease_id == Some(claim.lease);
        let mut taken: Vec<JobRow> = self.jobs.values().filter(under).cloned().collect();
        taken.sort_by_key(turn);
        taken
    }

    fn first_due(&self, share: &Share, claim: &Claim, room: usize, now: Timestamp) -> Vec<JobId> {
        let paused = self.queues.get(&share.queue).is_some_and(|queue| queue.paused_at.is_some());
        let due = |job: &&JobRow| {
            job.state == State::Queued
                && job.queue == share.queue
                && claim.kinds.includes(&job.kind)
                && job.is_due(claim.due, now)
                && job.expires_at.is_none_or(|at| at > now)
        };
        let mut turns: Vec<_> = self.jobs.values().filter(|_| !paused).filter(due).map(turn).collect();
        turns.sort_unstable();
        turns.into_iter().take(room).map(|(_, _, id)| id).collect()
    }

    fn claim_one(&mut self, id: JobId, claim: &Claim, now: Timestamp) -> Option<JobRow> {
        let job = self.jobs.get_mut(&id)?;
        let event = claim.event();
        let change = transition::apply(job, event, now).ok().flatten()?;
        change.write_to(job);
        let job = job.clone();
        self.ring(Ring::Job(id));
        change.effects.iter().for_each(|effect| self.carry_out(id, effect));
        Some(job)
    }

    pub(super) fn held(&self, id: JobId, lease: LeaseId) -> LeaseStatus {
        match self.job(id) {
            Some(job) if job.state == State::Running && job.lease_id == Some(lease) => {
                if job.cancel_requested_at.is_some() {
                    LeaseStatus::CancelRequested
                } else {
                    LeaseStatus::Held
                }
            }
            Some(_) | None => LeaseStatus::Lost,
        }
    }

    pub(super) fn note(&mut self, note: &Note, now: Timestamp) {
        let Some(job) = self.running(note.job, note.lease) else { return };
        if let Some(progress) = &note.progress {
            job.progress = Some(progress.clone());
            let effects = message::of_progress(job, progress, now);
            effects.iter().for_each(|effect| self.carry_out(note.job, effect));
        }
        let lines = self.lines.entry(note.job).or_default();
        let mut written: BTreeSet<_> = lines.iter().map(|line| (line.lease_id, line.seq)).collect();
        for line in &note.lines {
            let has_room = lines.len() < JOB_LOG_LINES_MAX as usize;
            if has_room && written.insert((line.lease_id, line.seq)) {
                lines.push(line.clone());
            }
        }
        self.ring(Ring::Job(note.job));
    }

    pub(super) fn beat(&mut self, worker: &WorkerRow) -> Beaten {
        let is_its_own = |row: &WorkerRow| !row.dead && row.incarnation == worker.incarnation;
        if !self.workers.get(&worker.name).is_none_or(is_its_own) {
            return Beaten::Dead;
        }
        self.workers.insert(worker.name.clone(), worker.clone());
        Beaten::Alive
    }

    pub(super) fn put_stats(&mut self, row: &StatsRow, now: Timestamp) {
        self.stats.insert((row.minute, row.worker.clone()), row.clone());
        let first = earlier(now, RETENTION);
        self.stats.retain(|(minute, _), _| *minute >= first);
    }

    pub(super) fn stats(&self, since: Timestamp, limit: usize) -> Vec<StatsRow> {
        let mut rows: Vec<_> = self.stats.values().filter(|row| row.minute >= since).cloned().collect();
        // Stable: workers of one minute stay in their order.
        rows.sort_by_key(|row| std::cmp::Reverse(row.minute));
        rows.truncate(limit);
        rows
    }

    pub(super) fn leave(&mut self, worker: &str) {
        self.workers.remove(worker);
    }

    pub(super) fn workers(&self, since: Timestamp) -> Vec<WorkerRow> {
        self.workers.values().filter(|worker| worker.beat_at >= since).cloned().collect()
    }

    pub(super) fn holders(&self) -> Vec<Holder> {
        let running = self.jobs.values().filter(|job| job.state == State::Running);
        let holding: BTreeSet<&String> = running.filter_map(|job| job.worker.as_ref()).collect();
        let names: BTreeSet<&String> = self.workers.keys().chain(holding.iter().copied()).collect();
        let holder = |name: &String| Holder {
            name: name.clone(),
            row: self.workers.get(name).cloned(),
            holds: holding.contains(name),
        };
        names.into_iter().map(holder).collect()
    }

    pub(super) fn declare_dead(&mut self, worker: &str, beats: Option<u64>, now: Timestamp) -> bool {
        let remembered_from = earlier(now, DEAD_REMEMBERED);
        self.workers.retain(|name, row| !row.dead || name == worker || row.beat_at >= remembered_from);
        match (self.workers.get_mut(worker), beats) {
            (Some(row), beats) => {
                row.dead |= beats == Some(row.beats);
                row.dead
            }
            (None, None) => {
                self.workers.insert(worker.to_owned(), dead_without_a_row(worker, now));
                true
            }
            // It left, or was forgotten. Whatever it holds is observed under a name without a row.
            (None, Some(_)) => false,
        }
    }

    pub(super) fn running_of(&self, worker: &str, after: Option<JobId>, limit: usize) -> Vec<RunningJob> {
        let is_wanted = |job: &&JobRow| {
            job.state == State::Running
                && job.worker.as_deref() == Some(worker)
                && after.is_none_or(|after| job.id > after)
        };
        self.jobs.values().filter(is_wanted).take(limit).cloned().map(RunningJob::whole).collect()
    }
}
