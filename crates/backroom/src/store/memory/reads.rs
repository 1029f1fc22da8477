//! What is asked of the memory store.

use std::collections::BTreeMap;

use backroom_core::{Attempt, JobId, JobRow, Kinds, LogLine, Queue, State, Timestamp};

use super::rows::{Rows, turn};
use crate::store::{Count, Filter, Load, Recorded, Seen, verbs::in_order};

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn job(&self, id: JobId) -> Option<&JobRow> {
        self.jobs.get(&id)
    }

    pub(super) fn attempts(&self, id: JobId) -> Vec<Attempt> {
        self.attempts.get(&id).into_iter().flatten().map(|(_, attempt)| attempt.clone()).collect()
    }

    pub(super) fn logs(&self, id: JobId, skip: usize, limit: usize) -> Vec<LogLine> {
        self.lines.get(&id).into_iter().flatten().skip(skip).take(limit).cloned().collect()
    }

    pub(super) fn history(&self, id: JobId, seen: Seen, limit: usize) -> Vec<Recorded> {
        let lines = self.logs(id, seen.lines as usize, limit);
        let attempts = self.attempts.get(&id).into_iter().flatten().skip(seen.attempts as usize).cloned();
        in_order(seen, lines, attempts.collect(), limit)
    }

    pub(super) fn expired_jobs(&self, limit: usize, now: Timestamp) -> Vec<JobRow> {
        let ran_out =
            |job: &&JobRow| job.state == State::Queued && job.expires_at.is_some_and(|at| at <= now);
        self.earliest(ran_out, |job| job.expires_at, limit)
    }

    fn earliest(
        &self,
        wanted: impl Fn(&&JobRow) -> bool,
        at: impl Fn(&JobRow) -> Option<Timestamp>,
        limit: usize,
    ) -> Vec<JobRow> {
        let mut jobs: Vec<&JobRow> = self.jobs.values().filter(wanted).collect();
        jobs.sort_by_key(|job| (at(job), job.id));
        jobs.into_iter().take(limit).cloned().collect()
    }

    pub(super) fn list(
        &self,
        filter: &Filter,
        before: Option<JobId>,
        limit: usize,
        bytes_max: usize,
    ) -> Vec<JobRow> {
        let has_error = |job: &JobRow, text: &str| {
            let of_attempt = |(_, attempt): &(u32, Attempt)| attempt.error.contains(text);
            job.reason.as_ref().is_some_and(|reason| reason.contains(text))
                || self.attempts.get(&job.id).into_iter().flatten().any(of_attempt)
        };
        let wanted = |job: &&JobRow| {
            before.is_none_or(|before| job.id < before)
                && filter.matches_but_for_errors(job)
                && filter.error.as_ref().is_none_or(|text| has_error(job, text))
        };
        let mut bytes = 0;
        let fits = |job: &&JobRow| {
            let has_room = bytes == 0 || bytes < bytes_max;
            bytes += job.bytes();
            has_room
        };
        self.jobs.values().rev().filter(wanted).take(limit).take_while(fits).cloned().collect()
    }

    pub(super) fn counts(&self, now: Timestamp) -> Vec<Count> {
        let mut counts = BTreeMap::new();
        for job in self.jobs.values() {
            *counts.entry((job.queue.clone(), job.shown(now))).or_insert(0) += 1;
        }
        counts.into_iter().map(|((queue, state), jobs)| Count { queue, state, jobs }).collect()
    }

    pub(super) fn load(&self, queue: &str, limit: u64, now: Timestamp) -> Load {
        let of_the_queue = || self.jobs.values().filter(|job| job.queue == queue);
        let is_due = |job: &&JobRow| {
            job.state == State::Queued
                && job.scheduled_at <= now
                && job.expires_at.is_none_or(|expires_at| expires_at > now)
        };
        Load {
            ready: (of_the_queue().filter(is_due).count() as u64).min(limit),
            running: of_the_queue().filter(|job| job.state == State::Running).count() as u64,
            oldest_at: of_the_queue().filter(is_due).map(|job| job.scheduled_at).min(),
        }
    }

    pub(super) fn ahead(&self, job: &JobRow, limit: u64, now: Timestamp) -> u64 {
        let before = |other: &&JobRow| {
            other.state == State::Queued
                && other.queue == job.queue
                && other.scheduled_at <= now
                && other.expires_at.is_none_or(|at| at > now)
                && turn(other) < turn(job)
        };
        (self.jobs.values().filter(before).count() as u64).min(limit)
    }

    pub(super) fn next_due(&self, queues: &[String], kinds: &Kinds, now: Timestamp) -> Option<Timestamp> {
        let paused = |name: &String| self.queues.get(name).is_some_and(|queue| queue.paused_at.is_some());
        let wanted = |job: &&JobRow| {
            job.state == State::Queued
                && queues.contains(&job.queue)
                && kinds.includes(&job.kind)
                && job.expires_at.is_none_or(|at| at > now)
                && !paused(&job.queue)
        };
        self.jobs.values().filter(wanted).map(|job| job.scheduled_at).min()
    }

    pub(super) fn queues(&self) -> Vec<Queue> {
        self.queues.values().cloned().collect()
    }
}
