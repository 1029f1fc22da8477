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
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use crate::store::postgres::{
    Core, PostgresStore,
    columns::{
        row,
        timestamp::{PgTimestamp, opt},
    },
    failing,
    wire::{connection::Transaction, error::Fault, sql::Sql},
};
use crate::{
    Error,
    store::{AuditVerbs, IdempotencyVerbs, TokenVerbs},
};

/// Stores a token. Parameters: id, hash, ended_at, token.
static PUT_TOKEN: Sql = Sql {
    text: "INSERT INTO {schema}.tokens (id, hash, ended_at, token) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    types: &[Type::UUID, Type::BYTEA, Type::TIMESTAMPTZ, Type::TEXT],
};

/// Forgets tokens that ended long ago. Parameter: the first moment that stays.
static FORGET_TOKENS: Sql =
    Sql { text: "DELETE FROM {schema}.tokens WHERE ended_at < $1", types: &[Type::TIMESTAMPTZ] };

/// All tokens, the newest first. Parameter: how many.
static TOKENS: Sql = Sql {
    text: "SELECT token, revoked_at, last_used_at FROM {schema}.tokens ORDER BY id DESC LIMIT $1",
    types: &[Type::INT8],
};

/// The token of a secret. Parameter: its hash.
static TOKEN_OF: Sql = Sql {
    text: "SELECT token, revoked_at, last_used_at FROM {schema}.tokens WHERE hash = $1",
    types: &[Type::BYTEA],
};

/// Revokes a token and its sessions, unless they are revoked. Answers with each, and whether it is the token itself. Parameters: id, now.
static REVOKE: Sql = Sql {
    text: "UPDATE {schema}.tokens SET revoked_at = coalesce(revoked_at, $2), ended_at = least(ended_at, $2) \
           WHERE id = $1 OR (token::jsonb ->> 'parent')::uuid = $1 \
           RETURNING token, revoked_at, last_used_at, id = $1",
    types: &[Type::UUID, Type::TIMESTAMPTZ],
};

/// Writes that a token was used. Parameters: id, now.
static USED: Sql = Sql {
    text: "UPDATE {schema}.tokens SET last_used_at = $2 \
           WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)",
    types: &[Type::UUID, Type::TIMESTAMPTZ],
};

/// Appends to the audit log. Parameters: the columns.
static APPEND: Sql = Sql {
    text: "INSERT INTO {schema}.audit (id, at, entry) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    types: &[Type::UUID, Type::TIMESTAMPTZ, Type::TEXT],
};

/// Deletes the oldest entries that are too old or have too many newer ones, except those that another transaction deletes
/// now. Parameters: the first moment that stays, how many stay, how many to delete.
static FORGET_AUDIT: Sql = Sql {
    text: "DELETE FROM {schema}.audit WHERE id = ANY (ARRAY(SELECT id FROM {schema}.audit \
           WHERE at < $1 OR id <= (SELECT id FROM {schema}.audit ORDER BY id DESC OFFSET $2 LIMIT 1) \
           ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED))",
    types: &[Type::TIMESTAMPTZ, Type::INT8, Type::INT8],
};

/// Entries of the audit log, the newest first. Parameters: below which id, how many.
static AUDIT: Sql = Sql {
    text: "SELECT entry FROM {schema}.audit WHERE id < $1 ORDER BY id DESC LIMIT $2",
    types: &[Type::UUID, Type::INT8],
};

/// Deletes expired requests, except those that another transaction has locked. Parameters: now, how many.
static FORGET_REQUESTS: Sql = Sql {
    text: "DELETE FROM {schema}.requests WHERE key = ANY (ARRAY(SELECT key FROM {schema}.requests \
           WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
    types: &[Type::TIMESTAMPTZ, Type::INT8],
};

/// Stores a request whose key is free. Answers with it if it was. Parameters: the columns.
static NEW_REQUEST: Sql = Sql {
    text: "INSERT INTO {schema}.requests (key, expires_at, record) VALUES ($1, $2, $3) \
           ON CONFLICT DO NOTHING RETURNING record",
    types: &[Type::TEXT, Type::TIMESTAMPTZ, Type::TEXT],
};

/// A request, locked until the transaction ends. Parameter: its key.
static REQUEST: Sql =
    Sql { text: "SELECT record FROM {schema}.requests WHERE key = $1 FOR UPDATE", types: &[Type::TEXT] };

/// Changes a request. Parameters: the columns.
static SET_REQUEST: Sql = Sql {
    text: "UPDATE {schema}.requests SET expires_at = $2, record = $3 WHERE key = $1",
    types: &[Type::TEXT, Type::TIMESTAMPTZ, Type::TEXT],
};

/// Deletes a request. Parameter: its key.
static DELETE_REQUEST: Sql =
    Sql { text: "DELETE FROM {schema}.requests WHERE key = $1", types: &[Type::TEXT] };

/// A token from a row of the statements above. The columns are newer than the text.
fn token(found: &Row) -> Result<Token, Fault> {
    let token: Token = row::decoded(found.try_get(0)?)?;
    Ok(Token {
        revoked_at: row::moment_or_none(found, 1)?,
        last_used_at: row::moment_or_none(found, 2)?,
        ..token
    })
}

async fn put_token(core: &Core, token: &Token, hash: SecretHash, now: Timestamp) -> Result<(), Fault> {
    let text = row::encoded(token)?;
    let hash = hash.0.as_slice();
    core.writer.query(&PUT_TOKEN, &[&token.id.0, &hash, &opt(token.ended_at()), &text]).await?;
    let since = PgTimestamp(earlier(now, ENDED_TOKENS_RETAINED));
    core.writer.query(&FORGET_TOKENS, &[&since]).await.map(drop)
}

