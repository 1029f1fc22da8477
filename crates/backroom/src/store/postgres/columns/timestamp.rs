//! Timestamps in the binary format: `timestamptz` is microseconds since 2000.

use std::error::Error;

use backroom_core::Timestamp;
use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// 2000-01-01T00:00:00Z in microseconds since 1970.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// The earliest moment that PostgreSQL can store, 4714 BC, in its own microseconds.
const EARLIEST_MICROS: i64 = -211_813_488_000_000_000;

/// A moment as a parameter or column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PgTimestamp(pub(crate) Timestamp);

impl ToSql for PgTimestamp {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        // Only bounds of searches can be earlier than what PostgreSQL can store, and for those the earliest moment
        // means the same.
        out.put_i64(self.0.as_microsecond().saturating_sub(EPOCH_MICROS).max(EARLIEST_MICROS));
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for PgTimestamp {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let micros = i64::from_be_bytes(raw.try_into()?).saturating_add(EPOCH_MICROS);
        Ok(Self(Timestamp::from_microsecond(micros)?))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

/// The moment as a parameter.
pub(crate) fn opt(at: Option<Timestamp>) -> Option<PgTimestamp> {
    at.map(PgTimestamp)
}
