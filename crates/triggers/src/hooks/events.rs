//! What the body of a request has: one event or several, in the forms that senders agree on.

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::{Headers, Scheme};
use crate::{
    Delivery,
    cloud_event::{self, CE},
    delivery::hex,
    place,
};

/// Most events of one request.
pub const EVENTS_MAX: usize = 1000;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Jobs for these deliveries.
    Deliveries(Vec<Delivery>),
    /// An answer that shows that this endpoint wants events: its type and its text. It is no delivery.
    Handshake {
        /// The media type.
        content_type: &'static str,
        /// The body of the answer.
        body: String,
    },
    /// Nothing: a message of the sender to test the endpoint.
    Nothing,
    /// It does not have the form that it claims: a delivery that is refused, with the whole body.
    Malformed(Delivery),
}

/// Reads a request whose sender is known.
pub(super) fn read(scheme: Scheme, headers: &Headers<'_>, body: &[u8]) -> Content {
    let media_type = headers.get("content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_body_only = scheme.signs_body_only();
    if is_body_only {
        // Other headers may be another's: the body alone says what it is, in a dead letter, too.
        let signed = headers.0.iter().filter(|(name, _)| !name.to_ascii_lowercase().starts_with(CE));
        let signed: Vec<_> = signed.cloned().collect();
        let signed = Headers(&signed);
        if headers.get("ce-specversion").is_some() {
            let why = format!(
                "the scheme `{}` does not sign the attributes of a CloudEvent in headers; send it in the structured form",
                scheme.name()
            );
            return malformed(&signed, body, why);
        }
        // Without them, attributes in headers can only come from the body.
        return by_media_type(scheme, &media_type, &signed, body);
    }
    by_media_type(scheme, &media_type, headers, body)
}

/// The same, once it is clear which headers count.
fn by_media_type(scheme: Scheme, media_type: &str, headers: &Headers<'_>, body: &[u8]) -> Content {
    let is_body_only = scheme.signs_body_only();
    if is_body_only {
        match form(body) {
            Some(Form::Event) => return structured(headers, body),
            Some(Form::Batch) => return batch(headers, body),
            None => {}
        }
    }
    match media_type {
        "application/cloudevents+json" => return structured(headers, body),
        "application/cloudevents-batch+json" => return batch(headers, body),
        other if other.starts_with("application/cloudevents") => {
            let why = format!("the event format {other} is not read; send JSON");
            return malformed(headers, body, why);
        }
        _ => {}
    }
    if headers.get("ce-specversion").is_some() {
        return binary(headers, body);
    }
    if let Some(kind) = headers.get("aeg-event-type").filter(|_| !is_body_only) {
        return event_grid(kind, headers, body);
    }
    if scheme == Scheme::Slack
        && let Some(challenge) = challenge(body)
    {
        return Content::Handshake { content_type: "text/plain", body: challenge };
    }
    if let Some(content) = s3(headers, body) {
        return content;
    }
    let delivery =
        Delivery { headers: passed_on(headers), ..Delivery::new(identity(scheme, headers, body), body) };
    Content::Deliveries(vec![delivery])
}

/// A form of CloudEvents that a body shows by itself.
enum Form {
    Event,
    Batch,
}

fn form(body: &[u8]) -> Option<Form> {
    let text = std::str::from_utf8(body).ok()?;
    let is_event = |text: &str| {
        let version = place::at(text, "/specversion")?;
        serde_json::from_str::<String>(version).ok()
    };
    if is_event(text).is_some() {
        return Some(Form::Event);
    }
    let events: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    // Each that is none is refused alone.
    events.iter().any(|event| is_event(event.get()).is_some()).then_some(Form::Batch)
}

/// What names a plain delivery: a header of the scheme, a member of the body, or else a hash of the body.
fn identity(scheme: Scheme, headers: &Headers<'_>, body: &[u8]) -> String {
    let named =
        scheme.identities().iter().find_map(|name| headers.get(name)).filter(|id| !id.trim().is_empty());
    if let Some(id) = named {
        return id.trim().to_owned();
    }
    let text = std::str::from_utf8(body).unwrap_or_default();
    let pointed = scheme.identity_pointers().iter().find_map(|pointer| place::at(text, pointer));
    let pointed = pointed.and_then(|json| serde_json::from_str::<String>(json).ok());
    pointed.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("sha256:{}", hex(&Sha256::digest(body))))
}

