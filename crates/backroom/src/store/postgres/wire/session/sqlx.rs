//! Our statements through sqlx. Both drivers speak PostgreSQL's binary format, so parameters are encoded and columns
//! decoded by the traits of tokio-postgres here too: no statement and no column is written twice.

use std::{error::Error as StdError, fmt};

use bytes::BytesMut;
use sqlx::{
    Arguments, AssertSqlSafe, Encode, PgConnection, Postgres, Row as _, Type as Typed, TypeInfo, ValueRef,
    encode::IsNull,
    error::BoxDynError,
    postgres::{
        PgArgumentBuffer, PgArguments, PgDatabaseError, PgRow, PgTypeInfo, PgValueFormat, types::Oid,
    },
};
use tokio_postgres::{
    error::SqlState,
    types::{self, FromSql, Type},
};

use crate::{
    ErrorKind,
    store::postgres::wire::{connection::Param, error::Fault, sql::Sql},
};

/// Runs a statement with the names of `schema` in it.
pub(super) async fn query(
    connection: &mut PgConnection,
    schema: &str,
    sql: &Sql,
    params: &[Param<'_>],
) -> Result<Vec<PgRow>, Fault> {
    let mut arguments = PgArguments::default();
    for (param, ty) in params.iter().zip(sql.types) {
        arguments.add(Argument { param: *param, ty }).map_err(sqlx::Error::Encode)?;
    }
    // Safe: the text is ours, and the name of a schema was checked when the store was opened.
    let text = AssertSqlSafe(sql.for_schema(schema));
    // Not prepared on the caller's connection: a plan that was made for an empty queue would be used for a full one, the
    // caller's own statements would be dropped for ours, and a pooler may run the connection's next transaction in
    // another server process.
    Ok(sqlx::query_with(text, arguments).persistent(false).fetch_all(connection).await?)
}

/// Runs statements without parameters; what they answer is dropped.
pub(super) async fn run(connection: &mut PgConnection, statements: &'static str) -> Result<(), Fault> {
    sqlx::raw_sql(statements).execute(connection).await?;
    Ok(())
}

/// A parameter and its type, for sqlx.
struct Argument<'a> {
    param: Param<'a>,
    ty: &'a Type,
}

impl Encode<'_, Postgres> for Argument<'_> {
    fn encode_by_ref(&self, out: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let mut encoded = BytesMut::new();
        match self.param.to_sql_checked(self.ty, &mut encoded)? {
            types::IsNull::Yes => Ok(IsNull::Yes),
            types::IsNull::No => {
                out.extend_from_slice(&encoded);
                Ok(IsNull::No)
            }
        }
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.ty.oid())))
    }
}

impl Typed<Postgres> for Argument<'_> {
    /// Each argument has its own in `produces`; 0 leaves it to the server.
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

/// A column of a row, by its place.
pub(super) fn cell<'a, T: FromSql<'a>>(row: &'a PgRow, column: usize) -> Result<T, Fault> {
    let value = row.try_get_raw(column)?;
    decoded(&value)
        .map_err(|source| Fault::from(sqlx::Error::ColumnDecode { index: column.to_string(), source }))
}

fn decoded<'a, T: FromSql<'a>>(value: &sqlx::postgres::PgValueRef<'a>) -> Result<T, BoxDynError> {
    let info = value.type_info();
    let ty = info.oid().and_then(|oid| Type::from_oid(oid.0));
    let Some(ty) = ty.filter(T::accepts) else {
        return Err(format!("a column of the type {} was not expected", info.name()).into());
    };
    if value.format() != PgValueFormat::Binary {
        return Err("a column came as text, though it was asked for in binary".into());
    }
    if value.is_null() { T::from_sql_null(&ty) } else { T::from_sql(&ty, value.as_bytes()?) }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlx { code: answer(&error).map(|answer| SqlState::from_code(answer.code())), error }
    }
}

/// What the server answered, if it was the server that failed.
fn answer(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

/// What the caller should do about a failure that the server did not answer.
pub(crate) fn kind_without_code(error: &sqlx::Error) -> ErrorKind {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) => ErrorKind::Unavailable,
        // Values that do not encode or decode, and bytes that made no sense. Pools and pulled threads are not used here.
        _ => ErrorKind::Internal,
    }
}

/// What the server or the system answered.
#[derive(Debug)]
pub(crate) struct Said(pub(crate) sqlx::Error);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match answer(&self.0) {
            Some(said) => {
                write!(f, "{} (SQLSTATE {})", said.message(), said.code())?;
                said.detail().map_or(Ok(()), |detail| write!(f, ": {detail}"))
            }
            None => self.0.fmt(f),
        }
    }
}

impl StdError for Said {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}
