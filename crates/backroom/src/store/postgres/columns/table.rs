//! The table of the columns of a job: their one order, names and types, and what is written into each.
//!
//! A new column is a line here, a line in [`row::job`](super::row::job) and its lines in a migration. What no statement filters
//! or orders by needs none of them: it belongs into core's `Extras`.

use std::sync::LazyLock;

use backroom_core::{JobRow, Json, extras::KNOWN_PREFIXES, links::Links, unique::UniqueWhile};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    row::{encoded, revision},
    timestamp::{PgTimestamp, opt},
};
use crate::{Error, store::postgres::wire::connection::Param};

/// The names of all columns, in their one order.
macro_rules! columns {
    () => {
        "{columns}"
    };
}
/// `, kind, queue` and so on: the columns that no event of a run changes, but for the id.
macro_rules! lasting {
    () => {
        "{lasting}"
    };
}
/// All columns of a job that was just claimed. What the claim itself sets is not sent back.
macro_rules! claimed {
    () => {
        "{claimed}"
    };
}
/// Rows of [`columns!`] from [`Columns::params`].
macro_rules! unnested_jobs {
    () => {
        "{unnested_jobs}"
    };
}
/// Whether this program can read the extras of a job; others are left to newer programs.
macro_rules! has_known_extras {
    () => {
        "{has_known_extras}"
    };
}
pub(crate) use {claimed, columns, has_known_extras, lasting, unnested_jobs};

/// What stands in a statement's text for each of the lists, and the list.
static LISTS: LazyLock<[(&str, String); 5]> = LazyLock::new(|| {
    let columns = join(COLUMN_LINES.iter().map(|line| line.name.to_owned()));
    let lasting = COLUMN_LINES.iter().filter(|line| line.is_lasting);
    let parameters = (1..).zip(&COLUMN_LINES).map(|(number, line)| format!("${number}::{}[]", line.sql));
    let unnested = format!(
        "SELECT {} FROM unnest({}) AS new ({columns})",
        join(COLUMN_LINES.iter().map(|line| line.selected.unwrap_or(line.name).to_owned())),
        join(parameters),
    );
    [
        (columns!(), columns),
        (lasting!(), lasting.map(|line| format!(", {}", line.name)).collect()),
        (claimed!(), join(COLUMN_LINES.iter().map(|line| line.claimed.unwrap_or(line.name).to_owned()))),
        (unnested_jobs!(), unnested),
        (has_known_extras!(), known_extras()),
    ]
});

fn known_extras() -> String {
    let known = KNOWN_PREFIXES.iter().map(|prefix| format!(" OR starts_with(jobs.extras, '{prefix}')"));
    format!("(jobs.extras IS NULL{})", known.collect::<String>())
}

fn join(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join(", ")
}

/// A statement with the lists of columns written out.
pub(crate) fn with_lists(text: &str) -> String {
    LISTS.iter().fold(text.to_owned(), |text, (name, list)| text.replace(name, list))
}

/// A line of the table, as far as it is about SQL.
struct ColumnLine {
    name: &'static str,
    /// Its type, or for a domain the one below it.
    sql: &'static str,
    /// No event of a run changes it.
    is_lasting: bool,
    /// How it is made from its parameter, if not by the name alone.
    selected: Option<&'static str>,
    /// What a claim answers with instead of it.
    claimed: Option<&'static str>,
}

/// The type of an array of these.
macro_rules! array_type {
    (uuid) => {
        Type::UUID_ARRAY
    };
    (text) => {
        Type::TEXT_ARRAY
    };
    (smallint) => {
        Type::INT2_ARRAY
    };
    (bigint) => {
        Type::INT8_ARRAY
    };
    (boolean) => {
        Type::BOOL_ARRAY
    };
    (timestamptz) => {
        Type::TIMESTAMPTZ_ARRAY
    };
}

macro_rules! optional {
    () => {
        None
    };
    ($text:literal) => {
        Some($text)
    };
}

macro_rules! is_lasting {
    () => {
        false
    };
    (lasting) => {
        true
    };
}

macro_rules! table {
    (
        $job:ident, $a:lifetime:
        $(
            $(@$mark:ident)? $column:ident: $sql:ident, $rust:ty = $cell:expr
            $(, selected $selected:literal)? $(, claimed $claimed:literal)?;
        )+
    ) => {
        /// How many columns a job has: what a statement asks for behind them has this place.
        pub(crate) const COLUMNS: usize = [$(stringify!($column)),+].len();

        /// The types of [`Columns::params`].
        pub(crate) const JOB_TYPES: [Type; COLUMNS] = [$(array_type!($sql)),+];

        const COLUMN_LINES: [ColumnLine; COLUMNS] = [$(ColumnLine {
            name: stringify!($column),
            sql: stringify!($sql),
            is_lasting: is_lasting!($($mark)?),
            selected: optional!($($selected)?),
            claimed: optional!($($claimed)?),
        }),+];

        #[expect(non_camel_case_types, reason = "the names of the columns")]
        enum Place { $($column),+ }

        /// Where a column stands in a row that was selected by [`columns!`].
        #[expect(non_upper_case_globals, dead_code, reason = "the names of the columns; no row of a job has `plain`, and its links say its `batch`")]
        pub(crate) mod at {
            use super::Place;

            $(pub(crate) const $column: usize = Place::$column as usize;)+
        }

        /// Many jobs, one array for each column.
        #[derive(Default)]
        pub(crate) struct Columns<$a> {
            $($column: Vec<$rust>,)+
        }

        impl<$a> Columns<$a> {
            fn push(&mut self, $job: &$a JobRow) -> Result<(), Error> {
                $(self.$column.push($cell);)+
                Ok(())
            }

            /// In the order of the columns; types as [`JOB_TYPES`].
            pub(crate) fn params(&self) -> Vec<Param<'_>> {
                vec![$(&self.$column),+]
            }
        }
    };
}

