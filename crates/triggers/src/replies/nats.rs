//! Replies to subjects of NATS. A stream that has the subject stores them, and drops one that comes again by its `Nats-Msg-Id`.

use std::{path::PathBuf, time::Duration};

use async_nats::{Client, ConnectOptions, HeaderMap, connection::State};
use async_trait::async_trait;
use tokio::sync::Mutex;

use super::{Publish, Reply, Unsent};
use crate::SourceError;

const CONNECT: Duration = Duration::from_secs(10);

pub(super) struct Nats {
    url: String,
    ca_file: Option<PathBuf>,
    open: Mutex<Option<Client>>,
}

impl Nats {
    pub(super) fn new(url: &str, ca_file: Option<PathBuf>) -> Self {
        Self { url: url.into(), ca_file, open: Mutex::new(None) }
    }

    async fn client(&self) -> Result<Client, SourceError> {
        let mut open = self.open.lock().await;
        if let Some(client) = &*open
            && client.connection_state() == State::Connected
        {
            return Ok(client.clone());
        }
        let mut options = ConnectOptions::new().name("backroom").connection_timeout(CONNECT);
        if let Some(path) = &self.ca_file {
            options = options.add_root_certificates(path.clone());
        }
        let client = crate::broker::nats_connect(options, &self.url).await?;
        *open = Some(client.clone());
        Ok(client)
    }
}

impl std::fmt::Debug for Nats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nats").finish_non_exhaustive()
    }
}

/// Why a subject gets no replies. The broker answers to subjects that begin with `$`: `$JS.API.STREAM.PURGE.ORDERS` empties a stream. A
/// caller could have the server ask for that with its own credentials. Subjects that begin with `_INBOX` belong to requests of other clients.
fn refused(subject: &str) -> Option<&'static str> {
    // In the protocol, what follows a space is the subject that an answer goes to. A stream would answer there.
    let is_broken = subject.contains(|sign: char| sign.is_whitespace() || sign.is_control());
    let is_of_many = subject.split('.').any(|token| token.is_empty() || token == "*" || token == ">");
    if subject.starts_with('$') {
        Some("subjects that begin with $ belong to the broker itself")
    } else if subject.starts_with("_INBOX") {
        Some("subjects that begin with _INBOX belong to requests of other clients")
    } else if is_broken || is_of_many {
        Some("it is not the name of one subject")
    } else {
        None
    }
}

#[async_trait]
impl Publish for Nats {
    async fn publish(&self, address: &str, message: &Reply) -> Result<(), Unsent> {
        if let Some(why) = refused(address) {
            return Err(Unsent::Refused(format!("no reply is sent to the subject {address:?}: {why}")));
        }
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", message.id.to_string());
        headers.insert("Content-Type", "application/json");
        for (attribute, value) in message.attributes() {
            headers.insert(format!("ce-{attribute}").as_str(), value);
        }
        if let Some(id) = &message.correlation_id {
            headers.insert("correlation-id", id.as_str());
        }
        let failing = |error: &dyn std::fmt::Display| {
            Unsent::Failed(SourceError::new(format!("send the reply: {error}")))
        };
        let client = self.client().await.map_err(Unsent::Failed)?;
        let sent = client.publish_with_headers(address.to_owned(), headers, message.data.clone().into());
        sent.await.map_err(|error| failing(&error))?;
        // The server has read everything that was sent before when it answers this.
        client.flush().await.map_err(|error| failing(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_of_the_broker_itself_gets_no_reply_nor_does_one_that_is_not_one() {
        for subject in [
            "$JS.API.STREAM.PURGE.ORDERS",
            "$SYS.REQ.SERVER.PING",
            "$",
            "_INBOX.abc",
            "answers $JS.API.STREAM.PURGE.ORDERS",
            "answers\t$JS.API",
            "answers\r\nPUB x 0",
            "answers.*",
            ">",
            "answers..a",
            ".a",
            "a.",
        ] {
            assert!(refused(subject).is_some(), "{subject:?}");
        }
        for subject in ["answers", "answers.a-b_c", "a.$b", "a/b", "antworten.für.ä"] {
            assert_eq!(refused(subject), None, "{subject:?}");
        }
    }
}
