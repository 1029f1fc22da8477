//! From a draft to a job: every bound has its error, and what is accepted may be stored.

mod common;

use std::{collections::BTreeMap, time::Duration};

use backroom_core::{
    Extras, JobId, JobRow, Reply, RetryPolicy, State, Timestamp,
    bounds::{
        ATTEMPTS_MAX, META_ENTRIES_MAX, META_VALUE_BYTES_MAX, NAME_BYTES_MAX, SPAN_MAX, TAGS_MAX, later,
    },
    draft::{Draft, NewJob, PAST_MAX, When},
    unique::{OnConflict, UniqueRule, UniqueWhile},
};
use common::{at, draft, id, invariants, json, now, secs};
use proptest::prelude::*;

const JSON_MAX: usize = 1000;

fn check(draft: Draft) -> Result<NewJob, backroom_core::Invalid> {
    draft.check(id(), now(), JSON_MAX)
}

fn job(change: impl FnOnce(&mut Draft)) -> JobRow {
    let mut asked = draft();
    change(&mut asked);
    let job = check(asked).expect("allowed").job;
    invariants(&job).expect("invariants hold for a new job");
    job
}

/// The draft is refused for `what`, and the error says `why`.
fn refused(what: &str, why: &str, change: impl FnOnce(&mut Draft)) {
    let mut asked = draft();
    change(&mut asked);
    let error = check(asked).expect_err(what);
    assert_eq!(error.what, what, "{error}");
    assert!(error.why.contains(why), "{error} lacks {why:?}");
}

fn meta(entries: usize, value: &str) -> BTreeMap<String, String> {
    (0..entries).map(|n| (format!("key-{n}"), value.to_owned())).collect()
}

#[test]
fn a_plain_draft_becomes_a_job_due_now() {
    let expected = JobRow {
        id: id(),
        kind: "make_thumbnail".into(),
        queue: "default".into(),
        lane: None,
        priority: 5,
        state: State::Queued,
        args: draft().args,
        attempt: 0,
        max_attempts: 20,
        crashes: 0,
        scheduled_at: now(),
        expires_at: None,
        unique_key: None,
        unique_while: None,
        unique_held: false,
        lease_id: None,
        lease_until: None,
        worker: None,
        progress: None,
        output: None,
        reason: None,
        cancel_requested_at: None,
        woken: false,
        created_at: now(),
        started_at: None,
        finished_at: None,
        tags: vec![],
        extras: Extras::default(),
        revision: 0,
        suspicion: None,
        links: None,
    };
    assert_eq!(check(draft()).expect("allowed"), NewJob { job: expected, on_conflict: OnConflict::Keep });
}

#[test]
fn names_have_one_to_128_bytes_and_nothing_invisible() {
    type Set = fn(&mut Draft, String);
    let setters: [(&str, Set); 5] = [
        ("kind", |draft, name| draft.kind = name),
        ("queue", |draft, name| draft.queue = name),
        ("lane", |draft, name| draft.lane = Some(name)),
        ("tag", |draft, name| draft.tags = vec!["first".into(), name]),
        ("meta key", |draft, name| draft.extras.meta = [(name, String::new())].into()),
    ];
    for (what, set) in setters {
        refused(what, "is empty", |draft| set(draft, String::new()));
        refused(what, "is 129 bytes long", |draft| set(draft, "x".repeat(NAME_BYTES_MAX + 1)));
        refused(what, "control character", |draft| set(draft, "a\0b".into()));
        refused(what, "control character", |draft| set(draft, "a\tb".into()));
        refused(what, "white space", |draft| set(draft, " a".into()));
        refused(what, "white space", |draft| set(draft, "a ".into()));
        job(|draft| set(draft, "x".repeat(NAME_BYTES_MAX)));
        job(|draft| set(draft, "Straße 7/図".into()));
    }
}

#[test]
fn names_of_backroom_itself_are_refused() {
    refused("kind", "\"backroom.\"", |draft| draft.kind = "backroom.callback".into());
    refused("queue", "\"backroom.\"", |draft| draft.queue = "backroom.callbacks".into());
    refused("reply_to", "\"backroom.\"", |draft| {
        draft.extras.reply = Some(Reply { to: "backroom.replies".into(), ..Reply::default() });
    });
    job(|draft| draft.extras.reply = Some(Reply { to: "backroom-replies".into(), ..Reply::default() }));
}

