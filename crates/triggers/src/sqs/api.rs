//! What is asked of Amazon SQS, and what its errors ask for.

use std::{collections::HashMap, path::Path, time::Duration};

use aws_sdk_sqs::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    types::{
        ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
        MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName,
    },
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use futures_util::{StreamExt as _, stream};

use crate::{AwsAccess, SourceError};

/// Most messages that SQS takes in one request.
const BATCH: usize = 10;
/// Requests at once that delete messages, or extend the time in which they are not delivered again.
const AT_ONCE: usize = 16;
/// The attribute that has the reason, of a message in the dead-letter queue.
const REASON: &str = "backroom-reason";
/// Most attributes of a message.
const ATTRIBUTES_MAX: usize = 10;

/// A queue of SQS. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    client: Client,
    url: String,
}

/// What a queue says of itself.
#[derive(Debug, Default)]
pub(super) struct About {
    pub(super) waiting: Option<u64>,
    /// The name and the account of the queue that gets what cannot be processed.
    pub(super) dead_letters: Option<(String, String)>,
}

impl Queue {
    pub(super) async fn connect(
        url: &str,
        access: &AwsAccess,
        ca_file: Option<&Path>,
    ) -> Result<Self, SourceError> {
        let wrong = || SourceError::new(format!("use the queue {url}: it is no URL")).remedy("correct `url`");
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let host = rest.split('/').next().unwrap_or_default();
        // Always set, so that nothing is asked of the machine's cloud only to find it out.
        let of_host = host.strip_prefix("sqs.").and_then(|host| host.split('.').next());
        let set = access.region.clone().or_else(|| std::env::var("AWS_REGION").ok());
        let region = set.or_else(|| of_host.map(str::to_owned)).unwrap_or_else(|| "us-east-1".into());
        let mut config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(region))
            .endpoint_url(format!("{scheme}://{host}"))
            .http_client(http(ca_file)?);
        if let (Some(key), Some(secret)) = (&access.access_key, &access.secret_key) {
            config = config.credentials_provider(Credentials::new(key, secret, None, None, "settings"));
        }
        Ok(Self { client: Client::new(&config.load().await), url: url.to_owned() })
    }

    pub(super) async fn about(&self) -> Result<About, SourceError> {
        let asked = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
            .attribute_names(QueueAttributeName::RedrivePolicy)
            .send()
            .await;
        let answer = asked.map_err(|error| failed(&format!("read about the queue {}", self.url), &error))?;
        let of = |name: QueueAttributeName| answer.attributes().and_then(|all| all.get(&name)).cloned();
        Ok(About {
            waiting: of(QueueAttributeName::ApproximateNumberOfMessages).and_then(|text| text.parse().ok()),
            dead_letters: of(QueueAttributeName::RedrivePolicy).and_then(|policy| target(&policy)),
        })
    }

    /// The queue of the same service with this name.
    pub(super) async fn named(&self, name: &str, account: &str) -> Result<Self, SourceError> {
        let asked =
            self.client.get_queue_url().queue_name(name).queue_owner_aws_account_id(account).send().await;
        let answer = asked.map_err(|error| failed(&format!("find the dead-letter queue {name}"), &error))?;
        let url = answer.queue_url().unwrap_or_default().to_owned();
        Ok(Self { client: self.client.clone(), url })
    }

    /// Messages that are delivered to no other reader for `hidden_for`. Waits for the first one for `wait`.
    pub(super) async fn receive(
        &self,
        hidden_for: Duration,
        wait: Duration,
    ) -> Result<Vec<Message>, SourceError> {
        let received = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(10)
            .visibility_timeout(seconds(hidden_for))
            .wait_time_seconds(seconds(wait))
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send()
            .await;
        let received = received.map_err(|error| failed(&format!("receive from {}", self.url), &error))?;
        Ok(received.messages.unwrap_or_default())
    }

    /// Deletes messages by their handles. One that is delivered to another reader by now stays, and is no error: it is the same job.
    pub(super) async fn delete(&self, handles: Vec<String>) -> Result<(), SourceError> {
        let delete = async |chunk: Vec<String>| {
            let entry = |(id, handle): (usize, String)| {
                let entry = DeleteMessageBatchRequestEntry::builder().id(id.to_string());
                entry.receipt_handle(handle).build()
            };
            let entries = chunk.into_iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>();
            let entries = entries.map_err(|error| SourceError::new(format!("delete messages: {error}")))?;
            let request = self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries));
            let answer = request.send().await;
            let answer = answer.map_err(|error| failed(&format!("delete from {}", self.url), &error))?;
            for failed in answer.failed() {
                if !failed.sender_fault() {
                    let why = failed.message().unwrap_or(failed.code());
                    return Err(SourceError::new(format!("delete from {}: {why}", self.url)));
                }
                tracing::debug!(queue = %self.url, code = failed.code(), "a message was not deleted, and comes again");
            }
            Ok(())
        };
        let chunks: Vec<Vec<String>> = handles.chunks(BATCH).map(<[String]>::to_vec).collect();
        let mut done = stream::iter(chunks.into_iter().map(delete)).buffer_unordered(AT_ONCE);
        while let Some(deleted) = done.next().await {
            deleted?;
        }
        Ok(())
    }

    /// From now on the messages are delivered to no other reader for `hidden_for`; zero gives them back.
    pub(super) async fn hide(&self, handles: Vec<String>, hidden_for: Duration) -> Result<(), SourceError> {
        let hide = async |chunk: Vec<String>| {
            let entry = |(id, handle): (usize, String)| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(id.to_string())
                    .receipt_handle(handle)
                    .visibility_timeout(seconds(hidden_for))
                    .build()
            };
            let entries = chunk.into_iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>();
            let entries = entries.map_err(|error| SourceError::new(format!("hide messages: {error}")))?;
            let request =
                self.client.change_message_visibility_batch().queue_url(&self.url).set_entries(Some(entries));
            // A message that another reader has by now is no error.
            let answer = request.send().await;
            answer.map(drop).map_err(|error| failed(&format!("hide messages of {}", self.url), &error))
        };
        let chunks: Vec<Vec<String>> = handles.chunks(BATCH).map(<[String]>::to_vec).collect();
        let mut done = stream::iter(chunks.into_iter().map(hide)).buffer_unordered(AT_ONCE);
        while let Some(hidden) = done.next().await {
            hidden?;
        }
        Ok(())
    }

    /// Sends a copy of a message with the reason why it became no job.
    pub(super) async fn send_copy(&self, message: &Message, reason: &str) -> Result<(), SourceError> {
        let mut attributes: HashMap<String, MessageAttributeValue> =
            message.message_attributes().cloned().unwrap_or_default();
        // SQS allows ten attributes. The reason stays in Backroom's own dead letter.
        if attributes.len() < ATTRIBUTES_MAX {
            let text: String = reason.chars().filter(|sign| !sign.is_control()).take(500).collect();
            let value = MessageAttributeValue::builder().data_type("String").string_value(text).build();
            attributes.insert(
                REASON.into(),
                value.map_err(|error| SourceError::new(format!("copy a message: {error}")))?,
            );
        }
        let of = |name| message.attributes().and_then(|all| all.get(&name)).cloned();
        // A queue in order needs both. The id names the message, so that a repeated call makes no second copy.
        let group = of(MessageSystemAttributeName::MessageGroupId);
        let once = group.is_some().then(|| message.message_id().unwrap_or_default().to_owned());
        let sent = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(message.body().unwrap_or_default())
            .set_message_attributes(Some(attributes))
            .set_message_group_id(group)
            .set_message_deduplication_id(once)
            .send()
            .await;
        sent.map(drop).map_err(|error| failed(&format!("send to the dead-letter queue {}", self.url), &error))
    }
}

