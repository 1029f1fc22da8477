//! What the sources that read a message broker share: how a message becomes a delivery, who may read, and errors in words.
//!
//! Each broker is one file. None of them connects again by itself: after an error the frame closes the source and opens it again, so
//! that the error is reported and the wait between two attempts is the same for all.

#[cfg(feature = "amqp")]
mod amqp;
#[cfg(feature = "amqp")]
mod amqp_tls;
#[cfg(feature = "mqtt")]
mod mqtt;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "redis")]
mod redis;

use std::collections::VecDeque;

use backroom::Timestamp;

#[cfg(feature = "amqp")]
pub use self::amqp::AmqpQueue;
#[cfg(feature = "amqp")]
pub(crate) use self::amqp::connect as amqp_connect;
#[cfg(feature = "mqtt")]
pub use self::mqtt::MqttTopics;
#[cfg(feature = "nats")]
pub use self::nats::JetStream;
#[cfg(feature = "nats")]
pub(crate) use self::nats::connect as nats_connect;
#[cfg(feature = "redis")]
pub use self::redis::RedisStream;
#[cfg(feature = "redis")]
pub(crate) use self::redis::connect as redis_connect;
use crate::{
    Bounds, Delivery, SourceError,
    cloud_event::{self, CE},
};

/// How many processes read a broker for one trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Readers {
    /// One at a time, by a lease: messages become jobs in the order of the source.
    #[default]
    One,
    /// Every process that has the trigger: faster, and without an order between the processes.
    Every,
}

impl Readers {
    /// Its name in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Every => "every",
        }
    }
}

/// A message as a broker delivers it.
#[derive(Debug, Default)]
struct Message {
    /// What names it if it is no CloudEvent.
    identity: String,
    /// With names in small letters.
    headers: Vec<(String, String)>,
    content_type: Option<String>,
    body: Vec<u8>,
    at: Option<Timestamp>,
    order_key: Option<String>,
    receipt: u64,
}

impl Message {
    /// The delivery. `prefixes` are what the binding of this broker begins the names of a CloudEvent's attributes with; in the delivery
    /// they begin with `ce-`, whichever broker it is.
    fn delivery(self, prefixes: &[&str]) -> Delivery {
        let Self { identity, mut headers, content_type, body, at, order_key, receipt } = self;
        let media_type = content_type.as_deref().and_then(|text| text.split(';').next()).unwrap_or_default();
        let media_type = media_type.trim().to_ascii_lowercase();
        if let Some(content_type) = content_type {
            headers.push(("content-type".into(), content_type));
        }
        let read = if media_type == "application/cloudevents+json" {
            match std::str::from_utf8(&body) {
                Ok(text) => cloud_event::structured(text, headers.clone()),
                Err(_) => Err("the event is no UTF-8 text".into()),
            }
        } else if media_type.starts_with("application/cloudevents") {
            Err(format!("the event format {media_type} is not read; send JSON"))
        } else {
            let renamed = headers.iter_mut().fold(false, |is_event, (name, _)| {
                let Some(attribute) = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)) else {
                    return is_event;
                };
                let is_version = attribute == "specversion";
                *name = format!("{CE}{attribute}");
                is_event || is_version
            });
            if !renamed {
                return Delivery { identity, headers, body, at, order_key, receipt, refused: None };
            }
            let found = |name: &str| {
                let wanted = |known: &str| known.strip_prefix(CE) == Some(name);
                headers.iter().find(|(known, _)| wanted(known)).map(|(_, value)| value.clone())
            };
            cloud_event::binary(found, headers.clone(), body.clone())
        };
        match read {
            Ok(event) => {
                Delivery { at: event.at.or(at), order_key: event.order_key.or(order_key), receipt, ..event }
            }
            Err(why) => Delivery { identity, headers, body, at, order_key, receipt, refused: Some(why) },
        }
    }
}

/// As many deliveries as the bounds allow, at least one if there is one.
fn within(ready: &mut VecDeque<Delivery>, bounds: Bounds) -> Vec<Delivery> {
    let mut bytes = 0;
    let fits = |delivery: &&Delivery| {
        bytes += delivery.bytes();
        bytes <= bounds.bytes
    };
    let count = ready.iter().take(bounds.rows).take_while(fits).count().max(1);
    ready.drain(..count.min(ready.len())).collect()
}

/// How many messages to ask for next, so that about `bytes` come: by the size of those that came before.
#[cfg_attr(
    not(feature = "redis"),
    expect(dead_code, reason = "the other brokers bound the bytes themselves")
)]
fn count_within(seen: (usize, usize), bounds: Bounds) -> usize {
    /// Without experience: few enough to be small even if each has a megabyte.
    const FIRST: usize = 16;
    let (messages, bytes) = seen;
    if messages == 0 {
        return FIRST.min(bounds.rows);
    }
    let each = (bytes / messages).max(1);
    (bounds.bytes / each).clamp(1, bounds.rows)
}

