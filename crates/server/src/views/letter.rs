//! Dead letters as readers see them. What jobs of a trigger hide, its dead letters hide, too.

use backroom::{
    Backroom, Json,
    core::redact::{HIDDEN, Pointer, Redaction},
    store::DeadLetter,
};
use backroom_triggers::{BodyFormat, MappingRule};
use serde_json::Value;

use super::trigger::DeadLetterView;

/// What a reader may see beyond what every reader sees.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    /// Whether dead letters are shown whole in which hidden fields cannot be found.
    pub(crate) sees_whole: bool,
    /// Whether the jobs of a queue are for this reader. None stands for any queue.
    pub(crate) sees: &'a (dyn Fn(Option<&str>) -> bool + Sync),
}

impl Reader<'static> {
    /// The holder of the store.
    pub(crate) const OF_STORE: Self = Self { sees_whole: true, sees: &|_| true };
}

/// What dead letters of a trigger hide.
#[derive(Debug, PartialEq)]
enum Hiding {
    Nothing,
    /// These fields of the body.
    Fields(Vec<Pointer>),
    /// Fields that cannot be found in the body.
    Unknown,
}

/// Whether dead letters with this mapping hide anything: then they are read with their bodies.
pub(crate) fn may_hide(backroom: &Backroom, mapping: Option<&MappingRule>) -> bool {
    hiding(backroom, mapping) != Hiding::Nothing
}

/// A dead letter as the reader sees it, and whether it is shown whole although something of it should be hidden: that goes into the audit log.
pub(crate) fn shown(
    backroom: &Backroom,
    mapping: Option<&MappingRule>,
    letter: DeadLetter,
    reader: Reader<'_>,
) -> (DeadLetterView, bool) {
    if !(reader.sees)(mapping.and_then(queue)) {
        return (withheld(letter), false);
    }
    let fields = match hiding(backroom, mapping) {
        Hiding::Nothing => return (letter.into(), false),
        Hiding::Fields(fields) => Some(fields),
        Hiding::Unknown => None,
    };
    let body = letter.body.as_deref().and_then(|body| std::str::from_utf8(body).ok());
    let body = body.and_then(|body| Json::parse(body).ok());
    let part = mapping.and_then(|mapping| mapping.pointer.as_deref()).unwrap_or_default();
    match (fields, body) {
        (Some(fields), Some(body)) if has_args(&letter, &body, part) => {
            (redacted(letter, fields, &body), false)
        }
        _ if reader.sees_whole => (letter.into(), true),
        _ => (withheld(letter), false),
    }
}

/// The only queue of its jobs; none if it comes from the delivery.
fn queue(mapping: &MappingRule) -> Option<&str> {
    let queue = mapping.queue.as_deref().unwrap_or(backroom::core::draft::QUEUE_DEFAULT);
    (!queue.contains("{{")).then_some(queue)
}

fn hiding(backroom: &Backroom, mapping: Option<&MappingRule>) -> Hiding {
    let Some(mapping) = mapping else { return Hiding::Unknown };
    let kinds = || mapping.kinds.iter().chain([&mapping.kind]);
    if kinds().any(|kind| backroom.is_sealed_kind(kind)) {
        return Hiding::Unknown;
    }
    let fields: Vec<_> = kinds().flat_map(|kind| backroom.hidden_fields(kind)).collect();
    if fields.is_empty() {
        return Hiding::Nothing;
    }
    if mapping.args.is_some() || mapping.body != BodyFormat::Json {
        return Hiding::Unknown;
    }
    // The args are this part of the body.
    let part = mapping.pointer.as_deref().unwrap_or_default();
    let fields = fields.into_iter().map(|field| format!("{part}{field}").parse());
    fields.collect::<Result<_, _>>().map_or(Hiding::Unknown, Hiding::Fields)
}

/// Whether the args stand in the body where the mapping says. What its source refused is stored as it came, which may be a whole event.
fn has_args(letter: &DeadLetter, body: &Json, part: &str) -> bool {
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    value(letter.delivery.as_str())["by_source"] != true && value(body.as_str()).pointer(part).is_some()
}

fn redacted(mut letter: DeadLetter, fields: Vec<Pointer>, body: &Json) -> DeadLetterView {
    let mut redaction = Redaction::new(fields);
    letter.body = Some(redaction.json(body).as_str().as_bytes().to_vec());
    letter.reason = redaction.text(&letter.reason);
    letter.identity = redaction.text(&letter.identity);
    letter.delivery = redaction.within(&letter.delivery);
    letter.into()
}

