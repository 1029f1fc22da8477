//! CloudEvents, whichever way they came: <https://cloudevents.io>. Each attribute becomes a header `ce-NAME`, the data becomes the body.

use backroom::Timestamp;
use serde_json::{Value, value::RawValue};

use crate::Delivery;

/// What the headers begin with that attributes become.
pub(crate) const CE: &str = "ce-";
/// Members of the JSON format that are no attributes.
const DATA: [&str; 2] = ["data", "data_base64"];

/// The attributes of a CloudEvent that are read.
#[derive(Debug, Default)]
struct CloudEvent {
    version: Option<String>,
    id: Option<String>,
    source: Option<String>,
    kind: Option<String>,
    time: Option<String>,
    subject: Option<String>,
}

/// An event in the binary form: `attribute` answers an attribute by its name, `headers` are passed on.
pub(crate) fn binary(
    attribute: impl Fn(&str) -> Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
) -> Result<Delivery, String> {
    CloudEvent::read(attribute).delivery(headers, body)
}

/// An event in the JSON format. Its attributes become headers as in the binary form, its data the body. `others` are passed on.
pub(crate) fn structured(text: &str, others: Vec<(String, String)>) -> Result<Delivery, String> {
    let members: std::collections::BTreeMap<String, &RawValue> =
        serde_json::from_str(text).map_err(|error| format!("the CloudEvent is no JSON object: {error}"))?;
    let plain = |json: &RawValue| match serde_json::from_str::<Value>(json.get()) {
        Ok(Value::String(text)) => text,
        _ => json.get().to_owned(),
    };
    let body = match (members.get("data"), members.get("data_base64")) {
        (Some(data), None) => data.get().as_bytes().to_vec(),
        (None, Some(data)) => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD
                .decode(plain(data))
                .map_err(|_| "the CloudEvent has `data_base64` that is no base64".to_owned())?
        }
        (None, None) => b"null".to_vec(),
        (Some(_), Some(_)) => return Err("the CloudEvent has both `data` and `data_base64`".into()),
    };
    let event = CloudEvent::read(|name| members.get(name).map(|json| plain(json)));
    // Attributes are those of the event, whatever the headers of the message say.
    let is_other = |(name, _): &(String, String)| name != "content-type" && !name.starts_with(CE);
    let mut headers: Vec<_> = others.into_iter().filter(is_other).collect();
    let attributes = members.iter().filter(|(name, _)| !DATA.contains(&name.as_str()));
    headers
        .extend(attributes.map(|(name, json)| (format!("{CE}{}", name.to_ascii_lowercase()), plain(json))));
    event.delivery(headers, body)
}

impl CloudEvent {
    fn read(attribute: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            version: attribute("specversion"),
            id: attribute("id"),
            source: attribute("source"),
            kind: attribute("type"),
            time: attribute("time"),
            subject: attribute("subject"),
        }
    }

    /// The delivery; source and id name it, as the specification says.
    fn delivery(self, headers: Vec<(String, String)>, body: Vec<u8>) -> Result<Delivery, String> {
        let required = |name: &str, value: Option<String>| {
            value.filter(|value| !value.is_empty()).ok_or_else(|| format!("the CloudEvent has no `{name}`"))
        };
        match self.version.as_deref() {
            Some("1.0" | "0.3") => {}
            Some(other) => return Err(format!("the CloudEvent has the version {other:?}; 1.0 is read")),
            None => return Err("the CloudEvent has no `specversion`".into()),
        }
        let (id, source) = (required("id", self.id)?, required("source", self.source)?);
        required("type", self.kind)?;
        let at = self.time.as_deref().map(str::parse::<Timestamp>).transpose();
        let at = at.map_err(|_| "the CloudEvent has a `time` that is no RFC 3339 time".to_owned())?;
        let delivery = Delivery {
            headers,
            at,
            order_key: self.subject,
            ..Delivery::new(format!("{source} {id}"), body)
        };
        Ok(delivery)
    }
}
