//! What is asked: one type for each body of a request, shared by the API and the command line.
//!
//! The API reads it and documents it, and a command that asks a server writes it. So both use the same names. A field that is left
//! out has its default.

mod act;
mod endpoint;
mod job;
mod queue;
mod reply;
pub(crate) mod schedule;
mod select;
mod signal;
mod token;
#[cfg(feature = "triggers")]
mod trigger;

#[cfg(feature = "triggers")]
pub(crate) use self::trigger::{SampleSchema, TriggerPause};
pub(crate) use self::{
    act::{Amendment, Bulk, Cancel},
    endpoint::EndpointUrl,
    job::{NewJob, check_id_is_new, when},
    queue::QueueSettings,
    reply::{MessageTake, TakenIds},
    select::Select,
    signal::Signal,
    token::TokenWanted,
};

/// A part of a path or of a query, with everything escaped that would not stand for itself.
pub(crate) fn escaped(text: &str) -> impl std::fmt::Display + '_ {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
}
