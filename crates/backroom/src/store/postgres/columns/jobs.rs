//! Many jobs as parameters: one array per column, for `unnest`.

use backroom_core::{JobRow, unique::UniqueWhile};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    row::{encoded, millis, revision},
    timestamp::{PgTimestamp, opt},
};
use crate::Error;
use crate::store::postgres::wire::connection::Param;

/// The types of [`Columns::params`].
pub(crate) const JOB_TYPES: [Type; 34] = [
    Type::UUID_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT2_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::INT8_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::BOOL_ARRAY,
    Type::UUID_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT2_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::BOOL_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT8_ARRAY,
    Type::TEXT_ARRAY,
];

/// Rows of [`columns!`](crate::store::postgres::wire::sql::columns) from the parameters 1 to 34 of a statement.
macro_rules! unnested_jobs {
    () => {
        "SELECT id, kind, queue, lane, priority, state, args, attempt, max_attempts, crashes, scheduled_at, expires_at, \
         timeout_ms, retry, unique_key, unique_while, unique_until, unique_held, lease_id, lease_until, worker, \
         progress_percent, progress_message, output, reason, cancel_requested_at, woken, created_at, started_at, \
         finished_at, tags::jsonb, meta::jsonb, revision, suspicion \
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::smallint[], $6::text[], $7::text[], \
         $8::bigint[], $9::bigint[], $10::bigint[], $11::timestamptz[], $12::timestamptz[], $13::bigint[], $14::text[], \
         $15::text[], $16::text[], $17::timestamptz[], $18::boolean[], $19::uuid[], $20::timestamptz[], $21::text[], \
         $22::smallint[], $23::text[], $24::text[], $25::text[], $26::timestamptz[], $27::boolean[], \
         $28::timestamptz[], $29::timestamptz[], $30::timestamptz[], $31::text[], $32::text[], $33::bigint[], $34::text[]) \
         AS new (id, kind, queue, lane, priority, state, args, attempt, max_attempts, crashes, scheduled_at, \
         expires_at, timeout_ms, retry, unique_key, unique_while, unique_until, unique_held, lease_id, lease_until, \
         worker, progress_percent, progress_message, output, reason, cancel_requested_at, woken, created_at, \
         started_at, finished_at, tags, meta, revision, suspicion)"
    };
}
pub(crate) use unnested_jobs;

/// The columns of many jobs.
#[derive(Default)]
pub(crate) struct Columns<'a> {
    id: Vec<Uuid>,
    kind: Vec<&'a str>,
    queue: Vec<&'a str>,
    lane: Vec<Option<&'a str>>,
    priority: Vec<i16>,
    state: Vec<&'static str>,
    args: Vec<&'a str>,
    attempt: Vec<i64>,
    max_attempts: Vec<i64>,
    crashes: Vec<i64>,
    scheduled_at: Vec<PgTimestamp>,
    expires_at: Vec<Option<PgTimestamp>>,
    timeout_ms: Vec<Option<i64>>,
    retry: Vec<Option<String>>,
    unique_key: Vec<Option<&'a str>>,
    unique_while: Vec<Option<&'static str>>,
    unique_until: Vec<Option<PgTimestamp>>,
    unique_held: Vec<bool>,
    lease_id: Vec<Option<Uuid>>,
    lease_until: Vec<Option<PgTimestamp>>,
    worker: Vec<Option<&'a str>>,
    progress_percent: Vec<Option<i16>>,
    progress_message: Vec<Option<&'a str>>,
    output: Vec<Option<&'a str>>,
    reason: Vec<Option<&'a str>>,
    cancel_requested_at: Vec<Option<PgTimestamp>>,
    woken: Vec<bool>,
    created_at: Vec<PgTimestamp>,
    started_at: Vec<Option<PgTimestamp>>,
    finished_at: Vec<Option<PgTimestamp>>,
    tags: Vec<Option<String>>,
    meta: Vec<Option<String>>,
    revision: Vec<i64>,
    suspicion: Vec<Option<String>>,
}

