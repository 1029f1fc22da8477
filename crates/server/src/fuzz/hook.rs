//! What a sender of requests to a hook may send, and what they become.

use std::cell::RefCell;

use backroom::{Backroom, Json, Timestamp};
use backroom_triggers::{
    Delivery, Mapping, Outcome, Preview, RunningTriggers, Triggers,
    hooks::{Content, Hook, HookSecret, Scheme},
};
use serde_json::json;

/// Inputs that one store gets before the next is made, so that its jobs stay few.
const INPUTS_MAX: u32 = 200;
/// Headers that a stranger could add to a request that another one has signed.
const FORGED: [(&str, &str); 4] =
    [("ce-id", "forged"), ("ce-source", "forged"), ("ce-type", "forged"), ("aeg-event-type", "Notification")];
/// Media types that a stranger could give to it.
const MEDIA_TYPES: [&str; 4] = [
    "application/json",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/cloudevents+avro",
];
/// The kind of the jobs, where the input names none.
const KIND: &str = "fuzzed";

/// A store, and how many inputs it had.
struct Receiving {
    runtime: tokio::runtime::Runtime,
    backroom: Backroom,
    inputs: u32,
}

thread_local! {
    static RECEIVING: RefCell<Option<Receiving>> = const { RefCell::new(None) };
}

/// What an input says: lines `@scheme`, `@secret`, `@now`, `@kind`, `@kinds`, `@filter`, `@pointer`, `@args` and `@lane` about the hook, other
/// lines as headers, and after an empty line the body.
struct Input {
    hook: Hook,
    scheme: Scheme,
    mapping: Option<Mapping>,
    now: Timestamp,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A request to a hook. Whatever it has: it is read the same each time, what is not signed chooses nothing, and a delivery that comes twice is one
/// job or one dead letter.
pub(super) fn hook(bytes: &[u8]) {
    let Some(input) = read(bytes) else { return };
    let Input { hook, headers, body, now, .. } = &input;
    let content = hook.read(headers, body);
    assert_eq!(content, hook.read(headers, body), "it is read the same each time");
    match hook.receive(headers, body, *now) {
        Ok(accepted) => assert_eq!(accepted, content, "a proof changes nothing of what is read"),
        Err(refusal) => assert!(!refusal.described().is_empty()),
    }
    if input.scheme != Scheme::None {
        let unsigned = hook.receive(&[], body, *now);
        assert!(unsigned.is_err(), "nothing proves who sent it: {unsigned:?}");
    }
    let deliveries = match content {
        Content::Deliveries(deliveries) => deliveries,
        Content::Malformed(delivery) => {
            assert!(
                delivery.refused.is_some() && delivery.body == *body,
                "it is there as it came: {delivery:?}"
            );
            vec![delivery]
        }
        Content::Handshake { .. } | Content::Nothing => return,
    };
    deliveries.iter().for_each(check);
    if input.signs_body_only() {
        input.check_forgeries(&deliveries);
    }
    if let Some(mapping) = &input.mapping {
        RECEIVING.with_borrow_mut(|receiving| {
            receiving.take_if(|receiving| receiving.inputs >= INPUTS_MAX);
            receiving.get_or_insert_with(Receiving::start).take(mapping, &deliveries);
        });
    }
}

fn check(delivery: &Delivery) {
    assert!(!delivery.identity.is_empty(), "it has no name: {delivery:?}");
    assert!(delivery.refused.as_ref().is_none_or(|why| !why.is_empty()), "{delivery:?}");
    for (name, _) in &delivery.headers {
        let is_attribute = name.starts_with("ce-");
        let is_proof = ["authorization", "x-webhook-secret", "cookie"].contains(&name.as_str())
            || name.contains("signature") && !is_attribute;
        assert!(!is_proof, "a job learns a proof: {name}");
    }
}

/// Names and bodies of deliveries that may become jobs.
fn accepted(content: Content) -> Vec<(String, Vec<u8>)> {
    match content {
        Content::Deliveries(deliveries) => {
            let accepted = deliveries.into_iter().filter(|delivery| delivery.refused.is_none());
            accepted.map(|delivery| (delivery.identity, delivery.body)).collect()
        }
        Content::Malformed(_) | Content::Handshake { .. } | Content::Nothing => Vec::new(),
    }
}

impl Input {
    fn signs_body_only(&self) -> bool {
        !matches!(self.scheme, Scheme::Secret | Scheme::Basic | Scheme::None)
    }

    /// What is not signed neither makes another delivery of a request, nor says what it is.
    fn check_forgeries(&self, deliveries: &[Delivery]) {
        let known = accepted(Content::Deliveries(deliveries.to_vec()));
        let with = |name: &str, value: &str| {
            let mut headers = vec![(name.to_owned(), value.to_owned())];
            headers
                .extend(self.headers.iter().filter(|(known, _)| !known.eq_ignore_ascii_case(name)).cloned());
            self.hook.read(&headers, &self.body)
        };
        for (name, value) in FORGED {
            let forged = with(name, value);
            if let Content::Deliveries(deliveries) = &forged {
                let is_forged = |delivery: &Delivery| delivery.header_value(name) == Some(value);
                assert!(
                    !name.starts_with("ce-") || !deliveries.iter().any(is_forged),
                    "{name}: {deliveries:?}"
                );
            }
            assert_eq!(accepted(forged), known, "{name}");
        }
        assert!(accepted(with("ce-specversion", "1.0")).is_empty(), "nothing signs a CloudEvent in headers");
        let mut all: Vec<_> = MEDIA_TYPES.iter().map(|text| accepted(with("content-type", text))).collect();
        all.push(known);
        all.retain(|found| !found.is_empty());
        all.dedup();
        assert!(all.len() <= 1, "the media type, which nothing signs, makes other deliveries: {all:?}");
    }
}

impl Receiving {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let backroom = runtime.block_on(Backroom::open("memory:")).expect("a store");
        Self { runtime, backroom, inputs: 0 }
    }

