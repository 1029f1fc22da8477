//! Schemas of tokens and of the audit log.

use serde_json::Value;
use utoipa::ToSchema;

use super::ScopeWord;

/// A token, without its secret.
#[derive(ToSchema)]
#[schema(as = Token)]
pub(crate) struct TokenSchema {
    #[schema(format = "uuid")]
    id: String,
    /// What people call it.
    name: String,
    /// What it permits.
    scopes: Vec<ScopeWord>,
    /// Patterns of queues; empty for every queue.
    queues: Vec<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
    /// To the minute.
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
}

/// An administrative act.
#[derive(ToSchema)]
#[schema(as = AuditEntry)]
pub(crate) struct AuditEntrySchema {
    #[schema(format = "uuid")]
    id: String,
    #[schema(format = DateTime)]
    at: String,
    /// The name and id of a token, or the user of the machine.
    who: String,
    /// What was done.
    #[schema(example = "queue.pause")]
    act: String,
    /// To what. Empty where the detail says it.
    target: String,
    /// What else belongs to it.
    detail: Value,
}
