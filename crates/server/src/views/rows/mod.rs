//! Schemas of the library's rows, for the document. The rows themselves are written by the library; a test compares the fields.
#![expect(dead_code, reason = "these types describe what the library writes, and are never made")]

mod history;
pub(super) mod job;
pub(super) mod queue;
pub(super) mod reply;
pub(crate) mod schedule;
mod token;
#[cfg(feature = "triggers")]
pub(super) mod trigger;
pub(super) mod worker;

use std::borrow::Cow;

use backroom::{
    AttemptEnd, BatchState, DisplayState, MessageKind, OnFailure, PausedBy, Scope, State,
    core::dependency::EdgeState,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ObjectBuilder, Type},
    },
};

pub(crate) use self::{
    history::{AttemptSchema, LogLineSchema, ReasonSchema},
    job::{CallbackSchema, ExtrasSchema, JobSchema, ProgressSchema, ReplySchema, RetrySchema},
    queue::{CountSchema, RetentionSchema},
    reply::{AcknowledgedWord, EndedEndpointSchema, MessageSchema, ReplyQueueSchema},
    token::{AuditEntrySchema, TokenSchema},
    worker::WorkerSchema,
};

/// A text that is one word of a list of the library's.
macro_rules! word {
    ($schema:ident, $name:literal, $words:expr) => {
        #[doc = concat!("One word of a list: ", $name)]
        pub(crate) enum $schema {}

        impl PartialSchema for $schema {
            fn schema() -> RefOr<Schema> {
                let words: Vec<&'static str> = $words.into_iter().map(|word| word.as_str()).collect();
                ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
            }
        }

        impl ToSchema for $schema {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    };
}

word!(StateWord, "State", State::ALL);
word!(ShownWord, "DisplayState", DisplayState::ALL);
word!(EndWord, "AttemptEnd", AttemptEnd::ALL);
word!(PausedByWord, "PausedBy", PausedBy::ALL);
word!(ScopeWord, "Scope", Scope::ALL);
word!(OnFailureWord, "OnFailure", OnFailure::ALL);
word!(EdgeStateWord, "EdgeState", EdgeState::ALL);
word!(BatchStateWord, "BatchState", BatchState::ALL);
word!(MessageKindWord, "MessageKind", MessageKind::ALL);
#[cfg(feature = "triggers")]
word!(ActivityWord, "TriggerActivity", backroom_triggers::Activity::ALL);
