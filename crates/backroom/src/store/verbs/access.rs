//! Verbs for who may do what, and who did what: tokens, the audit log, requests that are carried out once.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{
    AuditEntry, SecretHash, Timestamp, Token, TokenId,
    idempotency::{Begun, IdempotencyRecord, RequestEnd},
};
use uuid::Uuid;

use crate::Error;

/// Stores tokens under the hashes of their secrets.
#[async_trait]
pub trait TokenVerbs: Send + Sync {
    /// Stores a token whose id is new, and forgets some of those that ended long ago
    /// ([`ENDED_TOKENS_RETAINED`](backroom_core::token::ENDED_TOKENS_RETAINED)). A repeated call changes nothing.
    async fn put_token(&self, token: Arc<Token>, hash: SecretHash, now: Timestamp) -> Result<(), Error>;

    /// All tokens, also those that have ended, the newest first; at most
    /// [`TOKENS_MAX`](backroom_core::token::TOKENS_MAX).
    async fn tokens(&self) -> Result<Vec<Token>, Error>;

    /// The token whose secret has this hash, whether it has ended or not.
    async fn token_of(&self, hash: SecretHash) -> Result<Option<Token>, Error>;

    /// Revokes a token and all sessions that were opened with it from `now` on, together, and answers with it. What is revoked already
    /// stays revoked since its first moment.
    async fn revoke_token(&self, id: TokenId, now: Timestamp) -> Result<Option<Token>, Error>;

    /// Writes that a token was used at `now`, unless a later use is written already.
    async fn token_used(&self, id: TokenId, now: Timestamp) -> Result<(), Error>;
}

/// Appends to the audit log and reads it.
#[async_trait]
pub trait AuditVerbs: Send + Sync {
    /// Appends an entry whose id is new, and deletes some of those beyond the bounds of age and number
    /// ([`audit`](backroom_core::audit)). A repeated call changes nothing. Durable once it answers.
    async fn append_audit(&self, entry: Arc<AuditEntry>) -> Result<(), Error>;

    /// Entries by id, the newest first, at most `limit`, below `before` when given.
    async fn audit(&self, before: Option<Uuid>, limit: usize) -> Result<Vec<AuditEntry>, Error>;
}

/// Remembers requests by the keys that callers chose.
#[async_trait]
pub trait IdempotencyVerbs: Send + Sync {
    /// Begins a request as [`begin`](backroom_core::idempotency::begin) decides, and deletes some expired records. Durable
    /// once it answers. A repeated call of the same holder answers [`Begun::Yours`] again.
    async fn begin_request(&self, wanted: Arc<IdempotencyRecord>, now: Timestamp) -> Result<Begun, Error>;

    /// Ends a request as [`end`](backroom_core::idempotency::end) decides. Nothing happens if another call holds it, or if
    /// there is no such record.
    async fn end_request(&self, key: &str, holder: Uuid, end: Arc<RequestEnd>) -> Result<(), Error>;
}
