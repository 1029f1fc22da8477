//! The few requests of Azure Storage Queues that are needed. There is no light crate for them; `object_store` signs them.

use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;

use crate::{
    SourceError,
    azure::{Account, refused},
    cloud::{Answer, xml_text},
};

/// What to do about a queue that does not exist.
const MISSING: &str = "make the queue, or correct `url`";

/// The queue, as requests see it. Cheap to clone. It has no `Debug`, because it has secrets.
#[derive(Clone)]
pub(super) struct Queue {
    pub(super) account: Account,
    pub(super) url: Url,
}

/// A message as it was received.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Message {
    pub(super) message_id: String,
    #[serde(default)]
    pub(super) insertion_time: String,
    pub(super) pop_receipt: String,
    #[serde(default)]
    pub(super) dequeue_count: u64,
    #[serde(default)]
    pub(super) message_text: String,
}

impl Queue {
    /// The queue, or what is below it.
    fn url(&self, below: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(below);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    fn what(&self, what: &str) -> String {
        format!("{what} the queue {}", self.url)
    }

    async fn ask(&self, what: &str, method: &str, url: &Url, body: &str) -> Result<Answer, SourceError> {
        let answer = self.account.send(&self.what(what), method, url, body).await?;
        if answer.is_success() { Ok(answer) } else { Err(refused(&self.what(what), &answer, MISSING)) }
    }

    /// Roughly how many messages it has.
    pub(super) async fn count(&self) -> Result<Option<u64>, SourceError> {
        let answer = self.ask("read about", "GET", &self.url(&[], &[("comp", "metadata")]), "").await?;
        let count = answer.headers.get("x-ms-approximate-messages-count");
        Ok(count.and_then(|count| count.to_str().ok()?.parse().ok()))
    }

    pub(super) async fn receive(&self, hidden_for: Duration) -> Result<Vec<Message>, SourceError> {
        let hidden = seconds(hidden_for);
        let query = [("numofmessages", "32"), ("visibilitytimeout", hidden.as_str())];
        let answer = self.ask("receive from", "GET", &self.url(&["messages"], &query), "").await?;
        read(&answer.text()).map_err(|why| SourceError::new(format!("{}: {why}", self.what("receive from"))))
    }

    /// Deletes a message. One that is delivered to another reader by now stays, and is no error: it is the same job.
    pub(super) async fn delete(&self, message: &Message) -> Result<(), SourceError> {
        let query = [("popreceipt", message.pop_receipt.as_str())];
        let url = self.url(&["messages", &message.message_id], &query);
        let what = self.what("delete from");
        let answer = self.account.send(&what, "DELETE", &url, "").await?;
        match answer.status {
            400 | 404 => {
                tracing::debug!(queue = %self.url, "a message was not deleted, and comes again if it is there");
                Ok(())
            }
            _ if answer.is_success() => Ok(()),
            _ => Err(refused(&what, &answer, MISSING)),
        }
    }

    /// From now on a message is delivered to no other reader for `hidden_for`; zero gives it back. Answers its new receipt.
    pub(super) async fn hide(
        &self,
        message: &Message,
        hidden_for: Duration,
    ) -> Result<Option<String>, SourceError> {
        let hidden = seconds(hidden_for);
        let query = [("popreceipt", message.pop_receipt.as_str()), ("visibilitytimeout", hidden.as_str())];
        let url = self.url(&["messages", &message.message_id], &query);
        let what = self.what("hide messages of");
        let answer = self.account.send(&what, "PUT", &url, "").await?;
        match answer.status {
            // Another reader has it by now.
            400 | 404 => Ok(None),
            _ if answer.is_success() => {
                let receipt = answer.headers.get("x-ms-popreceipt");
                Ok(receipt.and_then(|receipt| receipt.to_str().ok()).map(str::to_owned))
            }
            _ => Err(refused(&what, &answer, MISSING)),
        }
    }

    /// The queue for what cannot be processed.
    pub(super) fn poison(&self) -> Self {
        let mut url = self.url.clone();
        url.set_path(&format!("{}-poison", self.url.path()));
        Self { account: self.account.clone(), url }
    }

    /// Puts a text into the queue, which is made if it does not exist.
    pub(super) async fn put(&self, text: &str) -> Result<(), SourceError> {
        let body = format!("<QueueMessage><MessageText>{}</MessageText></QueueMessage>", xml_text(text));
        // It stays until a person deletes it.
        let url = self.url(&["messages"], &[("messagettl", "-1")]);
        let what = self.what("put into");
        let answer = self.account.send(&what, "POST", &url, &body).await?;
        if answer.status == 404 {
            self.ask("make", "PUT", &self.url, "").await?;
            return self.ask("put into", "POST", &url, &body).await.map(drop);
        }
        if answer.is_success() { Ok(()) } else { Err(refused(&what, &answer, MISSING)) }
    }
}

/// Reads an answer with messages.
fn read(text: &str) -> Result<Vec<Message>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct QueueMessagesList {
        #[serde(default)]
        queue_message: Vec<Message>,
    }
    let list: QueueMessagesList = quick_xml::de::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|error| format!("the answer has no list of messages: {error}"))?;
    Ok(list.queue_message)
}

/// Whole seconds: one more where the span is not whole.
fn seconds(span: Duration) -> String {
    span.as_millis().div_ceil(1000).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_of_an_answer_as_they_were_put_in() {
        let messages = read(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><QueueMessagesList><QueueMessage>\
             <MessageId>1</MessageId><InsertionTime>Fri, 27 Nov 2026 07:35:28 GMT</InsertionTime>\
             <PopReceipt>AgAAAA+/==</PopReceipt><DequeueCount>2</DequeueCount>\
             <MessageText> {\"a\": \"&lt;&amp;&gt;\"}\n</MessageText></QueueMessage>\
             <QueueMessage><MessageId>2</MessageId><PopReceipt>x</PopReceipt><MessageText/></QueueMessage>\
             </QueueMessagesList>",
        )
        .unwrap();
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0].message_text.trim(), "{\"a\": \"<&>\"}");
        assert_eq!(messages[0].pop_receipt, "AgAAAA+/==");
        assert_eq!(messages[1].message_text, "");
        assert!(read("<QueueMessagesList/>").unwrap().is_empty());
        assert!(read("no").is_err());
    }
}