#[test]
fn priority_is_a_digit() {
    assert_eq!(job(|draft| draft.priority = 0).priority, 0);
    assert_eq!(job(|draft| draft.priority = 9).priority, 9);
    refused("priority", "is 10; use 0 (first) to 9 (last)", |draft| draft.priority = 10);
    refused("priority", "is 255", |draft| draft.priority = 255);
}

#[test]
fn args_are_bounded_in_bytes() {
    let text = |bytes: usize| json(&format!("\"{}\"", "x".repeat(bytes - 2)));
    assert_eq!(job(|draft| draft.args = text(JSON_MAX)).args, text(JSON_MAX));
    refused("args", "are 1001 bytes of JSON; at most 1000 are allowed", |draft| {
        draft.args = text(JSON_MAX + 1);
    });
}

#[test]
fn a_draft_from_outside_with_too_deep_args_does_not_decode() {
    let text = serde_json::to_string(&draft()).expect("encodes");
    let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
    let deep = text.replace(draft().args.as_str(), &deep);
    let said = serde_json::from_str::<Draft>(&deep).expect_err("too deep").to_string();
    assert!(said.contains("nested 101 deep"), "{said}");
    assert_eq!(serde_json::from_str::<Draft>(&text).expect("decodes"), draft());
}

#[test]
fn a_start_is_now_or_within_ten_years() {
    let start = |start| job(|draft| draft.start = start).scheduled_at;
    assert_eq!(start(When::Now), now());
    assert_eq!(start(When::In(secs(90))), at(90));
    assert_eq!(start(When::In(SPAN_MAX)), later(now(), SPAN_MAX));
    assert_eq!(start(When::At(at(90))), at(90));
    assert_eq!(start(When::At(later(now(), SPAN_MAX))), later(now(), SPAN_MAX));
    refused("delay", "longer than ten years", |draft| draft.start = When::In(SPAN_MAX + secs(1)));
    refused("delay", "longer than ten years", |draft| draft.start = When::In(Duration::MAX));
    let beyond = later(now(), SPAN_MAX + secs(1));
    refused("start", "more than ten years ahead; check the unit", |draft| draft.start = When::At(beyond));
    refused("start", "more than ten years ahead", |draft| draft.start = When::At(Timestamp::MAX));
}

#[test]
fn a_start_of_a_moment_ago_means_now_and_one_long_past_is_refused() {
    let past = i64::try_from(PAST_MAX.as_secs()).expect("minutes");
    assert_eq!(job(|draft| draft.start = When::At(at(-1))).scheduled_at, now());
    assert_eq!(job(|draft| draft.start = When::At(at(-past))).scheduled_at, now());
    refused("start", "lies in the past", |draft| draft.start = When::At(at(-past - 1)));
    refused("start", "lies in the past", |draft| draft.start = When::At(Timestamp::MIN));
    refused("start", "lies in the past", |draft| draft.start = When::At(Timestamp::UNIX_EPOCH));
}

#[test]
fn expiry_lies_after_the_start() {
    let expires_at = |expiry| job(|draft| draft.expiry = Some(expiry)).expires_at;
    assert_eq!(expires_at(When::In(secs(60))), Some(at(60)));
    assert_eq!(expires_at(When::At(at(1))), Some(at(1)));
    for expiry in [When::Now, When::In(Duration::ZERO), When::At(at(-1)), When::At(Timestamp::MIN)] {
        refused("expiry", "is not after the start", |draft| draft.expiry = Some(expiry));
    }
    for expiry in [When::In(secs(60)), When::At(at(60)), When::At(at(59))] {
        refused("expiry", "the job could never run", |draft| {
            draft.start = When::In(secs(60));
            draft.expiry = Some(expiry);
        });
    }
    refused("expiry", "ten years", |draft| draft.expiry = Some(When::In(Duration::MAX)));
    refused("expiry", "ten years", |draft| draft.expiry = Some(When::At(Timestamp::MAX)));
}