/// Headers that a job may know of: none that prove who the sender is.
fn passed_on(headers: &Headers<'_>) -> Vec<(String, String)> {
    const SECRET: [&str; 5] =
        ["authorization", "x-webhook-secret", "cookie", "proxy-authorization", "x-hub-signature"];
    let is_passed_on =
        |name: &str| !SECRET.contains(&name) && !name.contains("signature") && !name.contains("hmac");
    let named = headers.0.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    named.filter(|(name, _)| is_passed_on(name)).collect()
}

fn binary(headers: &Headers<'_>, body: &[u8]) -> Content {
    let attribute = |name: &str| headers.get(&format!("{CE}{name}")).map(decoded);
    let passed_on = passed_on(headers).into_iter().map(|(name, value)| {
        let value = if name.starts_with(CE) { decoded(&value) } else { value };
        (name, value)
    });
    match cloud_event::binary(attribute, passed_on.collect(), body.to_vec()) {
        Ok(delivery) => Content::Deliveries(vec![delivery]),
        Err(why) => malformed(headers, body, why),
    }
}

/// A header of the binary form: percent-encoded, perhaps in quotes.
fn decoded(text: &str) -> String {
    let text = text.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let (bytes, mut plain, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let hex = (*byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) => {
                plain.push(value);
                at += 3;
            }
            None => {
                plain.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(plain).unwrap_or_else(|_| text.to_owned())
}

fn structured(headers: &Headers<'_>, body: &[u8]) -> Content {
    match std::str::from_utf8(body)
        .map_err(|_| "the event is no UTF-8 text".to_owned())
        .and_then(|text| cloud_event(text, headers))
    {
        Ok(delivery) => Content::Deliveries(vec![delivery]),
        Err(why) => malformed(headers, body, why),
    }
}

fn batch(headers: &Headers<'_>, body: &[u8]) -> Content {
    let events: Vec<&RawValue> = match serde_json::from_slice(body) {
        Ok(events) => events,
        Err(error) => return malformed(headers, body, format!("the batch is no JSON array: {error}")),
    };
    several(headers, body, &events, |event| cloud_event(event, headers))
}

/// Deliveries of a request with several events, which `read` reads from their texts. One that is malformed is refused alone.
fn several(
    headers: &Headers<'_>,
    body: &[u8],
    events: &[&RawValue],
    read: impl Fn(&str) -> Result<Delivery, String>,
) -> Content {
    let count = events.len();
    if count > EVENTS_MAX {
        let why = format!("the request has {count} events; at most {EVENTS_MAX} are read");
        return malformed(headers, body, why);
    }
    let deliver = |event: &&RawValue| {
        let text = event.get();
        read(text).unwrap_or_else(|why| refused(headers, text.as_bytes(), why))
    };
    Content::Deliveries(events.iter().map(deliver).collect())
}

/// A request that does not have the form that it claims.
fn malformed(headers: &Headers<'_>, body: &[u8], why: String) -> Content {
    Content::Malformed(refused(headers, body, why))
}

/// What cannot become a job, as it came. Its content names it, so that two of them are two dead letters, and one that is sent again
/// is one.
fn refused(headers: &Headers<'_>, content: &[u8], why: String) -> Delivery {
    let passed_on = passed_on(headers);
    let mut hash = Sha256::new();
    // In the binary form they are part of the event.
    for (name, value) in passed_on.iter().filter(|(name, _)| name.starts_with(CE)) {
        hash.update(name);
        hash.update([0]);
        hash.update(value);
        hash.update([0]);
    }
    hash.update(content);
    let identity = format!("sha256:{}", hex(&hash.finalize()));
    Delivery { headers: passed_on, refused: Some(why), ..Delivery::new(identity, content) }
}

fn cloud_event(text: &str, headers: &Headers<'_>) -> Result<Delivery, String> {
    cloud_event::structured(text, passed_on(headers))
}

/// Azure Event Grid in its own schema.
fn event_grid(kind: &str, headers: &Headers<'_>, body: &[u8]) -> Content {
    let events: Vec<&RawValue> = match serde_json::from_slice(body) {
        Ok(events) => events,
        Err(error) => {
            let why = format!("the request of Event Grid is no JSON array: {error}");
            return malformed(headers, body, why);
        }
    };
    if kind.eq_ignore_ascii_case("SubscriptionValidation") {
        let code = events.first().and_then(|event| place::at(event.get(), "/data/validationCode"));
        return match code {
            Some(code) => Content::Handshake {
                content_type: "application/json",
                body: format!("{{\"validationResponse\":{code}}}"),
            },
            None => malformed(headers, body, "the validation of Event Grid has no code".into()),
        };
    }
    if !kind.eq_ignore_ascii_case("Notification") {
        return Content::Nothing;
    }
    let text = |json: Option<&str>| json.and_then(|json| serde_json::from_str::<String>(json).ok());
    let read = |event: &str| {
        let of = |pointer| text(place::at(event, pointer));
        let id = of("/id").ok_or_else(|| "the event of Event Grid has no `id`".to_owned())?;
        let topic = of("/topic").unwrap_or_default();
        let mut headers = passed_on(headers);
        headers.extend(of("/eventType").map(|kind| ("event-type".to_owned(), kind)));
        headers.extend(of("/subject").map(|subject| ("subject".to_owned(), subject)));
        let delivery = Delivery {
            headers,
            at: of("/eventTime").and_then(|at| at.parse().ok()),
            order_key: of("/subject"),
            ..Delivery::new(format!("{topic} {id}").trim_start().to_owned(), event.as_bytes())
        };
        Ok(delivery)
    };
    several(headers, body, &events, read)
}

/// Notifications of S3 and of stores that speak its language: a list of records.
fn s3(headers: &Headers<'_>, body: &[u8]) -> Option<Content> {
    let is_about_s3 = |text: &&str| text.contains(":s3") || text.contains("s3:TestEvent");
    let text = std::str::from_utf8(body).ok().filter(is_about_s3)?;
    let own = |json: Option<&str>| json.and_then(|json| serde_json::from_str::<String>(json).ok());
    if own(place::at(text, "/Event")).as_deref() == Some("s3:TestEvent") {
        return Some(Content::Nothing);
    }
    let records: Vec<&RawValue> = serde_json::from_str(place::at(text, "/Records")?).ok()?;
    let is_s3 = |record: &&RawValue| {
        own(place::at(record.get(), "/eventSource")).is_some_and(|source| source.ends_with(":s3"))
    };
    if records.is_empty() || !records.iter().all(is_s3) {
        return None;
    }
    let read = |record: &str| {
        let of = |pointer| own(place::at(record, pointer)).unwrap_or_default();
        let (bucket, key) = (of("/s3/bucket/name"), of("/s3/object/key"));
        if bucket.is_empty() || key.is_empty() {
            return Err("the record of S3 names no bucket or no key".to_owned());
        }
        let (name, sequence, request) =
            (of("/eventName"), of("/s3/object/sequencer"), of("/responseElements/x-amz-request-id"));
        // The sequencer orders the events of one key. Where a store has none, the request names the event.
        let place = if sequence.is_empty() { format!("{request} {}", of("/eventTime")) } else { sequence };
        let mut headers = passed_on(headers);
        headers.extend([("event-name".to_owned(), name.clone()), ("bucket".to_owned(), bucket.clone())]);
        Ok(Delivery {
            headers,
            at: of("/eventTime").parse().ok(),
            order_key: Some(format!("{bucket}/{key}")),
            ..Delivery::new(format!("{name} {bucket}/{key} {place}"), record.as_bytes())
        })
    };
    Some(several(headers, body, &records, read))
}

/// The challenge with which Slack checks an endpoint.
fn challenge(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let own = |pointer| place::at(text, pointer).and_then(|json| serde_json::from_str::<String>(json).ok());
    own("/challenge").filter(|_| own("/type").as_deref() == Some("url_verification"))
}
