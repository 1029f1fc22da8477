//! Many changes as parameters: one array per field, for `unnest`.

use backroom_core::{Change, links::Links};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    row::{encoded, revision},
    timestamp::{PgTimestamp, opt},
};
use crate::Error;
use crate::store::postgres::wire::connection::Param;

/// The types of [`ChangeColumns::params`].
pub(crate) const CHANGE_TYPES: [Type; 27] = [
    Type::UUID_ARRAY,
    Type::INT8_ARRAY,
    Type::UUID_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::BOOL_ARRAY,
    Type::UUID_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::TEXT_ARRAY,
    Type::BOOL_ARRAY,
    Type::INT2_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::BOOL_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT2_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
];

/// `new`: changes as parameters 1 to 27.
macro_rules! unnested_changes {
    () => {
        "new AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::bigint[], \
         $6::bigint[], $7::bigint[], $8::timestamptz[], $9::timestamptz[], $10::boolean[], $11::uuid[], \
         $12::timestamptz[], $13::text[], $14::boolean[], $15::smallint[], $16::text[], $17::text[], $18::text[], \
         $19::timestamptz[], $20::boolean[], $21::timestamptz[], $22::timestamptz[], $23::text[], $24::smallint[], \
         $25::text[], $26::text[], $27::text[]) \
         AS new (id, revision_before, guard, state, attempt, max_attempts, crashes, scheduled_at, expires_at, \
         unique_held, lease_id, lease_until, worker, progress_is_set, progress_percent, progress_message, output, \
         reason, cancel_requested_at, woken, started_at, finished_at, suspicion, new_priority, new_args, new_queue, \
         new_links))"
    };
}
pub(crate) use unnested_changes;

/// The columns of many changes.
#[derive(Default)]
pub(crate) struct ChangeColumns<'a> {
    id: Vec<Uuid>,
    revision_before: Vec<i64>,
    guard: Vec<Option<Uuid>>,
    state: Vec<&'static str>,
    attempt: Vec<i64>,
    max_attempts: Vec<i64>,
    crashes: Vec<i64>,
    scheduled_at: Vec<PgTimestamp>,
    expires_at: Vec<Option<PgTimestamp>>,
    unique_held: Vec<bool>,
    lease_id: Vec<Option<Uuid>>,
    lease_until: Vec<Option<PgTimestamp>>,
    worker: Vec<Option<&'a str>>,
    progress_is_set: Vec<bool>,
    progress_percent: Vec<Option<i16>>,
    progress_message: Vec<Option<&'a str>>,
    output: Vec<Option<&'a str>>,
    reason: Vec<Option<&'a str>>,
    cancel_requested_at: Vec<Option<PgTimestamp>>,
    woken: Vec<bool>,
    started_at: Vec<Option<PgTimestamp>>,
    finished_at: Vec<Option<PgTimestamp>>,
    suspicion: Vec<Option<String>>,
    priority: Vec<Option<i16>>,
    args: Vec<Option<&'a str>>,
    queue: Vec<Option<&'a str>>,
    links: Vec<Option<String>>,
}

impl<'a> ChangeColumns<'a> {
    /// The columns of these changes.
    pub(crate) fn of(changes: &[&'a Change]) -> Result<Self, Error> {
        let mut columns = Self::default();
        changes.iter().try_for_each(|change| columns.push(change))?;
        Ok(columns)
    }

    fn push(&mut self, change: &'a Change) -> Result<(), Error> {
        let progress = change.progress.as_ref().and_then(Option::as_ref);
        self.id.push(change.id.0);
        self.revision_before.push(revision(change.revision_before));
        self.guard.push(change.lease.map(|lease| lease.0));
        self.state.push(change.state.as_str());
        self.attempt.push(change.attempt.into());
        self.max_attempts.push(change.max_attempts.into());
        self.crashes.push(change.crashes.into());
        self.scheduled_at.push(PgTimestamp(change.scheduled_at));
        self.expires_at.push(opt(change.expires_at));
        self.unique_held.push(change.unique_held);
        self.lease_id.push(change.lease_id.map(|lease| lease.0));
        self.lease_until.push(opt(change.lease_until));
        self.worker.push(change.worker.as_deref());
        self.progress_is_set.push(change.progress.is_some());
        self.progress_percent.push(progress.map(|progress| progress.percent.into()));
        self.progress_message.push(progress.map(|progress| progress.message.as_str()));
        self.output.push(change.output.as_ref().map(|output| output.as_str()));
        self.reason.push(change.reason.as_deref());
        self.cancel_requested_at.push(opt(change.cancel_requested_at));
        self.woken.push(change.woken);
        self.started_at.push(opt(change.started_at));
        self.finished_at.push(opt(change.finished_at));
        self.suspicion.push(change.suspicion.as_ref().map(encoded).transpose()?);
        let content = change.content.as_ref();
        self.priority.push(content.map(|content| content.priority.into()));
        self.args.push(content.map(|content| content.args.as_str()));
        self.queue.push(content.and_then(|content| content.queue.as_deref()));
        self.links.push(change.links.as_deref().map(Links::stored).transpose()?.flatten());
        Ok(())
    }

    /// In the order of [`unnested_changes!`]; types as [`CHANGE_TYPES`].
    pub(crate) fn params(&self) -> Vec<Param<'_>> {
        vec![
            &self.id,
            &self.revision_before,
            &self.guard,
            &self.state,
            &self.attempt,
            &self.max_attempts,
            &self.crashes,
            &self.scheduled_at,
            &self.expires_at,
            &self.unique_held,
            &self.lease_id,
            &self.lease_until,
            &self.worker,
            &self.progress_is_set,
            &self.progress_percent,
            &self.progress_message,
            &self.output,
            &self.reason,
            &self.cancel_requested_at,
            &self.woken,
            &self.started_at,
            &self.finished_at,
            &self.suspicion,
            &self.priority,
            &self.args,
            &self.queue,
            &self.links,
        ]
    }
}
