//! Many runs that succeeded as parameters: one array per column, for `unnest`.

use backroom_core::Change;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    row::revision,
    timestamp::{PgTimestamp, opt},
};
use crate::store::postgres::wire::connection::Param;

/// The types of [`Successes::params`].
pub(crate) const SUCCESS_TYPES: [Type; 5] =
    [Type::UUID_ARRAY, Type::INT8_ARRAY, Type::UUID_ARRAY, Type::TEXT_ARRAY, Type::TIMESTAMPTZ_ARRAY];

/// `new`: the guards and new values of successes as parameters 1 to 5.
macro_rules! unnested_successes {
    () => {
        "unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::timestamptz[]) \
         AS new (id, revision, lease, output, finished_at)"
    };
}
pub(crate) use unnested_successes;

/// The columns of many successes.
pub(crate) struct Successes<'a> {
    id: Vec<Uuid>,
    revision: Vec<i64>,
    lease: Vec<Option<Uuid>>,
    output: Vec<Option<&'a str>>,
    finished_at: Vec<Option<PgTimestamp>>,
}

impl<'a> Successes<'a> {
    /// The columns of these changes.
    pub(crate) fn of(changes: &[&'a Change]) -> Self {
        Self {
            id: changes.iter().map(|change| change.id.0).collect(),
            revision: changes.iter().map(|change| revision(change.revision_before)).collect(),
            lease: changes.iter().map(|change| change.lease.map(|lease| lease.0)).collect(),
            output: changes
                .iter()
                .map(|change| change.output.as_ref().map(|output| output.as_str()))
                .collect(),
            finished_at: changes.iter().map(|change| opt(change.finished_at)).collect(),
        }
    }

    /// In the order of [`unnested_successes`].
    pub(crate) fn params(&self) -> [Param<'_>; 5] {
        [&self.id, &self.revision, &self.lease, &self.output, &self.finished_at]
    }
}
