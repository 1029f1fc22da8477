//! What a trigger is, as the store keeps it: enough to list it, to test its mapping and to replay its dead letters without its
//! source.

use backroom::{Invalid, Json};
use serde::{Deserialize, Serialize};

use crate::MappingRule;

/// What a trigger is, without secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// The kind of its source: `folder`, `hook`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What its source reads.
    pub source: serde_json::Value,
    /// Which jobs its deliveries become.
    pub mapping: MappingRule,
}

impl Definition {
    /// From what the store has.
    pub fn stored(json: &Json) -> Result<Self, Invalid> {
        json.decode()
    }

    /// For the store.
    pub fn to_json(&self) -> Result<Json, Invalid> {
        Json::encode(self)
    }
}