/// That it is there, and nothing of what it carries.
fn withheld(mut letter: DeadLetter) -> DeadLetterView {
    letter.body = None;
    // It may be a hash of the body, or a field of it.
    letter.identity = HIDDEN.into();
    letter.reason =
        format!("{HIDDEN}: its fields cannot be hidden one by one, so a reader needs the scope admin");
    let mut view = DeadLetterView::from(letter);
    view.delivery = Value::Null;
    view
}

#[cfg(test)]
mod tests {
    use backroom::{Options, Timestamp};
    use serde_json::json;

    use super::*;

    const READER: Reader<'static> = Reader { sees_whole: false, sees: &|_| true };

    async fn store() -> Backroom {
        let options = Options::new().hide("charge", ["/card".parse().unwrap()]).seal_kind("pay", "payroll");
        options.open("memory:").await.unwrap()
    }

    fn mapping(rule: Value) -> MappingRule {
        serde_json::from_value(rule).unwrap()
    }

    fn letter(body: &str) -> DeadLetter {
        DeadLetter {
            id: uuid::Uuid::nil(),
            trigger: "orders".into(),
            identity: "one".into(),
            reason: "4111 is no card".into(),
            at: Timestamp::UNIX_EPOCH,
            delivery: Json::parse(r#"{"headers":{"card":"4111"}}"#).unwrap(),
            body_bytes: body.len() as u64,
            body: Some(body.into()),
        }
    }

    #[tokio::test]
    async fn a_dead_letter_hides_what_the_jobs_of_its_trigger_hide() {
        let (store, body) = (store().await, r#"{"card":"4111","order":{"card":"4111","n":1}}"#);
        let see = |rule: Value, body: &str, reader| shown(&store, Some(&mapping(rule)), letter(body), reader);
        for rule in
            [json!({"kind": "charge"}), json!({"kind": "{{header.kind}}", "kinds": ["other", "charge"]})]
        {
            let (view, is_whole) = see(rule, body, READER);
            let text = serde_json::to_string(&view).unwrap();
            assert!(
                text.contains("(hidden)") && !view.body.unwrap().starts_with(r#"{"card":"4111""#),
                "{text}"
            );
            assert!(
                !view.reason.contains("4111") && !is_whole && !view.delivery.to_string().contains("4111")
            );
        }
        let (view, _) =
            see(json!({"kind": "charge", "pointer": "/order"}), r#"{"order":{"card":"4111","n":1}}"#, READER);
        assert!(!serde_json::to_string(&view).unwrap().contains("4111"), "{view:?}");
        // It cannot be found in these.
        for rule in [
            json!({"kind": "charge", "args": {"card": "{{body/nr}}"}}),
            json!({"kind": "charge", "body": "text"}),
            json!({"kind": "pay"}),
        ] {
            let (view, _) = see(rule.clone(), body, READER);
            assert!(!serde_json::to_string(&view).unwrap().contains("4111"), "{view:?}");
            let (view, is_whole) = see(rule, body, Reader::OF_STORE);
            assert!(view.body.unwrap().contains("4111") && is_whole);
        }
        // Nor in what its source refused, nor where the args are missing.
        let mut event = letter(r#"{"specversion":"1.0","data":{"card":"4111"}}"#);
        event.identity = "4111".into();
        event.delivery = Json::parse(r#"{"headers":[],"by_source":true}"#).unwrap();
        let (view, _) = shown(&store, Some(&mapping(json!({"kind": "charge"}))), event, READER);
        assert!(!serde_json::to_string(&view).unwrap().contains("4111"), "{view:?}");
        let (view, _) = see(json!({"kind": "charge", "pointer": "/data"}), body, READER);
        assert!(!serde_json::to_string(&view).unwrap().contains("4111"), "{view:?}");
        let (view, _) = see(json!({"kind": "charge"}), "no JSON 4111", READER);
        assert!(!serde_json::to_string(&view).unwrap().contains("4111"), "{view:?}");
        let (view, is_whole) = see(json!({"kind": "other"}), body, READER);
        assert!(view.body.unwrap().contains("4111") && !is_whole, "nothing of it is hidden");
        let others =
            Reader { sees_whole: true, sees: &|queue| queue.is_some_and(|queue| queue != "payroll") };
        for rule in
            [json!({"kind": "other", "queue": "payroll"}), json!({"kind": "other", "queue": "{{header.q}}"})]
        {
            let (view, _) = see(rule, body, others);
            assert!(view.body.is_none() && !view.reason.contains("4111"), "the queue is for other tokens");
        }
    }
}
