//! Plain jobs as parameters, which need fewer columns than others: one array per column, for `unnest`.

use backroom_core::JobRow;
use uuid::Uuid;

use super::{row::encoded, timestamp::PgTimestamp};
use crate::{Error, store::postgres::wire::connection::Param};

fn tags_of(job: &JobRow) -> Result<Option<String>, Error> {
    (!job.tags.is_empty()).then(|| encoded(&job.tags)).transpose()
}

/// The columns that differ between plain jobs. A third of all, and so of the work per row.
pub(crate) struct PlainColumns<'a> {
    id: Vec<Uuid>,
    kind: Vec<&'a str>,
    queue: Vec<&'a str>,
    priority: Vec<i16>,
    args: Vec<&'a str>,
    max_attempts: Vec<i64>,
    scheduled_at: Vec<PgTimestamp>,
    created_at: Vec<PgTimestamp>,
    tags: Vec<Option<String>>,
    extras: Vec<Option<String>>,
}

impl<'a> PlainColumns<'a> {
    /// The columns of these jobs.
    pub(crate) fn of(jobs: impl ExactSizeIterator<Item = &'a JobRow> + Clone) -> Result<Self, Error> {
        Ok(Self {
            id: jobs.clone().map(|job| job.id.0).collect(),
            kind: jobs.clone().map(|job| job.kind.as_str()).collect(),
            queue: jobs.clone().map(|job| job.queue.as_str()).collect(),
            priority: jobs.clone().map(|job| job.priority.into()).collect(),
            args: jobs.clone().map(|job| job.args.as_str()).collect(),
            max_attempts: jobs.clone().map(|job| job.max_attempts.into()).collect(),
            scheduled_at: jobs.clone().map(|job| PgTimestamp(job.scheduled_at)).collect(),
            created_at: jobs.clone().map(|job| PgTimestamp(job.created_at)).collect(),
            tags: jobs.clone().map(tags_of).collect::<Result<_, _>>()?,
            extras: jobs.map(|job| Ok(job.extras.stored()?)).collect::<Result<_, Error>>()?,
        })
    }

    /// id, kind, queue, priority, args, max_attempts, scheduled_at, created_at, tags, extras.
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
            &self.tags,
            &self.extras,
        ]
    }
}

/// The columns of plain jobs that differ in id and args alone, as those of a bulk enqueue mostly do.
pub(crate) struct AlikeColumns<'a> {
    id: Vec<Uuid>,
    args: Vec<&'a str>,
    kind: &'a str,
    queue: &'a str,
    priority: i16,
    max_attempts: i64,
    scheduled_at: PgTimestamp,
    created_at: PgTimestamp,
    tags: Option<String>,
    extras: Option<String>,
}

impl<'a> AlikeColumns<'a> {
    /// The columns of these jobs, if they are alike and several.
    pub(crate) fn of(
        mut jobs: impl ExactSizeIterator<Item = &'a JobRow> + Clone,
    ) -> Result<Option<Self>, Error> {
        let all = jobs.clone();
        let Some(first) = jobs.next() else { return Ok(None) };
        let is_alike = |job: &JobRow| {
            job.kind == first.kind
                && job.queue == first.queue
                && job.priority == first.priority
                && job.max_attempts == first.max_attempts
                && job.scheduled_at == first.scheduled_at
                && job.created_at == first.created_at
                && job.tags == first.tags
                && job.extras == first.extras
        };
        if jobs.len() == 0 || !jobs.all(is_alike) {
            return Ok(None);
        }
        Ok(Some(Self {
            id: all.clone().map(|job| job.id.0).collect(),
            args: all.map(|job| job.args.as_str()).collect(),
            kind: &first.kind,
            queue: &first.queue,
            priority: first.priority.into(),
            max_attempts: first.max_attempts.into(),
            scheduled_at: PgTimestamp(first.scheduled_at),
            created_at: PgTimestamp(first.created_at),
            tags: tags_of(first)?,
            extras: first.extras.stored()?,
        }))
    }

    /// id, args, kind, queue, priority, max_attempts, scheduled_at, created_at, tags, extras.
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
            &self.tags,
            &self.extras,
        ]
    }
}
