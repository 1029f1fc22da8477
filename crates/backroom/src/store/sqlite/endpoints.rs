//! Endpoints of callbacks that have ended.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    error::Fault,
    row::{self, micros},
};
use crate::store::{ENDED_ENDPOINTS_MAX, EndedEndpoint};

/// Remembers that an endpoint has ended; of too many, forgets those that ended first.
pub(super) fn end(connection: &Connection, endpoint: &EndedEndpoint) -> Result<(), Fault> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO backroom_ended_endpoints (url, reason, ended_at) VALUES (?1, ?2, ?3) \
         ON CONFLICT (url) DO NOTHING",
    )?;
    insert.execute(params![endpoint.url, endpoint.reason, micros(endpoint.ended_at)])?;
    let mut forget = connection.prepare_cached(
        "DELETE FROM backroom_ended_endpoints WHERE url IN \
           (SELECT url FROM backroom_ended_endpoints ORDER BY ended_at DESC, url LIMIT -1 OFFSET ?1)",
    )?;
    forget.execute([ENDED_ENDPOINTS_MAX])?;
    Ok(())
}

/// When and why an endpoint ended.
pub(super) fn find(connection: &Connection, url: &str) -> Result<Option<EndedEndpoint>, Fault> {
    let mut select = connection
        .prepare_cached("SELECT url, reason, ended_at FROM backroom_ended_endpoints WHERE url = ?1")?;
    Ok(select.query_row([url], endpoint).optional()?)
}

/// Endpoints that have ended, by URL.
pub(super) fn list(
    connection: &Connection,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<EndedEndpoint>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT url, reason, ended_at FROM backroom_ended_endpoints WHERE url > ?1 ORDER BY url LIMIT ?2",
    )?;
    // No URL is empty.
    let rows = select.query_map(params![after.unwrap_or_default(), row::at_most(limit)], endpoint)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets that an endpoint has ended; answers how many there were.
pub(super) fn enable(connection: &Connection, url: &str) -> Result<u64, Fault> {
    let mut delete = connection.prepare_cached("DELETE FROM backroom_ended_endpoints WHERE url = ?1")?;
    Ok(delete.execute([url])? as u64)
}

fn endpoint(found: &Row<'_>) -> rusqlite::Result<EndedEndpoint> {
    Ok(EndedEndpoint { url: found.get(0)?, reason: found.get(1)?, ended_at: row::moment(found, 2)? })
}