/// An error of a client library as one for people. `what` completes "failed to …"; the address has no password.
pub(crate) fn failed(what: &str, address: &str, error: &(dyn std::error::Error + 'static)) -> SourceError {
    let text = in_one_line(error);
    let found = SourceError::new(format!("{what} at {address}: {text}"));
    let is_tls = ["amqps:", "mqtts:", "rediss:", "tls:"].iter().any(|scheme| address.starts_with(scheme));
    match remedy(&text) {
        // A server that speaks another protocol waits for more.
        Some(remedy)
            if is_tls && text.to_ascii_lowercase().contains("time") && !text.contains("certificate") =>
        {
            found.remedy(format!("{remedy}; perhaps the server does not speak TLS at this port"))
        }
        Some(remedy) => found.remedy(remedy),
        None => found,
    }
}

/// An error with its causes, none of them twice.
fn in_one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// What a person may do about an error, by what the client libraries and the TLS library write.
fn remedy(text: &str) -> Option<&'static str> {
    const REMEDIES: &[(&str, &str)] = &[
        (
            "unknownissuer",
            "no authority that this machine trusts has signed the server's certificate; set `ca_file` to the certificate of its authority",
        ),
        ("notvalidforname", "the server's certificate is for another name; use that name in `url`"),
        ("not valid for name", "the server's certificate is for another name; use that name in `url`"),
        (
            "certificate expired",
            "the server's certificate has expired; renew it, and check the clock of this machine",
        ),
        (
            "certificate not valid yet",
            "the server's certificate is not valid yet; check the clock of this machine",
        ),
        (
            "causedasendentity",
            "the server's certificate is that of an authority; have it issue one for the server",
        ),
        (
            "invalidcontenttype",
            "the server does not speak TLS at this port; check the scheme and the port of `url`",
        ),
        (
            "corrupt message",
            "the server does not speak TLS at this port; check the scheme and the port of `url`",
        ),
        (
            "corruptmessage",
            "the server does not speak TLS at this port; check the scheme and the port of `url`",
        ),
        ("handshake eof", "the server ended the TLS handshake; check the scheme and the port of `url`"),
        ("certificaterequired", "the server wants a certificate of its clients, which is not supported"),
        ("wrongpass", "check the user and the password in `url`"),
        ("noauth", "the server wants a password; write it into `url`"),
        ("noperm", "the user in `url` may not do this; change the server's access list"),
        (
            "access_refused",
            "check the user, the password and the virtual host in `url`, and the user's permissions",
        ),
        (
            "access-refused",
            "check the user, the password and the virtual host in `url`, and the user's permissions",
        ),
        ("password authentication failed", "check the user and the password in `url`"),
        (
            "authorization violation",
            "check the user, the password or the token in `url`, and the user's permissions",
        ),
        ("authentication", "check the user and the password in `url`"),
        ("badusernamepassword", "check the user and the password in `url`"),
        ("not authorized", "check the user and the password in `url`, and what the user may read"),
        ("notauthorized", "check the user and the password in `url`, and what the user may read"),
        ("sessiontakenover", "another client has the same client id; set `client_id`"),
        ("connection refused", "check the host and the port in `url`, and that the server runs"),
        ("failed to lookup address", "check the host in `url`"),
        ("name or service not known", "check the host in `url`"),
        (
            "reset by peer",
            "the server ended the connection; check the scheme and the port of `url`: is TLS spoken there, or not?",
        ),
        ("connection timeout", "check the host and the port in `url`, and that no firewall is in between"),
        ("timed out", "check the host and the port in `url`, and that no firewall is in between"),
    ];
    let text = text.to_ascii_lowercase();
    REMEDIES.iter().find(|(part, _)| text.contains(part)).map(|(_, remedy)| *remedy)
}

/// A file with certificates of authorities, in PEM.
#[cfg(any(feature = "amqp", feature = "mqtt", feature = "redis"))]
fn read_ca(path: &std::path::Path) -> Result<String, SourceError> {
    std::fs::read_to_string(path).map_err(|error| {
        SourceError::new(format!("read the certificates in {}: {error}", path.display()))
            .remedy("correct `ca_file`, and let the server read the file")
    })
}

