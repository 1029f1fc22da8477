//! Tokens, the audit log, and requests that are carried out once.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{
    AuditEntry, SecretHash, Timestamp, Token, TokenId,
    audit::{AUDIT_ENTRIES_MAX, AUDIT_FORGOTTEN_MAX, AUDIT_RETENTION},
    bounds::earlier,
    idempotency::{self, Begun, IDEMPOTENCY_FORGOTTEN_MAX, IdempotencyRecord, RequestEnd},
    token::{ENDED_TOKENS_RETAINED, TOKENS_MAX},
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::{
    SqliteStore,
    error::Fault,
    operation::Weight,
    row::{self, micros},
};
use crate::{
    Error,
    store::{AuditVerbs, IdempotencyVerbs, TokenVerbs},
};

/// A token: `token, revoked_at, last_used_at`. The columns are newer than the text.
fn token(found: &Row<'_>) -> rusqlite::Result<Token> {
    Ok(Token {
        revoked_at: row::moment_or_none(found, 1)?,
        last_used_at: row::moment_or_none(found, 2)?,
        ..row::required(found, 0)?
    })
}

fn put_token(connection: &Connection, token: &Token, hash: SecretHash, now: Timestamp) -> Result<(), Fault> {
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO backroom_tokens (id, hash, ended_at, token) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let ended_at = token.ended_at().map(micros);
    insert.execute(params![token.id.0.as_bytes(), hash.0, ended_at, row::encoded(Some(token))?])?;
    let mut forget = connection.prepare_cached("DELETE FROM backroom_tokens WHERE ended_at < ?1")?;
    forget.execute([micros(earlier(now, ENDED_TOKENS_RETAINED))])?;
    Ok(())
}

fn token_where(connection: &Connection, column: &str, value: &[u8]) -> Result<Option<Token>, Fault> {
    let sql = format!("SELECT token, revoked_at, last_used_at FROM backroom_tokens WHERE {column} = ?1");
    Ok(connection.prepare_cached(&sql)?.query_row([value], token).optional()?)
}

fn revoke_token(connection: &Connection, id: TokenId, now: Timestamp) -> Result<Option<Token>, Fault> {
    // There are few tokens and sessions, and a revoke is rare: all are read for it.
    let mut update = connection.prepare_cached(
        "UPDATE backroom_tokens SET revoked_at = ?2, ended_at = min(coalesce(ended_at, ?2), ?2) \
         WHERE (id = ?1 OR json_extract(token, '$.parent') = ?3) AND revoked_at IS NULL",
    )?;
    update.execute(params![id.0.as_bytes(), micros(now), id.0.to_string()])?;
    token_where(connection, "id", id.0.as_bytes())
}

fn token_used(connection: &Connection, id: TokenId, now: Timestamp) -> Result<(), Fault> {
    let mut update = connection.prepare_cached(
        "UPDATE backroom_tokens SET last_used_at = ?2 \
         WHERE id = ?1 AND (last_used_at IS NULL OR last_used_at < ?2)",
    )?;
    update.execute(params![id.0.as_bytes(), micros(now)])?;
    Ok(())
}

fn append_audit(connection: &Connection, entry: &AuditEntry) -> Result<(), Fault> {
    let mut insert = connection
        .prepare_cached("INSERT OR IGNORE INTO backroom_audit (id, at, entry) VALUES (?1, ?2, ?3)")?;
    insert.execute(params![entry.id.as_bytes(), micros(entry.at), row::encoded(Some(entry))?])?;
    // The oldest, as long as they are too old or have too many newer ones. Parameters: the first moment that stays, how many
    // stay, how many to delete.
    let mut forget = connection.prepare_cached(
        "DELETE FROM backroom_audit WHERE id IN (SELECT id FROM backroom_audit \
         WHERE at < ?1 OR id <= (SELECT id FROM backroom_audit ORDER BY id DESC LIMIT 1 OFFSET ?2) \
         ORDER BY id LIMIT ?3)",
    )?;
    let stay = i64::try_from(AUDIT_ENTRIES_MAX).unwrap_or(i64::MAX);
    forget.execute(params![micros(earlier(entry.at, AUDIT_RETENTION)), stay, AUDIT_FORGOTTEN_MAX])?;
    Ok(())
}

