//! What an operator asks a store about itself.

use serde::{Deserialize, Serialize};

/// How safe an acknowledged write is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// It survives the death of the process and the loss of power.
    #[default]
    Full,
    /// It survives the death of the process; power loss may take the last moments with it.
    Relaxed,
}

/// What an operator wants to know about a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `memory`, `sqlite` or `postgres`, and where.
    pub store: String,
    /// Version of the engine behind it.
    pub engine: String,
    /// Version of our schema.
    pub schema: u32,
    /// How safe an acknowledged write is.
    pub durability: Durability,
    /// Size of all files or tables.
    pub bytes: Option<u64>,
    /// What was checked.
    pub checks: Vec<HealthCheck>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found and, if it is not as it should be, what to do.
    pub found: String,
}
