//! Many records of attempts as parameters: one array per column, for `unnest`.

use backroom_core::{Attempt, JobId};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::timestamp::{PgTimestamp, opt};
use crate::store::postgres::wire::connection::Param;

/// The types of [`AttemptColumns::params`].
pub(crate) const ATTEMPT_TYPES: [Type; 8] = [
    Type::UUID_ARRAY,
    Type::UUID_ARRAY,
    Type::INT8_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
];

/// `new`: rows of `attempts` as parameters 1 to 8.
macro_rules! unnested_attempts {
    () => {
        "unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], \
         $8::timestamptz[]) AS new (job_id, lease_id, attempt, \"end\", error, worker, started_at, ended_at)"
    };
}
pub(crate) use unnested_attempts;

/// The columns of many records.
#[derive(Default)]
pub(crate) struct AttemptColumns<'a> {
    job_id: Vec<Uuid>,
    lease_id: Vec<Uuid>,
    attempt: Vec<i64>,
    end: Vec<&'static str>,
    error: Vec<&'a str>,
    worker: Vec<Option<&'a str>>,
    started_at: Vec<Option<PgTimestamp>>,
    ended_at: Vec<PgTimestamp>,
}

impl<'a> AttemptColumns<'a> {
    /// Adds one.
    pub(crate) fn push(&mut self, job: JobId, attempt: &'a Attempt) {
        self.job_id.push(job.0);
        self.lease_id.push(attempt.lease_id.0);
        self.attempt.push(attempt.attempt.into());
        self.end.push(attempt.end.as_str());
        self.error.push(attempt.error.as_str());
        self.worker.push(attempt.worker.as_deref());
        self.started_at.push(opt(attempt.started_at));
        self.ended_at.push(PgTimestamp(attempt.ended_at));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.job_id.is_empty()
    }

    /// In the order of [`unnested_attempts`]; types as [`ATTEMPT_TYPES`].
    pub(crate) fn params(&self) -> Vec<Param<'_>> {
        vec![
            &self.job_id,
            &self.lease_id,
            &self.attempt,
            &self.end,
            &self.error,
            &self.worker,
            &self.started_at,
            &self.ended_at,
        ]
    }
}