impl<'a> Columns<'a> {
    /// The columns of these jobs.
    pub(crate) fn of(jobs: impl Iterator<Item = &'a JobRow>) -> Result<Self, Error> {
        let mut columns = Self::default();
        jobs.into_iter().try_for_each(|job| columns.push(job))?;
        Ok(columns)
    }

    fn push(&mut self, job: &'a JobRow) -> Result<(), Error> {
        let (unique_while, unique_until) = match job.unique_while {
            None => (None, None),
            Some(UniqueWhile::Live) => (Some("live"), None),
            Some(UniqueWhile::Queued) => (Some("queued"), None),
            Some(UniqueWhile::Until(until)) => (Some("until"), Some(PgTimestamp(until))),
        };
        self.id.push(job.id.0);
        self.kind.push(&job.kind);
        self.queue.push(&job.queue);
        self.lane.push(job.lane.as_deref());
        self.priority.push(job.priority.into());
        self.state.push(job.state.as_str());
        self.args.push(job.args.as_str());
        self.attempt.push(job.attempt.into());
        self.max_attempts.push(job.max_attempts.into());
        self.crashes.push(job.crashes.into());
        self.scheduled_at.push(PgTimestamp(job.scheduled_at));
        self.expires_at.push(opt(job.expires_at));
        self.timeout_ms.push(job.timeout.map(millis));
        self.retry.push(job.retry.as_ref().map(encoded).transpose()?);
        self.unique_key.push(job.unique_key.as_deref());
        self.unique_while.push(unique_while);
        self.unique_until.push(unique_until);
        self.unique_held.push(job.unique_held);
        self.lease_id.push(job.lease_id.map(|lease| lease.0));
        self.lease_until.push(opt(job.lease_until));
        self.worker.push(job.worker.as_deref());
        self.progress_percent.push(job.progress.as_ref().map(|progress| progress.percent.into()));
        self.progress_message.push(job.progress.as_ref().map(|progress| progress.message.as_str()));
        self.output.push(job.output.as_ref().map(|output| output.as_str()));
        self.reason.push(job.reason.as_deref());
        self.cancel_requested_at.push(opt(job.cancel_requested_at));
        self.woken.push(job.woken);
        self.created_at.push(PgTimestamp(job.created_at));
        self.started_at.push(opt(job.started_at));
        self.finished_at.push(opt(job.finished_at));
        self.tags.push(some_unless(job.tags.is_empty(), &job.tags)?);
        self.meta.push(some_unless(job.meta.is_empty(), &job.meta)?);
        self.revision.push(revision(job.revision));
        self.suspicion.push(job.suspicion.as_ref().map(encoded).transpose()?);
        Ok(())
    }

    /// In the order of the columns; types as [`JOB_TYPES`].
    pub(crate) fn params(&self) -> Vec<Param<'_>> {
        vec![
            &self.id,
            &self.kind,
            &self.queue,
            &self.lane,
            &self.priority,
            &self.state,
            &self.args,
            &self.attempt,
            &self.max_attempts,
            &self.crashes,
            &self.scheduled_at,
            &self.expires_at,
            &self.timeout_ms,
            &self.retry,
            &self.unique_key,
            &self.unique_while,
            &self.unique_until,
            &self.unique_held,
            &self.lease_id,
            &self.lease_until,
            &self.worker,
            &self.progress_percent,
            &self.progress_message,
            &self.output,
            &self.reason,
            &self.cancel_requested_at,
            &self.woken,
            &self.created_at,
            &self.started_at,
            &self.finished_at,
            &self.tags,
            &self.meta,
            &self.revision,
            &self.suspicion,
        ]
    }

    /// The ids.
    pub(crate) fn ids(&self) -> Param<'_> {
        &self.id
    }
}

fn some_unless<T: serde::Serialize>(is_empty: bool, value: &T) -> Result<Option<String>, Error> {
    if is_empty { Ok(None) } else { encoded(value).map(Some) }
}

/// The columns in which new jobs without optional fields differ: a quarter of [`Columns`], and so of the work per row.
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