#[test]
fn a_timeout_has_whole_milliseconds_and_at_least_one() {
    let timeout = |span| job(|draft| draft.extras.timeout = Some(span)).extras.timeout;
    assert_eq!(timeout(secs(3)), Some(secs(3)));
    assert_eq!(timeout(Duration::from_micros(1_999)), Some(Duration::from_millis(1)));
    assert_eq!(timeout(SPAN_MAX), Some(SPAN_MAX));
    for zero in [Duration::ZERO, Duration::from_micros(999)] {
        refused("timeout", "leave it out for no limit", |draft| draft.extras.timeout = Some(zero));
    }
    refused("timeout", "ten years", |draft| draft.extras.timeout = Some(Duration::MAX));
}

#[test]
fn attempts_are_one_to_ten_thousand() {
    let attempts = |asked| job(|draft| draft.max_attempts = asked).max_attempts;
    assert_eq!((attempts(None), attempts(Some(1))), (20, 1));
    assert_eq!(attempts(Some(ATTEMPTS_MAX)), ATTEMPTS_MAX);
    for wrong in [0, ATTEMPTS_MAX + 1, u32::MAX] {
        refused("max_attempts", "use 1 (no retry) to 10000", |draft| draft.max_attempts = Some(wrong));
    }
}

#[test]
fn a_list_of_waits_sets_the_attempts_unless_they_are_given() {
    let list = RetryPolicy::list([secs(1), secs(2)]);
    let of = |asked| {
        job(|draft| (draft.extras.retry, draft.max_attempts) = (Some(list.clone()), asked)).max_attempts
    };
    assert_eq!((of(None), of(Some(9))), (3, 9));
    refused("retry policy", "lists 0 delays", |draft| draft.extras.retry = Some(RetryPolicy::list([])));
}

#[test]
fn tags_are_few_and_given_once() {
    let tags = |count: usize| (0..count).map(|n| format!("tag-{n}")).collect::<Vec<_>>();
    assert_eq!(job(|draft| draft.tags = tags(TAGS_MAX)).tags, tags(TAGS_MAX));
    refused("tags", "are 33; at most 32", |draft| draft.tags = tags(TAGS_MAX + 1));
    refused("tag", "\"a\" is given twice", |draft| draft.tags = vec!["a".into(), "b".into(), "a".into()]);
}

#[test]
fn meta_is_bounded_and_free_of_nul() {
    let full = meta(META_ENTRIES_MAX, "line\nline");
    assert_eq!(job(|draft| draft.extras.meta = full.clone()).extras.meta, full);
    refused("meta", "has 65 entries; at most 64", |draft| draft.extras.meta = meta(META_ENTRIES_MAX + 1, ""));
    let long = "x".repeat(META_VALUE_BYTES_MAX);
    job(|draft| draft.extras.meta = meta(1, &long));
    refused("meta value", "of \"key-0\" is 4097 bytes long", |draft| {
        draft.extras.meta = meta(1, &(long + "x"))
    });
    refused("meta value", "of \"key-0\" holds a NUL byte", |draft| draft.extras.meta = meta(1, "a\0b"));
}

#[test]
fn a_traceparent_is_one_of_trace_context_level_1() {
    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const LATER: &str =
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be-like";
    for valid in [VALID, LATER] {
        let stored = job(|draft| draft.extras.traceparent = Some(valid.into())).extras.traceparent;
        assert_eq!(stored.as_deref(), Some(valid));
    }
    for (wrong, why) in [
        ("", "the version \"\", which is not 2 hexadecimal digits"),
        ("00", "the trace id \"\", which is not 32"),
        ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "version ff, which is never valid"),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", "which is not 32 hexadecimal digits"),
        ("00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01", "which is not 32 hexadecimal digits"),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", "which is never valid"),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", "which is never valid"),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", "the flags \"\""),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1", "the flags \"1\""),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x", "goes on behind the flags"),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ", "the flags \"01 \""),
        ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-\n", "no header field may have"),
    ] {
        refused("traceparent", why, |draft| draft.extras.traceparent = Some(wrong.into()));
        refused("traceparent", "00-4bf9", |draft| draft.extras.traceparent = Some(wrong.into()));
    }
    let long = format!("{LATER}{}", "x".repeat(100));
    refused("traceparent", "at most 128", |draft| draft.extras.traceparent = Some(long));
}