    /// Makes jobs of deliveries, twice.
    fn take(&mut self, mapping: &Mapping, deliveries: &[Delivery]) {
        self.inputs += 1;
        // Deliveries of one input must not meet those of another.
        let name = format!("in{}", self.inputs);
        let backroom = &self.backroom;
        self.runtime.block_on(async move {
            let triggers =
                Triggers::new(backroom).add_pushed(name.as_str(), "hook", json!({}), mapping.clone());
            let triggers = triggers.start().await.expect("a trigger");
            taken_twice(&triggers, &name, mapping, deliveries).await;
            triggers.stop().await;
        });
    }
}

async fn taken_twice(triggers: &RunningTriggers, name: &str, mapping: &Mapping, deliveries: &[Delivery]) {
    let intake = triggers.intake(name).expect("it was added");
    let rule = mapping.rule();
    for delivery in deliveries {
        match intake.preview(delivery) {
            Preview::Job(job) => {
                let is_allowed = *job.kind == *rule.kind || rule.kinds.iter().any(|kind| *kind == *job.kind);
                assert!(is_allowed, "{} is not allowed", job.kind);
                assert!(delivery.refused.is_none());
            }
            Preview::Refused(why) => assert!(!why.is_empty()),
            Preview::LeftOut => {}
        }
    }
    let first = intake.take(deliveries).await.expect("a store in memory takes everything");
    let again = intake.take(deliveries).await.expect("a store in memory takes everything");
    assert_eq!((first.len(), again.len()), (deliveries.len(), deliveries.len()));
    for (first, again) in first.iter().zip(&again) {
        match (first, again) {
            (Outcome::Enqueued(one) | Outcome::Duplicate(one), Outcome::Duplicate(other)) => {
                assert_eq!(one, other, "it is one job");
            }
            (Outcome::Refused { dead_letter: one, .. }, Outcome::Refused { dead_letter: other, .. }) => {
                assert_eq!(one, other, "it is one dead letter");
            }
            (Outcome::LeftOut, Outcome::LeftOut) => {}
            (first, again) => panic!("first {first:?}, then {again:?}"),
        }
    }
}

fn read(bytes: &[u8]) -> Option<Input> {
    let end = bytes.windows(2).position(|two| two == b"\n\n");
    let (head, body) = match end {
        Some(end) => (&bytes[..end], &bytes[end + 2..]),
        None => (bytes, &[][..]),
    };
    let (mut scheme, mut secret, mut now) = (Scheme::None, String::new(), Timestamp::UNIX_EPOCH);
    let mut rule = Mapping::kind(KIND);
    let mut headers = Vec::new();
    for line in std::str::from_utf8(head).ok()?.lines() {
        if let Some((key, value)) = line.strip_prefix('@').and_then(|line| line.split_once(' ')) {
            match key {
                "scheme" => scheme = Scheme::named(value).ok()?,
                "secret" => secret = value.to_owned(),
                "now" => now = Timestamp::from_second(value.parse().ok()?).ok()?,
                "kind" => rule = Mapping::kind(value),
                "kinds" => rule = value.split(',').fold(rule, backroom_triggers::MappingBuilder::allow_kind),
                "filter" => rule = rule.when(value),
                "pointer" => rule = rule.pointer(value),
                "args" => rule = rule.args(Json::parse(value).ok()?),
                "lane" => rule = rule.lane(value),
                _ => return None,
            }
            continue;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let secrets = match scheme {
        Scheme::None => Vec::new(),
        _ => vec![HookSecret::new(scheme, &secret).ok()?],
    };
    let hook = Hook::new(scheme, secrets).ok()?;
    let mapping = rule.build().ok().filter(|mapping| hook.check_mapping(mapping).is_ok());
    Some(Input { hook, scheme, mapping, now, headers, body: body.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A seed that is not read would search nothing.
    #[test]
    fn every_seed_is_read_and_its_proof_is_right() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/hook");
        let mut proved = 0;
        for entry in std::fs::read_dir(folder).expect("the corpus") {
            let path = entry.expect("an entry").path();
            let bytes = std::fs::read(&path).expect("the bytes of a seed");
            let input = read(&bytes).unwrap_or_else(|| panic!("{} is not read", path.display()));
            assert!(input.mapping.is_some(), "{} has no mapping", path.display());
            let Input { hook, headers, body, now, scheme, .. } = input;
            // The challenge of Slack is there without a signature, too.
            let is_proved = hook.receive(&headers, &body, now).is_ok();
            assert!(is_proved || scheme == Scheme::Slack, "{} has no right proof", path.display());
            proved += usize::from(is_proved);
        }
        assert!(proved > 15, "{proved} seeds");
    }
}