/// TLS that trusts the authorities of this machine and of the file.
#[cfg(any(feature = "amqp", feature = "mqtt"))]
fn tls_config(ca_file: Option<&std::path::Path>) -> Result<tokio_rustls::rustls::ClientConfig, SourceError> {
    use tokio_rustls::rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, pem::PemObject as _},
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        for certificate in CertificateDer::pem_slice_iter(read_ca(path)?.as_bytes()) {
            let added = certificate.map_err(|error| error.to_string());
            added.and_then(|found| roots.add(found).map_err(|error| error.to_string())).map_err(|why| {
                SourceError::new(format!("read the certificates in {}: {why}", path.display()))
                    .remedy("correct `ca_file`")
            })?;
        }
    }
    let config = ClientConfig::builder_with_provider(std::sync::Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions();
    let config = config.map_err(|error| SourceError::new(format!("set up TLS: {error}")))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(headers: &[(&str, &str)], content_type: Option<&str>, body: &str) -> Message {
        Message {
            identity: "own".into(),
            headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            content_type: content_type.map(str::to_owned),
            body: body.into(),
            receipt: 7,
            ..Message::default()
        }
    }

    #[test]
    fn a_plain_message_has_the_identity_of_the_broker() {
        let delivery = message(&[("subject", "a")], Some("text/plain"), "x").delivery(&["ce_"]);
        assert_eq!((delivery.identity.as_str(), delivery.receipt), ("own", 7));
        assert_eq!(delivery.header_value("content-type"), Some("text/plain"));
        assert_eq!(delivery.refused, None);
    }

    #[test]
    fn a_cloud_event_has_the_same_headers_in_every_form() {
        let attributes = [
            ("cloudevents_specversion", "1.0"),
            ("cloudevents_id", "1"),
            ("cloudevents_source", "/shop"),
            ("cloudevents_type", "order.created"),
            ("cloudevents_subject", "order 1"),
            ("other", "x"),
        ];
        let binary = message(&attributes, Some("application/json"), r#"{"n":1}"#);
        let binary = binary.delivery(&["cloudevents:", "cloudevents_"]);
        let structured = message(
            &[("other", "x")],
            Some("application/cloudevents+json; charset=utf-8"),
            r#"{"specversion":"1.0","id":"1","source":"/shop","type":"order.created","subject":"order 1","data":{"n":1}}"#,
        )
        .delivery(&["cloudevents:", "cloudevents_"]);
        for delivery in [&binary, &structured] {
            assert_eq!(delivery.identity, "/shop 1");
            assert_eq!(delivery.body, br#"{"n":1}"#);
            assert_eq!(delivery.order_key.as_deref(), Some("order 1"));
            assert_eq!(delivery.header_value("ce-type"), Some("order.created"));
            assert_eq!(delivery.header_value("other"), Some("x"));
            assert_eq!((delivery.receipt, &delivery.refused), (7, &None));
        }
    }

    #[test]
    fn a_malformed_cloud_event_is_refused_alone_and_under_its_own_identity() {
        for (message, why) in [
            (message(&[("ce_specversion", "1.0"), ("ce_id", "1")], None, "{}"), "no `source`"),
            (message(&[("ce_specversion", "9")], None, "{}"), "version"),
            (message(&[], Some("application/cloudevents+json"), "{"), "no JSON object"),
            (message(&[], Some("application/cloudevents+avro"), "{"), "avro"),
        ] {
            let delivery = message.delivery(&["ce_"]);
            assert!(delivery.refused.as_ref().unwrap().contains(why), "{delivery:?}");
            assert_eq!((delivery.identity.as_str(), delivery.receipt), ("own", 7));
        }
    }

    #[test]
    fn deliveries_are_taken_in_order_within_the_bounds_and_never_none() {
        let mut ready: VecDeque<_> = (0..5).map(|n| Delivery::new(n.to_string(), vec![b'x'; 1000])).collect();
        let names =
            |taken: Vec<Delivery>| taken.into_iter().map(|delivery| delivery.identity).collect::<String>();
        assert_eq!(names(within(&mut ready, Bounds { rows: 2, bytes: 1_000_000 })), "01");
        assert_eq!(names(within(&mut ready, Bounds { rows: 9, bytes: 10 })), "2");
        assert_eq!(names(within(&mut ready, Bounds { rows: 9, bytes: 2500 })), "34");
        assert!(within(&mut ready, Bounds { rows: 9, bytes: 10 }).is_empty());
        let bounds = Bounds { rows: 1000, bytes: 8_000_000 };
        assert_eq!(count_within((10, 10_000_000), bounds), 8);
        assert_eq!(count_within((10, 1000), bounds), 1000);
        assert_eq!(count_within((1, 90_000_000), bounds), 1);
    }

    #[test]
    fn errors_of_tls_and_of_passwords_say_what_to_check() {
        for (text, part) in [
            ("invalid peer certificate: UnknownIssuer", "ca_file"),
            ("WRONGPASS: invalid username-password pair", "password"),
            ("received corrupt message of type InvalidContentType", "does not speak TLS"),
            ("Connection refused (os error 111)", "runs"),
            ("ACCESS_REFUSED - Login was refused", "password"),
        ] {
            assert!(remedy(text).is_some_and(|remedy| remedy.contains(part)), "{text}");
        }
        assert_eq!(remedy("something else"), None);
    }
}
