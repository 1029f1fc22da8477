//! Endpoints of callbacks that have ended.

use tokio_postgres::{Row, types::Type};

use crate::store::postgres::{
    Core,
    columns::{row, timestamp::PgTimestamp},
    wire::{error::Fault, sql::Sql},
};
use crate::store::{ENDED_ENDPOINTS_MAX, EndedEndpoint};

/// Remembers that an endpoint has ended. Parameters: URL, reason, moment.
static END: Sql = Sql {
    text: "INSERT INTO {schema}.ended_endpoints (url, reason, ended_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    types: &[Type::TEXT, Type::TEXT, Type::TIMESTAMPTZ],
};

/// Forgets those that ended first. Parameter: how many stay.
static FORGET: Sql = Sql {
    text: "DELETE FROM {schema}.ended_endpoints WHERE url IN \
             (SELECT url FROM {schema}.ended_endpoints ORDER BY ended_at DESC, url OFFSET $1)",
    types: &[Type::INT8],
};

/// One endpoint. Parameter: URL.
static FIND: Sql = Sql {
    text: "SELECT url, reason, ended_at FROM {schema}.ended_endpoints WHERE url = $1",
    types: &[Type::TEXT],
};

/// Endpoints by URL. Parameters: the URL before the first one, how many at most.
static LIST: Sql = Sql {
    text: "SELECT url, reason, ended_at FROM {schema}.ended_endpoints WHERE url > $1 ORDER BY url LIMIT $2",
    types: &[Type::TEXT, Type::INT8],
};

/// Forgets one endpoint. Parameter: URL.
static ENABLE: Sql =
    Sql { text: "DELETE FROM {schema}.ended_endpoints WHERE url = $1 RETURNING url", types: &[Type::TEXT] };

/// Remembers that an endpoint has ended; of too many, forgets those that ended first.
pub(crate) async fn end(core: &Core, endpoint: &EndedEndpoint) -> Result<(), Fault> {
    let ended_at = PgTimestamp(endpoint.ended_at);
    core.writer.query(&END, &[&endpoint.url, &endpoint.reason, &ended_at]).await?;
    core.writer.query(&FORGET, &[&i64::from(ENDED_ENDPOINTS_MAX)]).await?;
    Ok(())
}

/// When and why an endpoint ended.
pub(crate) async fn find(core: &Core, url: &str) -> Result<Option<EndedEndpoint>, Fault> {
    core.claims.query(&FIND, &[&url]).await?.first().map(endpoint).transpose()
}

/// Endpoints that have ended, by URL.
pub(crate) async fn list(
    core: &Core,
    after: Option<String>,
    limit: usize,
) -> Result<Vec<EndedEndpoint>, Fault> {
    // No URL is empty.
    let after = after.unwrap_or_default();
    core.claims.query(&LIST, &[&after, &row::at_most(limit)]).await?.iter().map(endpoint).collect()
}

/// Forgets that an endpoint has ended; answers how many there were.
pub(crate) async fn enable(core: &Core, url: &str) -> Result<u64, Fault> {
    Ok(core.writer.query(&ENABLE, &[&url]).await?.len() as u64)
}

fn endpoint(found: &Row) -> Result<EndedEndpoint, Fault> {
    Ok(EndedEndpoint { url: found.try_get(0)?, reason: found.try_get(1)?, ended_at: row::moment(found, 2)? })
}
