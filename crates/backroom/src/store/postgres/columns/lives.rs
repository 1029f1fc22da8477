//! Many changes as parameters: one array per field of a life, for `unnest`.

use backroom_core::Change;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    moment::{Moment, opt},
    row::{encoded, revision},
};
use crate::Error;
use crate::store::postgres::wire::connection::Param;

/// The types of [`Lives::params`].
pub(crate) const LIFE_TYPES: [Type; 32] = [
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
    Type::UUID_ARRAY,
    Type::INT8_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT2_ARRAY,
    Type::TEXT_ARRAY,
];

/// `new`: whole lives as parameters 1 to 32.
macro_rules! unnested_lives {
    () => {
        "new AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::bigint[], \
         $6::bigint[], $7::bigint[], $8::timestamptz[], $9::timestamptz[], $10::boolean[], $11::uuid[], \
         $12::timestamptz[], $13::text[], $14::boolean[], $15::smallint[], $16::text[], $17::text[], $18::text[], \
         $19::timestamptz[], $20::boolean[], $21::timestamptz[], $22::timestamptz[], $23::uuid[], $24::bigint[], \
         $25::text[], $26::text[], $27::text[], $28::timestamptz[], $29::timestamptz[], $30::text[], $31::smallint[], \
         $32::text[]) \
         AS new (id, revision_before, guard, state, attempt, max_attempts, crashes, scheduled_at, expires_at, \
         unique_held, lease_id, lease_until, worker, progress_is_set, progress_percent, progress_message, output, \
         reason, cancel_requested_at, woken, started_at, finished_at, ended_lease, ended_attempt, ended_end, \
         ended_error, ended_worker, ended_started_at, ended_at, suspicion, new_priority, new_args))"
    };
}
pub(crate) use unnested_lives;

/// The columns of many changes.
#[derive(Default)]
pub(crate) struct Lives<'a> {
    id: Vec<Uuid>,
    revision_before: Vec<i64>,
    guard: Vec<Option<Uuid>>,
    state: Vec<&'static str>,
    attempt: Vec<i64>,
    max_attempts: Vec<i64>,
    crashes: Vec<i64>,
    scheduled_at: Vec<Moment>,
    expires_at: Vec<Option<Moment>>,
    unique_held: Vec<bool>,
    lease_id: Vec<Option<Uuid>>,
    lease_until: Vec<Option<Moment>>,
    worker: Vec<Option<&'a str>>,
    progress_is_set: Vec<bool>,
    progress_percent: Vec<Option<i16>>,
    progress_message: Vec<Option<&'a str>>,
    output: Vec<Option<&'a str>>,
    reason: Vec<Option<&'a str>>,
    cancel_requested_at: Vec<Option<Moment>>,
    woken: Vec<bool>,
    started_at: Vec<Option<Moment>>,
    finished_at: Vec<Option<Moment>>,
    ended_lease: Vec<Option<Uuid>>,
    ended_attempt: Vec<Option<i64>>,
    ended_end: Vec<Option<&'static str>>,
    ended_error: Vec<Option<&'a str>>,
    ended_worker: Vec<Option<&'a str>>,
    ended_started_at: Vec<Option<Moment>>,
    ended_at: Vec<Option<Moment>>,
    suspicion: Vec<Option<String>>,
    priority: Vec<Option<i16>>,
    args: Vec<Option<&'a str>>,
}

impl<'a> Lives<'a> {
    /// Adds one.
    pub(crate) fn push(&mut self, change: &'a Change) -> Result<(), Error> {
        let progress = change.progress.as_ref().and_then(Option::as_ref);
        let ended = change.ended.as_ref();
        self.id.push(change.id.0);
        self.revision_before.push(revision(change.revision_before));
        self.guard.push(change.lease.map(|lease| lease.0));
        self.state.push(change.state.as_str());
        self.attempt.push(change.attempt.into());
        self.max_attempts.push(change.max_attempts.into());
        self.crashes.push(change.crashes.into());
        self.scheduled_at.push(Moment(change.scheduled_at));
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
        self.ended_lease.push(ended.map(|ended| ended.lease_id.0));
        self.ended_attempt.push(ended.map(|ended| ended.attempt.into()));
        self.ended_end.push(ended.map(|ended| ended.end.as_str()));
        self.ended_error.push(ended.map(|ended| ended.error.as_str()));
        self.ended_worker.push(ended.and_then(|ended| ended.worker.as_deref()));
        self.ended_started_at.push(ended.and_then(|ended| opt(ended.started_at)));
        self.ended_at.push(ended.map(|ended| Moment(ended.ended_at)));
        self.suspicion.push(change.suspicion.as_ref().map(encoded).transpose()?);
        let content = change.content.as_ref();
        self.priority.push(content.map(|content| content.priority.into()));
        self.args.push(content.map(|content| content.args.as_str()));
        Ok(())
    }

    /// In the order of [`unnested_lives!`]; types as [`LIFE_TYPES`].
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
            &self.ended_lease,
            &self.ended_attempt,
            &self.ended_end,
            &self.ended_error,
            &self.ended_worker,
            &self.ended_started_at,
            &self.ended_at,
            &self.suspicion,
            &self.priority,
            &self.args,
        ]
    }
}