#[test]
fn a_unique_rule_becomes_a_held_key() {
    let mut asked = draft();
    asked.unique = Some(UniqueRule::by_key("a").within(secs(60)).reject());
    let NewJob { job, on_conflict } = check(asked).expect("allowed");
    assert_eq!(job.unique_key.as_deref(), Some("make_thumbnail=a"));
    assert_eq!(job.unique_while, Some(UniqueWhile::Until(at(60))));
    assert!(job.unique_held);
    assert_eq!(on_conflict, OnConflict::Reject);
    refused("unique key", "is empty", |draft| draft.unique = Some(UniqueRule::by_key("")));
}

fn when() -> impl Strategy<Value = When> {
    let seconds = Timestamp::MIN.as_second()..=Timestamp::MAX.as_second();
    let moment = |second| When::At(Timestamp::from_second(second).expect("in range"));
    prop_oneof![
        Just(When::Now),
        (0u64..100_000, 0u32..1_000_000_000).prop_map(|(secs, nanos)| When::In(Duration::new(secs, nanos))),
        any::<u64>().prop_map(|secs| When::In(Duration::from_secs(secs))),
        (-400i64..100_000).prop_map(|secs| When::At(at(secs))),
        seconds.prop_map(moment),
    ]
}

fn unique() -> impl Strategy<Value = UniqueRule> {
    let by = prop_oneof![
        Just(UniqueRule::by_args()),
        Just(UniqueRule::by_fields(["a"])),
        "[a\0]{0,2}".prop_map(UniqueRule::by_key),
    ];
    let hold = prop_oneof![Just(None), any::<u64>().prop_map(Some), (0u64..9).prop_map(Some)];
    (by, hold).prop_map(|(rule, hold)| match hold {
        Some(window) => rule.within(secs(window)),
        None => rule.while_queued(),
    })
}

prop_compose! {
    /// Drafts that come near the bounds from both sides.
    fn any_draft()(
        names in ("[ab \0]{0,3}", "[ab ]{0,130}", prop::option::of("[ab]{0,3}")),
        args in prop_oneof![Just("{}"), Just("[1]"), Just(r#"{"a":1e400}"#), Just(r#"{"a":[{}]}"#)],
        priority in 0u8..12,
        times in (when(), prop::option::of(when()), prop::option::of((0u64..9, 0u32..2_000_000))),
        max_attempts in prop::option::of(prop_oneof![0u32..4, Just(ATTEMPTS_MAX), any::<u32>()]),
        delay in prop::option::of(any::<u32>()),
        unique in prop::option::of(unique()),
        tags in prop::collection::vec("[a-d]{0,2}", 0..4),
        meta in prop::collection::btree_map("[ab]{0,2}", "[a\0]{0,2}", 0..3),
        traceparent in prop::option::of(prop_oneof!["00-[0-2]{32}-[0-2]{16}-0[0-2]", "[0-]{0,60}"]),
    ) -> Draft {
        Draft {
            kind: names.0,
            args: json(args),
            queue: names.1,
            lane: names.2,
            priority,
            start: times.0,
            expiry: times.1,
            max_attempts,
            unique,
            tags,
            seal: None,
            id: None,
            extras: Extras {
                timeout: times.2.map(|(secs, nanos)| Duration::new(secs, nanos)),
                retry: delay.map(|micros| RetryPolicy::linear(Duration::from_micros(micros.into()))),
                meta,
                traceparent,
                reply: None,
                callback: None,
                occurrence: None,
                hidden: Vec::new(),
            },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_accepted_draft_may_be_stored_and_a_refused_one_is_named(draft in any_draft(), seed: u128) {
        let id = JobId(uuid::Uuid::from_u128(seed));
        match draft.clone().check(id, now(), JSON_MAX) {
            Ok(NewJob { job, .. }) => {
                prop_assert_eq!(invariants(&job), Ok(()));
                prop_assert_eq!((job.id, job.state, job.attempt, job.revision), (id, State::Queued, 0, 0));
                prop_assert!(job.scheduled_at >= now());
                prop_assert!(job.expires_at.is_none_or(|at| at > job.scheduled_at));
                prop_assert_eq!(job.unique_held, draft.unique.is_some());
                let text = serde_json::to_string(&job).expect("encodes");
                prop_assert_eq!(serde_json::from_str::<JobRow>(&text).expect("decodes"), job);
            }
            Err(invalid) => prop_assert!(!invalid.what.is_empty() && !invalid.why.is_empty()),
        }
    }
}
