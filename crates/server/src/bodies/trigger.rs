//! Triggers, and messages to try them with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a trigger is paused.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TriggerPause {
    /// For people. Default: by a call of the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// A message to try a trigger with. [`Sample`](backroom_triggers::admin::Sample) reads it.
#[derive(ToSchema)]
#[schema(as = TriggerSample)]
#[expect(dead_code, reason = "it describes what the triggers' crate reads, and is never made")]
pub(crate) struct SampleSchema {
    /// Its identity. Default `test`.
    identity: Option<String>,
    /// Headers by name.
    #[schema(required = false)]
    headers: BTreeMap<String, String>,
    /// What it is in order with.
    key: Option<String>,
    /// The body as text.
    #[schema(required = false)]
    body: String,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use backroom_triggers::admin::Sample;
    use utoipa::PartialSchema as _;

    use super::*;

    #[test]
    fn the_schema_of_a_sample_has_its_fields() {
        let names = |value: &serde_json::Value| {
            value.as_object().expect("an object").keys().cloned().collect::<BTreeSet<_>>()
        };
        let schema = serde_json::to_value(SampleSchema::schema()).expect("a schema is JSON");
        let sample = serde_json::to_value(Sample::default()).expect("a sample is JSON");
        assert_eq!(names(&schema["properties"]), names(&sample));
    }
}
