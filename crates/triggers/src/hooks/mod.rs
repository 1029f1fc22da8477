//! Signed requests of other services: who sent them, and which deliveries they have. Pure: the server receives the requests.
//!
//! [`Scheme`] is the table of signatures; `events` reads CloudEvents, records of S3, events of Event Grid, and everything else.

mod events;
mod schemes;
#[cfg(test)]
mod tests;

use std::time::Duration;

use backroom::{Invalid, Timestamp};
use serde_json::json;

use crate::{Mapping, cloud_event::CE};

pub use self::{
    events::{Content, EVENTS_MAX},
    schemes::{HookSecret, Refusal, Scheme, TOLERANCE_DEFAULT},
};

/// An endpoint that other services send requests to.
#[derive(Debug, Clone)]
pub struct Hook {
    scheme: Scheme,
    secrets: Vec<HookSecret>,
    tolerance: Duration,
}

impl Hook {
    /// A hook with the secrets that its sender signs with. Several are valid at once while one is replaced. Only the scheme `none` needs
    /// no secret.
    pub fn new(scheme: Scheme, secrets: Vec<HookSecret>) -> Result<Self, Invalid> {
        match (scheme, secrets.is_empty()) {
            (Scheme::None, false) => Err(Invalid::new(
                "secrets",
                "are given, but the scheme `none` checks nothing; name another scheme",
            )),
            (Scheme::None, true) | (_, false) => Ok(Self { scheme, secrets, tolerance: TOLERANCE_DEFAULT }),
            (_, true) => {
                Err(Invalid::new("secrets", format!("are missing; the scheme `{}` needs one", scheme.name())))
            }
        }
    }

    /// How far the time of a signature may lie from now. Default five minutes.
    #[must_use]
    pub fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// What it is, for people and without secrets.
    pub fn describe(&self) -> serde_json::Value {
        json!({ "scheme": self.scheme.name(), "tolerance_ms": u64::try_from(self.tolerance.as_millis()).unwrap_or(u64::MAX) })
    }

    /// Checks that a mapping does not let anyone choose the kind, the queue or the receiver of messages who could not sign. A header may name
    /// them only where the scheme proves the headers, or where the sender names the event nowhere else.
    pub fn check_mapping(&self, mapping: &Mapping) -> Result<(), Invalid> {
        if !self.scheme.signs_body_only() {
            return Ok(());
        }
        let is_signed =
            |name: &String| name.starts_with(CE) || self.scheme.event_headers().contains(&name.as_str());
        match mapping.steering_headers().iter().find(|(_, name)| !is_signed(name)) {
            None => Ok(()),
            Some((field, name)) => {
                let why = format!(
                    "comes from the header {name:?}, which the scheme `{}` does not sign; take it from the body",
                    self.scheme.name()
                );
                Err(Invalid::new(field, why))
            }
        }
    }

    /// Its scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Checks who sent a request, then reads what it asks for. Names of headers are in small letters.
    pub fn receive(
        &self,
        headers: &[(String, String)],
        body: &[u8],
        now: Timestamp,
    ) -> Result<Content, Refusal> {
        schemes::check(self.scheme, &self.secrets, self.tolerance, &Headers(headers), body, now)?;
        Ok(self.read(headers, body))
    }

    /// What a request asks for, without a check of its sender. For tests.
    #[doc(hidden)]
    pub fn read(&self, headers: &[(String, String)], body: &[u8]) -> Content {
        events::read(self.scheme, &Headers(headers), body)
    }
}

/// Headers of a request.
pub(crate) struct Headers<'a>(pub(crate) &'a [(String, String)]);

impl Headers<'_> {
    /// The value of a header.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}
