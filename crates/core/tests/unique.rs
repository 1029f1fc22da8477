//! Uniqueness: equal work has one key, different work has another, and a held key has one answer.

mod common;

use std::time::Duration;

use backroom_core::{
    JobRow, Json, State,
    bounds::UNIQUE_KEY_BYTES_MAX,
    unique::{
        OnConflict, Resolution, UniqueBy, UniqueHold, UniqueRule, UniqueWhile, replace_content,
        resolve_conflict,
    },
};
use common::{at, draft, finished, id, json, now, queued, running, secs, suspicion};
use proptest::prelude::*;
use serde_json::{Value, json};

fn key_of(rule: &UniqueRule, kind: &str, args: &str) -> String {
    rule.resolve(kind, &json(args), now()).expect("allowed").key
}

fn key(args: &str) -> String {
    key_of(&UniqueRule::by_args(), "mail", args)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Odd eighths are exact and never whole: equal values are equal texts.
        any::<i16>().prop_map(|half| Value::from((2.0 * f64::from(half) + 1.0) / 8.0)),
        "[a-c\"\\\\{,:é]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[a-c\"]{0,2}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// The value as JSON with the fields of every object turned by `turn` places, and spaced out.
fn turned(value: &Value, turn: usize) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| turned(item, turn)).collect();
            format!("[ {} ]", items.join(" , "))
        }
        Value::Object(object) => {
            let name = |name: &String| Value::String(name.clone());
            let mut fields: Vec<_> =
                object.iter().map(|(n, v)| format!("{} : {}", name(n), turned(v, turn))).collect();
            let places = turn % fields.len().max(1);
            fields.rotate_left(places);
            format!("{{ {} }}", fields.join(" , "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

#[test]
fn keys_of_this_release_are_those_of_the_next() {
    // Other keys would let every duplicate in while old and new processes share a store.
    assert_eq!(key(r#"{"to":"ann","lines":[1,2]}"#), "mail#472e5f8e-3b01-5f54-87a9-9cee60ae37e6");
    assert_eq!(key_of(&UniqueRule::by_key("order-7"), "mail", "{}"), "mail=order-7");
}

#[test]
fn nearly_equal_args_have_different_keys() {
    let texts = [
        "{}",
        "[]",
        "null",
        "0",
        "1",
        "\"1\"",
        "1.5",
        "true",
        "\"\"",
        "[[]]",
        "[[],[]]",
        "[1,2]",
        "[2,1]",
        "[12]",
        r#"{"a":1}"#,
        r#"{"a":"1"}"#,
        r#"{"a":null}"#,
        r#"{"b":1}"#,
        r#"{"a":{"b":1}}"#,
        r#"{"a":1,"b":1}"#,
        r#"["a",1]"#,
        r#"{"a":[1]}"#,
        r#"{"a\":1,\"b":1}"#,
        r#"["a,b"]"#,
        r#"["a","b"]"#,
    ];
    for (index, a) in texts.iter().enumerate() {
        for b in &texts[..index] {
            assert_ne!(key(a), key(b), "{a} and {b}");
        }
    }
}

#[test]
fn ids_of_128_bits_are_all_different() {
    let first = 0x0190_0000_0000_7000_8000_0000_0000_0000_u128;
    let keys: std::collections::HashSet<_> =
        (0..1_000).map(|n| key(&format!(r#"{{"id":{}}}"#, first + n))).collect();
    assert_eq!(keys.len(), 1_000);
    assert_eq!(key(r#"{"a":1}"#), key(r#"{"a":1.0}"#));
    let by_id = UniqueRule::by_fields(["id"]);
    let of = |args: &str| key_of(&by_id, "mail", args);
    assert_ne!(of(r#"{"id":18446744073709551616}"#), of(r#"{"id":18446744073709551617}"#));
    assert_eq!(of(r#"{"id":1e400,"x":1}"#), of(r#"{"id":10e399}"#));
}

#[test]
fn a_field_that_stands_twice_counts_twice() {
    let of = |args: &str| key_of(&UniqueRule::by_fields(["a", "a"]), "mail", args);
    assert_eq!(of(r#"{"a":1,"b":0,"\u0061":2}"#), of(r#"{"a":1,"a":2,"c":0}"#));
    assert_ne!(of(r#"{"a":1,"a":2}"#), of(r#"{"a":2}"#));
    assert_ne!(of(r#"{"a":1,"a":2}"#), of(r#"{"a":2,"a":1}"#));
}

#[test]
fn jobs_of_different_kinds_are_never_the_same() {
    for rule in [UniqueRule::by_args(), UniqueRule::by_fields(["a"]), UniqueRule::by_key("k")] {
        assert_ne!(key_of(&rule, "mail", r#"{"a":1}"#), key_of(&rule, "post", r#"{"a":1}"#));
    }
    // A kind may contain the characters that end it in a key.
    let whole = key_of(&UniqueRule::by_key("b=c"), "a", "1");
    assert_ne!(whole, key_of(&UniqueRule::by_key("c"), "a=b", "1"));
    let (hash, given) = (key("1"), UniqueRule::by_key("k"));
    assert_ne!(key_of(&given, &hash, "1"), key_of(&UniqueRule::by_args(), "mail", "1"));
    assert_ne!(key_of(&given, "a%3D", "1"), key_of(&given, "a=", "1"));
}

#[test]
fn only_the_chosen_fields_count() {
    let by = |fields: &[&str], args: &str| key_of(&UniqueRule::by_fields(fields.to_vec()), "mail", args);
    let base = by(&["to", "day"], r#"{"to":"ann","day":1,"text":"x"}"#);
    assert_eq!(base, by(&["day", "to"], r#"{"text":"y","more":[1],"day":1,"to":"ann"}"#));
    assert_ne!(base, by(&["to", "day"], r#"{"to":"ann","day":2,"text":"x"}"#));
    assert_ne!(base, by(&["to"], r#"{"to":"ann","day":1,"text":"x"}"#));
    assert_eq!(by(&["to"], "{}"), by(&["to"], r#"{"to":null}"#), "a missing field counts as null");
}

#[test]
fn rules_that_cannot_be_met_are_refused() {
    let beyond = "x".repeat(UNIQUE_KEY_BYTES_MAX + 1);
    let nothing: [&str; 0] = [];
    let cases = [
        (UniqueRule::by_fields(nothing), "{}", "unique fields are an empty list"),
        (UniqueRule::by_fields(["a"]), "[1]", "unique fields need args that are a JSON object"),
        (UniqueRule::by_key(""), "{}", "unique key is empty"),
        (UniqueRule::by_key("a\0b"), "{}", "control character"),
        (UniqueRule::by_key(beyond), "{}", "unique key is 513 bytes long; at most 512"),
        (UniqueRule::by_args().within(Duration::ZERO), "{}", "unique window is zero"),
        (UniqueRule::by_args().within(Duration::from_millis(999)), "{}", "unique window is zero"),
        (UniqueRule::by_args().within(Duration::MAX), "{}", "unique window of"),
    ];
    for (rule, args, text) in cases {
        let said = rule.resolve("mail", &json(args), now()).expect_err(text).to_string();
        assert!(said.contains(text), "{said:?} lacks {text:?}");
    }
}

#[test]
fn a_window_begins_at_enqueue() {
    let hold = |rule: UniqueRule| rule.resolve("mail", &json("1"), now()).expect("allowed").hold;
    assert_eq!(hold(UniqueRule::by_args()), UniqueWhile::Live);
    assert_eq!(hold(UniqueRule::by_args().while_queued()), UniqueWhile::Queued);
    assert_eq!(hold(UniqueRule::by_args().within(secs(90))), UniqueWhile::Until(at(90)));
    assert_eq!(hold(UniqueRule::by_args().at_most(secs(90))), UniqueWhile::LiveUntil(at(90)));
    assert_eq!(
        hold(UniqueRule::by_args().while_queued().at_most(secs(90))),
        UniqueWhile::QueuedUntil(at(90))
    );
    assert_eq!(hold(UniqueRule::by_args().within(secs(90)).at_most(secs(30))), UniqueWhile::Until(at(30)));
}

#[test]
fn a_rule_reads_as_people_write_it() {
    let text = r#"{"by":{"fields":["to"]},"while":{"for_secs":60},"on_conflict":"replace"}"#;
    let rule = UniqueRule::by_fields(["to"]).within(secs(60)).replace();
    assert_eq!(serde_json::from_str::<UniqueRule>(text).expect("decodes"), rule);
    assert_eq!(serde_json::to_string(&rule).expect("encodes"), text);
    let short: UniqueRule = serde_json::from_str(r#"{"by":"args"}"#).expect("defaults");
    assert_eq!(
        short,
        UniqueRule { by: UniqueBy::Args, hold: UniqueHold::Live, on_conflict: OnConflict::Keep }
    );
    serde_json::from_str::<UniqueRule>(r#"{"by":"args","onconflict":"keep"}"#).expect_err("unknown field");
}

#[test]
fn a_held_key_has_one_answer() {
    use OnConflict::{Keep, Reject, Replace};
    use Resolution as Answer;
    let (gone, ahead) = (Some(UniqueWhile::Until(now())), Some(UniqueWhile::Until(at(1))));
    let (live, first) = (Some(UniqueWhile::Live), Some(UniqueWhile::Queued));
    let waiting = JobRow { state: State::Waiting, lease_until: None, ..running() };
    // (the holder, how long it holds, keep, replace, reject)
    let table = [
        (queued(), live, [Answer::Keep, Answer::Replace, Answer::Reject]),
        (queued(), first, [Answer::Keep, Answer::Replace, Answer::Reject]),
        (queued(), ahead, [Answer::Keep, Answer::Replace, Answer::Reject]),
        (queued(), gone, [Answer::Release, Answer::Release, Answer::Release]),
        (running(), live, [Answer::Keep, Answer::Reject, Answer::Reject]),
        (running(), ahead, [Answer::Keep, Answer::Reject, Answer::Reject]),
        (running(), gone, [Answer::Release, Answer::Release, Answer::Release]),
        (waiting, live, [Answer::Keep, Answer::Reject, Answer::Reject]),
        (finished(State::Completed), ahead, [Answer::Keep, Answer::Reject, Answer::Reject]),
        (finished(State::Discarded), gone, [Answer::Release, Answer::Release, Answer::Release]),
    ];
    for (holder, unique_while, answers) in table {
        let holder = JobRow { unique_while, unique_held: true, ..holder };
        for (asked, expected) in [Keep, Replace, Reject].into_iter().zip(answers) {
            let said = resolve_conflict(&(&holder).into(), asked, now());
            assert_eq!(
                said, expected,
                "{asked:?} against a {} job that holds {unique_while:?}",
                holder.state
            );
        }
    }
}

#[test]
fn replacing_changes_the_content_and_keeps_identity_and_history() {
    let mut asked = draft();
    asked.args = json("[2]");
    asked.lane = Some("tenant-42".into());
    asked.priority = 1;
    asked.max_attempts = Some(1);
    asked.extras.timeout = Some(secs(9));
    asked.tags = vec!["new".into()];
    asked.extras.meta = [("by".to_owned(), "ann".to_owned())].into();
    let new = asked.check(id(), at(50), 100).expect("allowed").job;
    let before = JobRow { attempt: 3, crashes: 1, suspicion: Some(suspicion(0, 0, -100)), ..queued() };
    let mut holder = before.clone();
    replace_content(&mut holder, &new);
    let expected = JobRow {
        lane: new.lane,
        priority: 1,
        args: json("[2]"),
        // One attempt of the new content is always possible.
        max_attempts: 4,
        scheduled_at: at(50),
        tags: vec!["new".into()],
        extras: new.extras,
        revision: before.revision + 1,
        ..before
    };
    assert_eq!(holder, expected);
    common::invariants(&holder).expect("invariants hold after the replacement");
}

proptest! {
    #[test]
    fn the_order_of_fields_makes_no_difference(value in value(), turn in 0usize..5) {
        prop_assert_eq!(key(&turned(&value, turn)), key(&value.to_string()));
    }

    #[test]
    fn different_args_have_different_keys(a in value(), b in value()) {
        prop_assume!(a != b);
        prop_assert_ne!(key(&a.to_string()), key(&b.to_string()));
    }

    #[test]
    fn a_change_at_any_depth_changes_the_key(value in value(), depth in 0usize..20) {
        let wrap = |inner: Value| (0..depth).fold(inner, |inner, n| json!({"x": [n, inner], "a": n}));
        let other = json!([value.clone()]);
        prop_assert_ne!(key(&wrap(value).to_string()), key(&wrap(other).to_string()));
    }

    #[test]
    fn fields_that_were_not_chosen_make_no_difference(a in value(), b in value(), c in value()) {
        let rule = UniqueRule::by_fields(["chosen"]);
        let of = |args: Value| key_of(&rule, "mail", &args.to_string());
        let base = of(json!({"chosen": a, "other": b}));
        prop_assert_eq!(&base, &of(json!({"other": c, "more": b, "chosen": a})));
        prop_assert_eq!(base == of(json!({"chosen": c, "other": b})), a == c);
    }

    #[test]
    fn given_keys_of_two_kinds_differ(kind_a in "[a=#%3D]{1,4}", a in "[b=#%3D]{1,4}", kind_b in "[a=#%3D]{1,4}", b in "[b=#%3D]{1,4}") {
        let same = key_of(&UniqueRule::by_key(&*a), &kind_a, "1") == key_of(&UniqueRule::by_key(&*b), &kind_b, "1");
        prop_assert_eq!(same, (&kind_a, &a) == (&kind_b, &b));
    }

    #[test]
    fn any_args_that_are_json_have_a_key(text in r#"[\[\]{}",:0-9a-c ]{0,16}"#) {
        if let Ok(args) = Json::parse(text) {
            let resolved = UniqueRule::by_args().resolve("mail", &args, now()).expect("a key");
            prop_assert!(resolved.key.starts_with("mail#"));
        }
    }
}