table! { job, 'a:
    id: uuid, Uuid = job.id.0;
    @lasting kind: text, &'a str = &job.kind;
    @lasting queue: text, &'a str = &job.queue;
    @lasting lane: text, Option<&'a str> = job.lane.as_deref();
    @lasting priority: smallint, i16 = job.priority.into();
    state: text, &'static str = job.state.as_str(), claimed "'running'";
    @lasting args: text, &'a str = job.args.as_str();
    attempt: bigint, i64 = job.attempt.into();
    max_attempts: bigint, i64 = job.max_attempts.into();
    crashes: bigint, i64 = job.crashes.into();
    scheduled_at: timestamptz, PgTimestamp = PgTimestamp(job.scheduled_at);
    expires_at: timestamptz, Option<PgTimestamp> = opt(job.expires_at);
    @lasting unique_key: text, Option<&'a str> = job.unique_key.as_deref();
    @lasting unique_while: text, Option<&'static str> = job.unique_while.map(UniqueWhile::name);
    @lasting unique_until: timestamptz, Option<PgTimestamp> = opt(job.unique_while.and_then(UniqueWhile::until));
    unique_held: boolean, bool = job.unique_held;
    lease_id: uuid, Option<Uuid> = job.lease_id.map(|lease| lease.0), claimed "NULL::uuid";
    lease_until: timestamptz, Option<PgTimestamp> = opt(job.lease_until), claimed "NULL::timestamptz";
    worker: text, Option<&'a str> = job.worker.as_deref(), claimed "NULL::text";
    progress_percent: smallint, Option<i16> = job.progress.as_ref().map(|progress| progress.percent.into()),
        claimed "NULL::smallint";
    progress_message: text, Option<&'a str> = job.progress.as_ref().map(|progress| progress.message.as_str()),
        claimed "NULL::text";
    output: text, Option<&'a str> = job.output.as_ref().map(Json::as_str);
    reason: text, Option<&'a str> = job.reason.as_deref();
    cancel_requested_at: timestamptz, Option<PgTimestamp> = opt(job.cancel_requested_at);
    woken: boolean, bool = job.woken;
    @lasting created_at: timestamptz, PgTimestamp = PgTimestamp(job.created_at);
    started_at: timestamptz, Option<PgTimestamp> = opt(job.started_at), claimed "NULL::timestamptz";
    finished_at: timestamptz, Option<PgTimestamp> = opt(job.finished_at);
    @lasting tags: text, Option<String> = (!job.tags.is_empty()).then(|| encoded(&job.tags)).transpose()?,
        selected "tags::jsonb";
    @lasting extras: text, Option<String> = job.extras.stored()?;
    revision: bigint, i64 = revision(job.revision);
    suspicion: text, Option<String> = job.suspicion.as_ref().map(encoded).transpose()?;
    @lasting links: text, Option<String> = links(job)?;
    @lasting batch: uuid, Option<Uuid> = job.batch().map(|batch| batch.0);
    plain: boolean, bool = job.is_plain();
}

/// As the column `links` has them.
fn links(job: &JobRow) -> Result<Option<String>, Error> {
    Ok(job.links.as_deref().map(Links::stored).transpose()?.flatten())
}

impl<'a> Columns<'a> {
    /// The columns of these jobs.
    pub(crate) fn of(mut jobs: impl Iterator<Item = &'a JobRow>) -> Result<Self, Error> {
        let mut columns = Self::default();
        jobs.try_for_each(|job| columns.push(job))?;
        Ok(columns)
    }

    /// The ids.
    pub(crate) fn ids(&self) -> Param<'_> {
        &self.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_names_every_column_once_and_in_the_one_order() {
        let text = with_lists(concat!("INSERT INTO jobs (", columns!(), ") ", unnested_jobs!()));
        assert!(text.starts_with("INSERT INTO jobs (id, kind, queue, lane, "), "{text}");
        assert!(
            text.contains(
                ", tags::jsonb, extras, revision, suspicion, links, batch, plain FROM unnest($1::uuid[], $2::text[], "
            ),
            "{text}"
        );
        assert!(text.contains(&format!(", ${COLUMNS}::boolean[]) AS new (id, kind, ")), "{text}");
        let claimed = with_lists(claimed!());
        assert_eq!(claimed.split(", ").count(), COLUMNS);
        assert_eq!(claimed.split(", ").nth(at::lease_id), Some("NULL::uuid"));
        assert!(with_lists(lasting!()).starts_with(", kind, queue, lane, priority, args, "));
    }
}