fn http(ca_file: Option<&Path>) -> Result<aws_sdk_sqs::config::SharedHttpClient, SourceError> {
    let builder = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
    let Some(path) = ca_file else { return Ok(builder.build_https()) };
    let unreadable = |why: &dyn std::fmt::Display| {
        SourceError::new(format!("read the certificates in {}: {why}", path.display()))
            .remedy("`ca_file` names a file of certificates in PEM")
    };
    let pem = std::fs::read(path).map_err(|error| unreadable(&error))?;
    if !pem.windows(27).any(|part| part == b"-----BEGIN CERTIFICATE-----") {
        return Err(unreadable(&"it has none"));
    }
    let context =
        TlsContext::builder().with_trust_store(TrustStore::default().with_pem_certificate(pem)).build();
    Ok(builder.tls_context(context.map_err(|error| unreadable(&error))?).build_https())
}

/// The name and the account of the queue that a redrive policy names.
fn target(policy: &str) -> Option<(String, String)> {
    let policy: serde_json::Value = serde_json::from_str(policy).ok()?;
    // arn:aws:sqs:REGION:ACCOUNT:NAME
    let mut parts = policy.get("deadLetterTargetArn")?.as_str()?.split(':').skip(4);
    let account = parts.next()?.to_owned();
    Some((parts.next()?.to_owned(), account))
}

