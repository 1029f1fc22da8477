//! New jobs that need fewer columns than all: as parameters, one array per column, for `unnest`.

use backroom_core::JobRow;
use uuid::Uuid;

use super::timestamp::PgTimestamp;
use crate::store::postgres::wire::connection::Param;

/// The columns in which new jobs without optional fields differ: a quarter of all columns, and so of the work per row.
pub(crate) struct PlainColumns<'a> {
    id: Vec<Uuid>,
    kind: Vec<&'a str>,
    queue: Vec<&'a str>,
    priority: Vec<i16>,
    args: Vec<&'a str>,
    max_attempts: Vec<i64>,
    scheduled_at: Vec<PgTimestamp>,
    created_at: Vec<PgTimestamp>,
}

impl<'a> PlainColumns<'a> {
    /// The columns of these jobs.
    pub(crate) fn of(jobs: impl ExactSizeIterator<Item = &'a JobRow> + Clone) -> Self {
        Self {
            id: jobs.clone().map(|job| job.id.0).collect(),
            kind: jobs.clone().map(|job| job.kind.as_str()).collect(),
            queue: jobs.clone().map(|job| job.queue.as_str()).collect(),
            priority: jobs.clone().map(|job| job.priority.into()).collect(),
            args: jobs.clone().map(|job| job.args.as_str()).collect(),
            max_attempts: jobs.clone().map(|job| job.max_attempts.into()).collect(),
            scheduled_at: jobs.clone().map(|job| PgTimestamp(job.scheduled_at)).collect(),
            created_at: jobs.map(|job| PgTimestamp(job.created_at)).collect(),
        }
    }

    /// id, kind, queue, priority, args, max_attempts, scheduled_at, created_at.
    pub(crate) fn params(&self) -> Vec<Param<'_>> {
        vec![
            &self.id,
            &self.kind,
            &self.queue,
            &self.priority,
            &self.args,
            &self.max_attempts,
            &self.scheduled_at,
            &self.created_at,
        ]
    }
}

/// The columns of new jobs without optional fields that differ in id and args only. Most jobs of a bulk enqueue do.
pub(crate) struct AlikeColumns<'a> {
    id: Vec<Uuid>,
    args: Vec<&'a str>,
    kind: &'a str,
    queue: &'a str,
    priority: i16,
    max_attempts: i64,
    scheduled_at: PgTimestamp,
    created_at: PgTimestamp,
}

impl<'a> AlikeColumns<'a> {
    /// The columns of these jobs, if they are alike and several.
    pub(crate) fn of(mut jobs: impl ExactSizeIterator<Item = &'a JobRow> + Clone) -> Option<Self> {
        let all = jobs.clone();
        let first = jobs.next()?;
        let is_alike = |job: &JobRow| {
            job.kind == first.kind
                && job.queue == first.queue
                && job.priority == first.priority
                && job.max_attempts == first.max_attempts
                && job.scheduled_at == first.scheduled_at
                && job.created_at == first.created_at
        };
        if jobs.len() == 0 || !jobs.all(is_alike) {
            return None;
        }
        Some(Self {
            id: all.clone().map(|job| job.id.0).collect(),
            args: all.map(|job| job.args.as_str()).collect(),
            kind: &first.kind,
            queue: &first.queue,
            priority: first.priority.into(),
            max_attempts: first.max_attempts.into(),
            scheduled_at: PgTimestamp(first.scheduled_at),
            created_at: PgTimestamp(first.created_at),
        })
    }

    /// id, args, kind, queue, priority, max_attempts, scheduled_at, created_at.
    pub(crate) fn params(&self) -> Vec<Param<'_>> {
        vec![
            &self.id,
            &self.args,
            &self.kind,
            &self.queue,
            &self.priority,
            &self.max_attempts,
            &self.scheduled_at,
            &self.created_at,
        ]
    }
}
