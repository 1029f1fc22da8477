//! Tokens to make.

use backroom::Scope;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A token to make.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenWanted {
    /// What people call it.
    #[schema(min_length = 1, max_length = 128)]
    pub(crate) name: String,
    /// What it permits: enqueue, work, read, operate, admin.
    #[schema(value_type = Vec<String>, min_items = 1)]
    pub(crate) scopes: Vec<Scope>,
    /// On which queues; `*` in a pattern stands for any text. Empty for every queue.
    #[serde(default)]
    pub(crate) queues: Vec<String>,
    /// For how long, in seconds; null for ever.
    pub(crate) expires_in_secs: Option<u64>,
}