async fn append_audit(core: &Core, entry: &AuditEntry) -> Result<(), Fault> {
    let text = row::encoded(entry)?;
    core.writer.query(&APPEND, &[&entry.id, &PgTimestamp(entry.at), &text]).await?;
    let since = PgTimestamp(earlier(entry.at, AUDIT_RETENTION));
    let stay = i64::try_from(AUDIT_ENTRIES_MAX).unwrap_or(i64::MAX);
    let params: [_; 3] = [&since as _, &stay as _, &i64::from(AUDIT_FORGOTTEN_MAX) as _];
    core.writer.query(&FORGET_AUDIT, &params).await.map(drop)
}

async fn audit(core: &Core, before: Option<Uuid>, limit: usize) -> Result<Vec<AuditEntry>, Fault> {
    let before = before.unwrap_or(Uuid::max());
    let rows = core.reads.query(&AUDIT, &[&before, &row::at_most(limit)]).await?;
    rows.iter().map(|found| row::decoded(found.try_get(0)?)).collect()
}

async fn request(transaction: &Transaction, key: &str) -> Result<Option<IdempotencyRecord>, Fault> {
    let rows = transaction.query(&REQUEST, &[&key]).await?;
    rows.first().map(|found| row::decoded(found.try_get(0)?)).transpose()
}

async fn put_request(
    transaction: &Transaction,
    sql: &'static Sql,
    record: &IdempotencyRecord,
) -> Result<bool, Fault> {
    let text = row::encoded(record)?;
    let rows = transaction.query(sql, &[&record.key, &PgTimestamp(record.expires_at), &text]).await?;
    Ok(!rows.is_empty())
}

async fn begin_request(core: &Core, wanted: &IdempotencyRecord, now: Timestamp) -> Result<Begun, Fault> {
    let few = i64::from(IDEMPOTENCY_FORGOTTEN_MAX);
    let transaction = core.writer.begin().await?;
    transaction.query(&FORGET_REQUESTS, &[&PgTimestamp(now), &few]).await?;
    // Waits for another transaction that stores the same key; afterwards it is there to be read.
    let begun = if put_request(&transaction, &NEW_REQUEST, wanted).await? {
        Begun::Yours(wanted.clone())
    } else {
        let known = request(&transaction, &wanted.key).await?;
        let begun = idempotency::begin(known.as_ref(), wanted, now);
        if let Begun::Yours(record) = &begun {
            put_request(&transaction, &SET_REQUEST, record).await?;
        }
        begun
    };
    transaction.commit().await?;
    Ok(begun)
}

async fn end_request(core: &Core, key: &str, holder: Uuid, end: &RequestEnd) -> Result<(), Fault> {
    let transaction = core.writer.begin().await?;
    if let Some(known) = request(&transaction, key).await? {
        match idempotency::end(&known, holder, end) {
            Some(ended) => _ = put_request(&transaction, &SET_REQUEST, &ended).await?,
            None => _ = transaction.query(&DELETE_REQUEST, &[&key]).await?,
        }
    }
    transaction.commit().await.map(drop)
}

#[async_trait]
impl TokenVerbs for PostgresStore {
    async fn put_token(&self, token: Arc<Token>, hash: SecretHash, now: Timestamp) -> Result<(), Error> {
        put_token(&self.core, &token, hash, now).await.map_err(failing("store a token"))
    }

    async fn tokens(&self) -> Result<Vec<Token>, Error> {
        let all = async {
            let rows = self.core.reads.query(&TOKENS, &[&row::at_most(TOKENS_MAX)]).await?;
            rows.iter().map(token).collect::<Result<Vec<_>, Fault>>()
        };
        all.await.map_err(failing("list tokens"))
    }

    async fn token_of(&self, hash: SecretHash) -> Result<Option<Token>, Error> {
        let hash = hash.0.as_slice();
        let found = async {
            let rows = self.core.claims.query(&TOKEN_OF, &[&hash]).await?;
            rows.first().map(token).transpose()
        };
        found.await.map_err(failing("find a token"))
    }

    async fn revoke_token(&self, id: TokenId, now: Timestamp) -> Result<Option<Token>, Error> {
        let revoked = async {
            let rows = self.core.writer.query(&REVOKE, &[&id.0, &PgTimestamp(now)]).await?;
            for found in &rows {
                if found.try_get(3)? {
                    return token(found).map(Some);
                }
            }
            Ok(None)
        };
        revoked.await.map_err(failing("revoke a token"))
    }

    async fn token_used(&self, id: TokenId, now: Timestamp) -> Result<(), Error> {
        let used = self.core.writer.query(&USED, &[&id.0, &PgTimestamp(now)]).await;
        used.map(drop).map_err(failing("write that a token was used"))
    }
}

#[async_trait]
impl AuditVerbs for PostgresStore {
    async fn append_audit(&self, entry: Arc<AuditEntry>) -> Result<(), Error> {
        append_audit(&self.core, &entry).await.map_err(failing("append to the audit log"))
    }

    async fn audit(&self, before: Option<Uuid>, limit: usize) -> Result<Vec<AuditEntry>, Error> {
        audit(&self.core, before, limit).await.map_err(failing("read the audit log"))
    }
}

#[async_trait]
impl IdempotencyVerbs for PostgresStore {
    async fn begin_request(&self, wanted: Arc<IdempotencyRecord>, now: Timestamp) -> Result<Begun, Error> {
        begin_request(&self.core, &wanted, now).await.map_err(failing("begin a request"))
    }

    async fn end_request(&self, key: &str, holder: Uuid, end: Arc<RequestEnd>) -> Result<(), Error> {
        end_request(&self.core, key, holder, &end).await.map_err(failing("end a request"))
    }
}
