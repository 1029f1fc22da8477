//! The text of the column `extras`: what is written is read back, and what this program did not write is refused by name.

use std::{collections::BTreeMap, time::Duration};

use backroom_core::{
    Callback, Extras, MessageKind, MessageKinds, Reply, RetryPolicy,
    extras::{KNOWN_PREFIXES, VERSION},
    retry::Backoff,
    schedule::Occurrence,
};
use proptest::prelude::*;

/// Every field is set, and named here: a new one has to be added.
fn full() -> Extras {
    Extras {
        timeout: Some(Duration::from_secs(90)),
        retry: Some(RetryPolicy::list([Duration::from_secs(1)]).jitter(25)),
        meta: [("a".to_owned(), "b".to_owned())].into(),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        reply: Some(Reply {
            to: "replies".into(),
            correlation_id: Some("7".into()),
            on: [MessageKind::Completed, MessageKind::Started].into_iter().collect(),
        }),
        callback: Some(Callback { url: "https://example.org/done".into(), on: MessageKinds::END }),
        occurrence: Some(Box::new(Occurrence {
            schedule: "nightly".into(),
            nominal: "2026-11-27T02:00:00Z".parse().expect("a moment"),
        })),
        hidden: vec!["/card/number".into()],
    }
}

const FULL: &str = r#"{"v":1,"timeout_ms":90000,"retry":{"backoff":{"list":[1000]},"jitter_percent":25,"cap_ms":86400000},"meta":{"a":"b"},"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","reply":{"to":"replies","correlation_id":"7","on":["started","completed"]},"callback":{"url":"https://example.org/done","on":["completed","discarded","cancelled"]},"occurrence":{"schedule":"nightly","nominal":"2026-11-27T02:00:00Z"},"hidden":["/card/number"]}"#;

#[track_caller]
fn refused(text: &str, why: &str) {
    let error = Extras::from_stored(Some(text)).expect_err(text);
    assert_eq!(error.what, "extras");
    assert!(error.why.contains(why), "{text}: {error} lacks {why:?}");
}

