//! Sources at the providers of clouds.

use super::Made;
use crate::config::{tables::Trigger, value::Secret};

/// What a key is wrong with, and why.
type Mistake = (&'static str, String);

#[cfg(feature = "objects")]
pub(super) fn objects(trigger: &Trigger) -> Result<Made, Mistake> {
    use backroom_triggers::{ObjectEvent, Objects};
    let url = url(trigger, "the bucket, as s3://BUCKET/PREFIX or azure://ACCOUNT/CONTAINER/PREFIX")?;
    let event = |name: &String| {
        let mut all = ObjectEvent::ALL.into_iter();
        all.find(|event| event.as_str() == name)
            .ok_or_else(|| ("events", format!("has {name:?}; there are created, changed and removed")))
    };
    let events = trigger.events.iter().map(event).collect::<Result<Vec<_>, _>>()?;
    let mut objects = Objects::new(url)
        .map_err(|invalid| ("url", invalid.why))?
        .aws(aws(trigger)?)
        .azure(azure(trigger))
        .names(&trigger.names)
        .ignore(&trigger.ignore)
        .events(&events)
        .existing(trigger.existing)
        .rescan(trigger.rescan);
    if let Some(endpoint) = &trigger.endpoint {
        objects = objects.endpoint(endpoint);
    }
    if let Some(path) = &trigger.ca_file {
        objects = objects.ca_file(path);
    }
    Ok(Made::Source(Box::new(objects)))
}

#[cfg(feature = "sqs")]
pub(super) fn sqs(trigger: &Trigger) -> Result<Made, Mistake> {
    let url = url(trigger, "the queue, as https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE")?;
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return Err(("url", "does not begin with https://".into()));
    }
    let mut queue =
        backroom_triggers::SqsQueue::new(url).access(aws(trigger)?).redeliver_after(trigger.redeliver_after);
    if let Some(path) = &trigger.ca_file {
        queue = queue.ca_file(path);
    }
    Ok(Made::Source(Box::new(queue)))
}

#[cfg(feature = "azure-queue")]
pub(super) fn azure_queue(trigger: &Trigger) -> Result<Made, Mistake> {
    use backroom_triggers::{AzureQueue, QueueEncoding};
    let url = url(trigger, "the queue, as https://ACCOUNT.queue.core.windows.net/QUEUE")?;
    let known = QueueEncoding::ALL.into_iter().find(|known| known.as_str() == trigger.encoding);
    let encoding = known.ok_or_else(|| {
        ("encoding", format!("is {:?}; write \"auto\", \"base64\" or \"text\"", trigger.encoding))
    })?;
    let mut queue = AzureQueue::new(url)
        .map_err(|invalid| ("url", invalid.why))?
        .access(azure(trigger))
        .encoding(encoding)
        .poll(trigger.poll)
        .redeliver_after(trigger.redeliver_after);
    if let Some(path) = &trigger.ca_file {
        queue = queue.ca_file(path);
    }
    Ok(Made::Source(Box::new(queue)))
}

fn url<'a>(trigger: &'a Trigger, what: &str) -> Result<&'a str, Mistake> {
    trigger.url.as_deref().ok_or_else(|| ("url", format!("is missing; name {what}")))
}

#[cfg(any(feature = "objects", feature = "sqs"))]
fn aws(trigger: &Trigger) -> Result<backroom_triggers::AwsAccess, Mistake> {
    let Trigger { access_key, secret_key, region, .. } = trigger;
    match (access_key, secret_key) {
        (Some(_), None) => Err(("secret_key", "is missing; it belongs to `access_key`".into())),
        (None, Some(_)) => Err(("access_key", "is missing; it belongs to `secret_key`".into())),
        (Some(_), Some(_)) | (None, None) => Ok(backroom_triggers::AwsAccess {
            access_key: access_key.clone(),
            secret_key: text(secret_key),
            region: region.clone(),
        }),
    }
}

#[cfg(any(feature = "azure-queue", feature = "objects"))]
fn azure(trigger: &Trigger) -> backroom_triggers::AzureAccess {
    backroom_triggers::AzureAccess { account_key: text(&trigger.account_key), sas: text(&trigger.sas) }
}

#[expect(clippy::ref_option, reason = "the settings have it so")]
fn text(secret: &Option<Secret>) -> Option<String> {
    secret.as_ref().map(|secret| secret.0.clone())
}
