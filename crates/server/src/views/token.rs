//! Tokens, and the audit log of what was done with them and at the machine.

use backroom::{AuditEntry, Token};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::rows::{AuditEntrySchema, TokenSchema};

/// All tokens.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TokenList {
    /// The newest first; those that ended stay for 90 days.
    #[schema(value_type = Vec<TokenSchema>)]
    pub(crate) tokens: Vec<Token>,
}

/// A new token, and its secret beside its other fields.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = NewToken)]
pub(crate) struct NewTokenView {
    /// The token.
    #[serde(flatten)]
    #[schema(value_type = TokenSchema)]
    pub(crate) token: Token,
    /// What its holder sends as `Authorization: Bearer …`. It is not stored and cannot be read again.
    #[schema(example = "brm_…")]
    pub(crate) secret: String,
}

/// A page of the audit log.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AuditPage {
    /// What was done, the newest first.
    #[schema(value_type = Vec<AuditEntrySchema>)]
    pub(crate) entries: Vec<AuditEntry>,
    /// Pass it as `before` for the next page; null on the last one.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) next: Option<Uuid>,
}

impl AuditPage {
    /// Of at most `limit` entries. A full page may have another behind it.
    pub(crate) fn new(entries: Vec<AuditEntry>, limit: usize) -> Self {
        let next = entries.last().filter(|_| entries.len() >= limit).map(|entry| entry.id);
        Self { entries, next }
    }
}