/// Whole seconds, as SQS counts them: one more where the span is not whole.
fn seconds(span: Duration) -> i32 {
    i32::try_from(span.as_millis().div_ceil(1000)).unwrap_or(i32::MAX)
}

fn failed<E, R>(what: &str, error: &SdkError<E, R>) -> SourceError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    if let Some(service) = error.as_service_error() {
        let code = service.code().unwrap_or_default();
        let said = service.message().unwrap_or("it does not say why");
        let remedy = match code.rsplit('.').next().unwrap_or(code) {
            "NonExistentQueue" | "QueueDoesNotExist" => "make the queue, or correct `url`",
            "AccessDenied" | "AccessDeniedException" => {
                "let this key or role do sqs:ReceiveMessage, DeleteMessage, ChangeMessageVisibility and GetQueueAttributes"
            }
            "RequestExpired" => "set the clock of this machine",
            "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "InvalidSignatureException"
            | "InvalidAccessKeyId"
            | "ExpiredToken"
            | "AuthFailure" => {
                "check `access_key` and `secret_key`, or the variables AWS_…, and the clock of this machine"
            }
            _ => "it is tried again in a while",
        };
        let said = backroom::core::bounds::clip(said, 300);
        return SourceError::new(format!("{what}: the service answers {code}: {said}")).remedy(remedy);
    }
    let mut deepest: &dyn std::error::Error = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    let whole = DisplayErrorContext(error).to_string();
    let remedy = if whole.contains("certificate") {
        "if the service has a certificate of an own authority, name that authority's file in `ca_file`"
    } else if whole.to_lowercase().contains("credentials") {
        "set `access_key` and `secret_key`, or let the variables AWS_… or the role of this machine name them"
    } else {
        "see whether the service runs, and whether `url` and the network lead to it"
    };
    let why = backroom::core::bounds::clip(&deepest.to_string(), 300);
    SourceError::new(format!("{what}: {why}")).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redrive_policy_names_a_queue_and_its_account() {
        let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-central-1:123456789012:orders-dead","maxReceiveCount":"5"}"#;
        assert_eq!(target(policy), Some(("orders-dead".into(), "123456789012".into())));
        assert_eq!(target("{}"), None);
        assert_eq!(target("no"), None);
    }

    #[test]
    fn a_part_of_a_second_counts_as_one() {
        assert_eq!(seconds(Duration::ZERO), 0);
        assert_eq!(seconds(Duration::from_millis(200)), 1);
        assert_eq!(seconds(Duration::from_secs(20)), 20);
    }
}
