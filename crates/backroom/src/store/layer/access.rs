//! Forwards the verbs for tokens, the audit log and requests.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{
    AuditEntry, SecretHash, Timestamp, Token, TokenId,
    idempotency::{Begun, IdempotencyRecord, RequestEnd},
};
use futures_util::FutureExt as _;
use uuid::Uuid;

use super::{Layer, Request, forward};
use crate::{
    Error,
    store::{AuditVerbs, Call, IdempotencyVerbs, TokenVerbs},
};

#[async_trait]
impl<L: Layer> TokenVerbs for L {
    async fn put_token(&self, token: Arc<Token>, hash: SecretHash, now: Timestamp) -> Result<(), Error> {
        forward!(self, Call::First, PutToken { token, hash, now }, |store, _call| store
            .put_token(token, hash, now))
    }

    async fn tokens(&self) -> Result<Vec<Token>, Error> {
        forward!(self, Call::First, Tokens {}, |store, _call| store.tokens())
    }

    async fn token_of(&self, hash: SecretHash) -> Result<Option<Token>, Error> {
        forward!(self, Call::First, TokenOf { hash }, |store, _call| store.token_of(hash))
    }

    async fn revoke_token(&self, id: TokenId, now: Timestamp) -> Result<Option<Token>, Error> {
        forward!(self, Call::First, RevokeToken { id, now }, |store, _call| store.revoke_token(id, now))
    }

    async fn token_used(&self, id: TokenId, now: Timestamp) -> Result<(), Error> {
        forward!(self, Call::First, TokenUsed { id, now }, |store, _call| store.token_used(id, now))
    }
}

#[async_trait]
impl<L: Layer> AuditVerbs for L {
    async fn append_audit(&self, entry: Arc<AuditEntry>) -> Result<(), Error> {
        forward!(self, Call::First, AppendAudit { entry }, |store, _call| store.append_audit(entry))
    }

    async fn audit(&self, before: Option<Uuid>, limit: usize) -> Result<Vec<AuditEntry>, Error> {
        forward!(self, Call::First, Audit { before, limit }, |store, _call| store.audit(before, limit))
    }
}

#[async_trait]
impl<L: Layer> IdempotencyVerbs for L {
    async fn begin_request(&self, wanted: Arc<IdempotencyRecord>, now: Timestamp) -> Result<Begun, Error> {
        forward!(self, Call::First, BeginRequest { wanted, now }, |store, _call| store
            .begin_request(wanted, now))
    }

    async fn end_request(&self, key: &str, holder: Uuid, end: Arc<RequestEnd>) -> Result<(), Error> {
        let key: Arc<str> = key.into();
        forward!(self, Call::First, EndRequest { key, holder, end }, |store, _call| store
            .end_request(&key, holder, end))
    }
}