fn audit(connection: &Connection, before: Option<Uuid>, limit: usize) -> Result<Vec<AuditEntry>, Fault> {
    let mut select = connection
        .prepare_cached("SELECT entry FROM backroom_audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2")?;
    let before = before.map_or(vec![u8::MAX; 17], |before| before.as_bytes().to_vec());
    let rows = select.query_map(params![before, row::at_most(limit)], |found| row::required(found, 0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn request(connection: &Connection, key: &str) -> Result<Option<IdempotencyRecord>, Fault> {
    let mut select = connection.prepare_cached("SELECT record FROM backroom_requests WHERE key = ?1")?;
    Ok(select.query_row([key], |found| row::required(found, 0)).optional()?)
}

fn put_request(connection: &Connection, record: &IdempotencyRecord) -> Result<(), Fault> {
    let mut upsert = connection.prepare_cached(
        "INSERT OR REPLACE INTO backroom_requests (key, expires_at, record) VALUES (?1, ?2, ?3)",
    )?;
    upsert.execute(params![record.key, micros(record.expires_at), row::encoded(Some(record))?])?;
    Ok(())
}

fn begin_request(
    connection: &Connection,
    wanted: &IdempotencyRecord,
    now: Timestamp,
) -> Result<Begun, Fault> {
    let mut forget = connection.prepare_cached(
        "DELETE FROM backroom_requests WHERE key IN \
         (SELECT key FROM backroom_requests WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
    )?;
    forget.execute(params![micros(now), IDEMPOTENCY_FORGOTTEN_MAX])?;
    let begun = idempotency::begin(request(connection, &wanted.key)?.as_ref(), wanted, now);
    if let Begun::Yours(record) = &begun {
        put_request(connection, record)?;
    }
    Ok(begun)
}

fn end_request(connection: &Connection, key: &str, holder: Uuid, end: &RequestEnd) -> Result<(), Fault> {
    let Some(known) = request(connection, key)? else { return Ok(()) };
    match idempotency::end(&known, holder, end) {
        Some(ended) => put_request(connection, &ended),
        None => {
            connection.prepare_cached("DELETE FROM backroom_requests WHERE key = ?1")?.execute([key])?;
            Ok(())
        }
    }
}

#[async_trait]
impl TokenVerbs for SqliteStore {
    async fn put_token(&self, token: Arc<Token>, hash: SecretHash, now: Timestamp) -> Result<(), Error> {
        self.write(Weight::durable(1), move |tx, _| put_token(tx, &token, hash, now)).await
    }

    async fn tokens(&self) -> Result<Vec<Token>, Error> {
        let all = |reader: &Connection| -> Result<Vec<Token>, Fault> {
            let mut select = reader.prepare_cached(
                "SELECT token, revoked_at, last_used_at FROM backroom_tokens ORDER BY id DESC LIMIT ?1",
            )?;
            let rows = select.query_map([row::at_most(TOKENS_MAX)], token)?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        self.readers.run(all).await
    }

    async fn token_of(&self, hash: SecretHash) -> Result<Option<Token>, Error> {
        self.vital_readers.run(move |reader| token_where(reader, "hash", &hash.0)).await
    }

    async fn revoke_token(&self, id: TokenId, now: Timestamp) -> Result<Option<Token>, Error> {
        self.write(Weight::durable(1), move |tx, _| revoke_token(tx, id, now)).await
    }

    async fn token_used(&self, id: TokenId, now: Timestamp) -> Result<(), Error> {
        self.write(Weight::passing(1), move |tx, _| token_used(tx, id, now)).await
    }
}

#[async_trait]
impl AuditVerbs for SqliteStore {
    async fn append_audit(&self, entry: Arc<AuditEntry>) -> Result<(), Error> {
        self.write(Weight::durable(1), move |tx, _| append_audit(tx, &entry)).await
    }

    async fn audit(&self, before: Option<Uuid>, limit: usize) -> Result<Vec<AuditEntry>, Error> {
        self.readers.run(move |reader| audit(reader, before, limit)).await
    }
}

#[async_trait]
impl IdempotencyVerbs for SqliteStore {
    async fn begin_request(&self, wanted: Arc<IdempotencyRecord>, now: Timestamp) -> Result<Begun, Error> {
        self.write(Weight::durable(1), move |tx, _| begin_request(tx, &wanted, now)).await
    }

    async fn end_request(&self, key: &str, holder: Uuid, end: Arc<RequestEnd>) -> Result<(), Error> {
        let key = key.to_owned();
        self.write(Weight::durable(1), move |tx, _| end_request(tx, &key, holder, &end)).await
    }
}
