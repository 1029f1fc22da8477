//! The table of the columns of `backroom_jobs`: their one order, their names, and what is written into each.
//!
//! A new column is a line here, a line in [`row::job`](super::row::job) and a line in a migration. What no statement filters or
//! orders by needs none of them: it belongs into core's `Extras`.

use std::{borrow::Cow, sync::LazyLock};

use backroom_core::{JobRow, Json, extras::KNOWN_PREFIXES, unique::UniqueWhile};
use rusqlite::{
    ToSql,
    types::{ToSqlOutput, ValueRef},
};

use super::{
    error::Fault,
    row::{encoded, extras, lease, links, micros, revision, tags},
};

/// Whether this program can read the extras of a job; others are left to newer programs. No index has it.
pub(super) static HAS_KNOWN_EXTRAS: LazyLock<String> = LazyLock::new(|| {
    let known = |prefix: &&str| format!(" OR substr(extras, 1, {}) = '{prefix}'", prefix.len());
    format!("(extras IS NULL{})", KNOWN_PREFIXES.iter().map(known).collect::<String>())
});

/// A value on its way into a column, for whichever driver carries it there.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Integer(i64),
    Text(Cow<'a, str>),
    Blob(&'a [u8; 16]),
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(*bytes),
        }))
    }
}

impl<'a> Cell<'a> {
    pub(super) fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    pub(super) fn text_or_null(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::text)
    }

    pub(super) fn owned_or_null(text: Option<String>) -> Self {
        text.map_or(Self::Null, |text| Self::Text(Cow::Owned(text)))
    }

    pub(super) fn integer(number: impl Into<i64>) -> Self {
        Self::Integer(number.into())
    }

    pub(super) fn integer_or_null(number: Option<impl Into<i64>>) -> Self {
        number.map_or(Self::Null, Self::integer)
    }
}

macro_rules! placeholder {
    ($column:ident) => {
        ", ?"
    };
}

macro_rules! table {
    // In brackets: columns that are written and not read, because another one says the same.
    (
        $job:ident: $first:ident = $first_cell:expr; $($column:ident = $cell:expr;)+
        [$($written:ident = $written_cell:expr;)*]
    ) => {
        /// The names of all columns, in their one order.
        macro_rules! columns {
            () => {
                concat!(stringify!($first), $(", ", stringify!($column),)+ $(", ", stringify!($written),)*)
            };
        }
        pub(super) use columns;

        /// Writes a whole job. Parameters: [`cells`].
        pub(super) const INSERT: &str = concat!(
            "INSERT INTO backroom_jobs (", columns!(), ") VALUES (?",
            $(placeholder!($column),)+ $(placeholder!($written),)* ")"
        );

        /// Where a column stands in a row that was selected by [`columns!`].
        #[expect(non_camel_case_types, reason = "the names of the columns")]
        enum Place { $first, $($column),+ }

        /// Where a column stands in a row that was selected by [`columns!`].
        #[expect(non_upper_case_globals, reason = "the names of the columns")]
        pub(super) mod at {
            use super::Place;

            pub(in super::super) const $first: usize = Place::$first as usize;
            $(pub(in super::super) const $column: usize = Place::$column as usize;)+
        }

        const COUNT: usize = [stringify!($first), $(stringify!($column),)+ $(stringify!($written),)*].len();

        /// The parameters of [`INSERT`] for this job.
        pub(super) fn cells($job: &JobRow) -> Result<[Cell<'_>; COUNT], Fault> {
            Ok([$first_cell, $($cell,)+ $($written_cell,)*])
        }
    };
}

table! { job:
    id = Cell::Blob(job.id.0.as_bytes());
    kind = Cell::text(&job.kind);
    queue = Cell::text(&job.queue);
    lane = Cell::text_or_null(job.lane.as_deref());
    priority = Cell::integer(job.priority);
    state = Cell::text(job.state.as_str());
    args = Cell::text(job.args.as_str());
    attempt = Cell::integer(job.attempt);
    max_attempts = Cell::integer(job.max_attempts);
    crashes = Cell::integer(job.crashes);
    scheduled_at = Cell::Integer(micros(job.scheduled_at));
    expires_at = Cell::integer_or_null(job.expires_at.map(micros));
    unique_key = Cell::text_or_null(job.unique_key.as_deref());
    unique_while = Cell::text_or_null(job.unique_while.map(UniqueWhile::name));
    unique_until = Cell::integer_or_null(job.unique_while.and_then(UniqueWhile::until).map(micros));
    unique_held = Cell::integer(job.unique_held);
    lease_id = lease(job.lease_id.as_ref()).map_or(Cell::Null, Cell::Blob);
    lease_until = Cell::integer_or_null(job.lease_until.map(micros));
    worker = Cell::text_or_null(job.worker.as_deref());
    progress_percent = Cell::integer_or_null(job.progress.as_ref().map(|progress| progress.percent));
    progress_message = Cell::text_or_null(job.progress.as_ref().map(|progress| progress.message.as_str()));
    output = Cell::text_or_null(job.output.as_ref().map(Json::as_str));
    reason = Cell::text_or_null(job.reason.as_deref());
    cancel_requested_at = Cell::integer_or_null(job.cancel_requested_at.map(micros));
    woken = Cell::integer(job.woken);
    created_at = Cell::Integer(micros(job.created_at));
    started_at = Cell::integer_or_null(job.started_at.map(micros));
    finished_at = Cell::integer_or_null(job.finished_at.map(micros));
    tags = Cell::owned_or_null(tags(&job.tags)?);
    extras = Cell::owned_or_null(extras(&job.extras)?);
    revision = Cell::Integer(revision(job.revision));
    suspicion = Cell::owned_or_null(encoded(job.suspicion.as_ref())?);
    links = Cell::owned_or_null(links(job.links.as_deref())?);
    [batch = job.links.as_ref().and_then(|links| links.batch.as_ref()).map_or(Cell::Null, |batch| Cell::Blob(batch.0.as_bytes()));]
}
