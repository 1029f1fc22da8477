//! Tokens, the audit log and requests of the memory store.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use backroom_core::{
    AuditEntry, SecretHash, Timestamp, Token, TokenId,
    audit::{AUDIT_ENTRIES_MAX, AUDIT_FORGOTTEN_MAX, AUDIT_RETENTION},
    bounds::earlier,
    idempotency::{self, Begun, IDEMPOTENCY_FORGOTTEN_MAX, IdempotencyRecord, RequestEnd},
    token::{ENDED_TOKENS_RETAINED, TOKENS_MAX},
};
use uuid::Uuid;

use super::MemoryStore;
use crate::{
    Error,
    store::{AuditVerbs, IdempotencyVerbs, TokenVerbs},
};

/// Their rows, each map by its primary key.
#[derive(Debug, Default)]
pub(super) struct Access {
    tokens: BTreeMap<TokenId, (SecretHash, Token)>,
    audit: BTreeMap<Uuid, AuditEntry>,
    requests: BTreeMap<String, IdempotencyRecord>,
}

#[async_trait]
impl TokenVerbs for MemoryStore {
    async fn put_token(&self, token: Arc<Token>, hash: SecretHash, now: Timestamp) -> Result<(), Error> {
        self.write(|rows| {
            let tokens = &mut rows.access.tokens;
            tokens.entry(token.id).or_insert_with(|| (hash, Token::clone(&token)));
            let since = earlier(now, ENDED_TOKENS_RETAINED);
            tokens.retain(|_, (_, token)| token.ended_at().is_none_or(|at| at >= since));
        })
    }

    async fn tokens(&self) -> Result<Vec<Token>, Error> {
        self.read(|rows| {
            let tokens = rows.access.tokens.values().rev().take(TOKENS_MAX);
            tokens.map(|(_, token)| token.clone()).collect()
        })
    }

    async fn token_of(&self, hash: SecretHash) -> Result<Option<Token>, Error> {
        self.read(|rows| {
            let found = rows.access.tokens.values().find(|(stored, _)| *stored == hash);
            found.map(|(_, token)| token.clone())
        })
    }

    async fn revoke_token(&self, id: TokenId, now: Timestamp) -> Result<Option<Token>, Error> {
        self.write(|rows| {
            for (_, token) in rows.access.tokens.values_mut() {
                if token.id == id || token.parent == Some(id) {
                    token.revoked_at = token.revoked_at.or(Some(now));
                }
            }
            rows.access.tokens.get(&id).map(|(_, token)| token.clone())
        })
    }

    async fn token_used(&self, id: TokenId, now: Timestamp) -> Result<(), Error> {
        self.write(|rows| {
            if let Some((_, token)) = rows.access.tokens.get_mut(&id) {
                token.last_used_at = token.last_used_at.max(Some(now));
            }
        })
    }
}

#[async_trait]
impl AuditVerbs for MemoryStore {
    async fn append_audit(&self, entry: Arc<AuditEntry>) -> Result<(), Error> {
        self.write(|rows| {
            let audit = &mut rows.access.audit;
            audit.entry(entry.id).or_insert_with(|| AuditEntry::clone(&entry));
            let since = earlier(entry.at, AUDIT_RETENTION);
            let beyond = (audit.len() as u64).saturating_sub(AUDIT_ENTRIES_MAX);
            let old = audit.values().enumerate();
            let old = old.filter(|(place, old)| (*place as u64) < beyond || old.at < since);
            let old: Vec<Uuid> = old.map(|(_, old)| old.id).take(AUDIT_FORGOTTEN_MAX as usize).collect();
            old.iter().for_each(|id| _ = audit.remove(id));
        })
    }

    async fn audit(&self, before: Option<Uuid>, limit: usize) -> Result<Vec<AuditEntry>, Error> {
        self.read(|rows| {
            let entries = rows.access.audit.values().rev();
            entries
                .filter(|entry| before.is_none_or(|before| entry.id < before))
                .take(limit)
                .cloned()
                .collect()
        })
    }
}

#[async_trait]
impl IdempotencyVerbs for MemoryStore {
    async fn begin_request(&self, wanted: Arc<IdempotencyRecord>, now: Timestamp) -> Result<Begun, Error> {
        self.write(|rows| {
            let requests = &mut rows.access.requests;
            let expired = requests.values().filter(|record| record.expires_at <= now);
            let expired: Vec<String> =
                expired.take(IDEMPOTENCY_FORGOTTEN_MAX as usize).map(|record| record.key.clone()).collect();
            expired.iter().for_each(|key| _ = requests.remove(key));
            let begun = idempotency::begin(requests.get(&wanted.key), &wanted, now);
            if let Begun::Yours(record) = &begun {
                requests.insert(record.key.clone(), record.clone());
            }
            begun
        })
    }

    async fn end_request(&self, key: &str, holder: Uuid, end: Arc<RequestEnd>) -> Result<(), Error> {
        self.write(|rows| {
            let requests = &mut rows.access.requests;
            let Some(known) = requests.get(key) else { return };
            match idempotency::end(known, holder, &end) {
                Some(ended) => _ = requests.insert(key.to_owned(), ended),
                None => _ = requests.remove(key),
            }
        })
    }
}