#[test]
fn stored_text_begins_as_stores_expect_it_of_a_version_they_know() {
    let stored = full().stored().expect("encodes").unwrap_or_default();
    assert!(KNOWN_PREFIXES.iter().any(|prefix| stored.starts_with(prefix)), "{stored}");
    for (version, prefix) in (1..).zip(KNOWN_PREFIXES) {
        assert_eq!(prefix, format!(r#"{{"v":{version},"#));
    }
}

#[test]
fn nothing_set_is_no_text_at_all() {
    assert_eq!(Extras::default().stored(), Ok(None));
    assert_eq!(Extras::from_stored(None), Ok(Extras::default()));
    assert_eq!(Extras::default().bytes_max(), 0);
}

#[test]
fn every_field_stands_behind_the_version_and_only_if_it_is_set() {
    assert_eq!(full().stored().expect("encodes").as_deref(), Some(FULL));
    assert_eq!(Extras::from_stored(Some(FULL)), Ok(full()));
    let one = Extras { timeout: Some(Duration::from_millis(1)), ..Extras::default() };
    assert_eq!(one.stored().expect("encodes").as_deref(), Some(r#"{"v":1,"timeout_ms":1}"#));
}

#[test]
fn a_newer_version_is_named_whatever_it_holds() {
    let newer = VERSION + 1;
    refused(
        &format!(r#"{{"v":{newer},"timeout_ms":"a minute","reply_to":{{"queue":[1,null]}}}}"#),
        &format!("have version {newer}, this program knows versions up to {VERSION}"),
    );
    refused(r#"{"v":4294967295}"#, "update this one");
}

#[test]
fn what_this_program_does_not_write_is_refused() {
    refused("", "do not parse");
    refused("null", "expected an object");
    refused("[1]", "expected an object");
    refused("{}", "not the version");
    refused(r#"{"timeout_ms":1,"v":1}"#, "not the version");
    refused(r#"{"v":0}"#, "version 0 never existed");
    refused(r#"{"v":-1}"#, "do not parse");
    refused(r#"{"v":"1"}"#, "do not parse");
    refused(r#"{"v":1,"v":1}"#, "unknown field `v`");
    refused(r#"{"v":1,"reply_to":null}"#, "unknown field `reply_to`");
    refused(r#"{"v":1,"timeout_ms":1,"timeout_ms":2}"#, "duplicate field `timeout_ms`");
    refused(r#"{"v":1,"timeout_ms":-1}"#, "do not parse");
    refused(r#"{"v":1,"retry":{"backoff":"never"}}"#, "unknown variant `never`");
    refused(r#"{"v":1,"meta":{"a":1}}"#, "do not parse");
    refused(r#"{"v":1,"reply":{"to":"a","on":["finished"]}}"#, "unknown variant `finished`");
    refused(r#"{"v":1,"reply":{"to":"a","cc":"b"}}"#, "unknown field `cc`");
    refused(r#"{"v":1}x"#, "trailing characters");
    refused(r#"{"v":2}x"#, "trailing characters");
}

#[test]
fn a_job_shows_every_field_in_json_set_or_not() {
    let keys = |extras: &Extras| {
        let shown = serde_json::to_value(extras).expect("encodes");
        shown.as_object().expect("an object").keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(keys(&Extras::default()), keys(&full()));
    assert_eq!(
        keys(&full()),
        ["callback", "hidden", "meta", "occurrence", "reply", "retry", "timeout_ms", "traceparent"]
    );
}

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![any::<u64>(), 0u64..100_000].prop_map(Duration::from_millis)
}

fn backoff() -> impl Strategy<Value = Backoff> {
    prop_oneof![
        Just(Backoff::Quartic),
        span().prop_map(Backoff::Constant),
        span().prop_map(Backoff::Linear),
        span().prop_map(Backoff::Exponential),
        prop::collection::vec(span(), 0..100).prop_map(Backoff::List),
    ]
}

prop_compose! {
    fn retry()(backoff in backoff(), jitter_percent: u8, cap in span()) -> RetryPolicy {
        RetryPolicy { backoff, jitter_percent, cap }
    }
}

fn kinds() -> impl Strategy<Value = MessageKinds> {
    prop::sample::subsequence(MessageKind::ALL.to_vec(), 0..=6).prop_map(|kinds| kinds.into_iter().collect())
}

fn meta() -> impl Strategy<Value = BTreeMap<String, String>> {
    let text = || prop_oneof![".{0,20}", "[\\x00-\\x1f\"\\\\\u{7f}\u{2028}a]{0,20}"];
    prop::collection::btree_map(text(), text(), 0..5)
}

prop_compose! {
    fn extras()(
        timeout in prop::option::of(span()),
        retry in prop::option::of(retry()),
        meta in meta(),
        traceparent in prop::option::of("[0-9a-f-]{0,60}"),
        reply in prop::option::of(("[\"a\u{1}]{0,20}", prop::option::of("[\"a\u{1}]{0,20}"), kinds())),
        callback in prop::option::of(("[\"a\u{1}]{0,20}", kinds())),
        occurrence in prop::option::of(("[\"a\u{1}]{0,20}", any::<u32>())),
        hidden in prop::collection::vec("/[\"a\u{1}]{0,20}", 0..4),
    ) -> Extras {
        let reply = reply.map(|(to, correlation_id, on)| Reply { to, correlation_id, on });
        let callback = callback.map(|(url, on)| Callback { url, on });
        let occurrence = occurrence.map(|(schedule, secs)| {
            let nominal = backroom_core::Timestamp::from_second(secs.into()).expect("in range");
            Box::new(Occurrence { schedule, nominal })
        });
        Extras { timeout, retry, meta, traceparent, reply, callback, occurrence, hidden }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_written_is_read_back_and_no_longer_than_its_bound(extras in extras()) {
        let stored = extras.stored().expect("encodes");
        prop_assert!(stored.as_ref().map_or(0, String::len) <= extras.bytes_max());
        prop_assert_eq!(Extras::from_stored(stored.as_deref()), Ok(extras));
    }

    #[test]
    fn no_text_makes_the_parser_panic_and_what_it_takes_it_writes_again(text in ".{0,60}") {
        takes_or_refuses(&text)?;
    }

    /// A valid text with a few characters changed, which gets deeper into the parser than random ones.
    #[test]
    fn no_damage_makes_the_parser_panic(
        extras in extras(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), "[0-9a-z\"{}\\[\\],:\\\\]{0,3}"), 1..4),
    ) {
        let mut text: Vec<char> = extras.stored().expect("encodes").unwrap_or_else(|| FULL.into()).chars().collect();
        for (place, new) in damage {
            let place = place.index(text.len());
            text.splice(place..=place, new.chars());
            if text.is_empty() {
                break;
            }
        }
        takes_or_refuses(&text.into_iter().collect::<String>())?;
    }
}

fn takes_or_refuses(text: &str) -> Result<(), TestCaseError> {
    match Extras::from_stored(Some(text)) {
        Ok(extras) => {
            let again = extras.stored().expect("encodes");
            prop_assert_eq!(Extras::from_stored(again.as_deref()), Ok(extras));
        }
        Err(invalid) => prop_assert!(invalid.what == "extras" && !invalid.why.is_empty()),
    }
    Ok(())
}
