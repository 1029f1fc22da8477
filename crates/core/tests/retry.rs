//! The wait between attempts: within jitter and cap, without panics, the same after storage.

mod common;

use std::time::Duration;

use backroom_core::{
    RetryPolicy,
    bounds::SPAN_MAX,
    retry::Backoff::{self, Constant, Exponential, Linear, List, Quartic},
};
use common::{draft, id, now, secs};
use proptest::prelude::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![0u64..120_000, 0..=u64::try_from(SPAN_MAX.as_millis()).expect("fits")]
        .prop_map(Duration::from_millis)
}

/// Every policy that `check` accepts.
fn policy() -> impl Strategy<Value = RetryPolicy> {
    let backoff = prop_oneof![
        Just(Quartic),
        span().prop_map(Constant),
        span().prop_map(Linear),
        span().prop_map(Exponential),
        prop::collection::vec(span(), 1..100).prop_map(List),
    ];
    (backoff, 0u8..=100, span()).prop_map(|(backoff, jitter_percent, cap)| RetryPolicy {
        backoff,
        jitter_percent,
        cap,
    })
}

fn waits(policy: &RetryPolicy, attempts: std::ops::RangeInclusive<u32>) -> Vec<u64> {
    attempts.map(|attempt| policy.delay(attempt, 0.5).as_secs()).collect()
}

#[test]
fn the_default_waits_attempt_to_the_fourth_seconds_up_to_a_day() {
    let default = RetryPolicy::DEFAULT;
    assert_eq!(waits(&default, 1..=5), [1, 16, 81, 256, 625]);
    assert_eq!(default.delay(17, 0.5), secs(83_521));
    assert_eq!(default.delay(18, 0.5), DAY);
    assert_eq!(default.delay(10, 0.0), secs(9_000));
    assert_eq!(default.delay(10, 1.0), secs(11_000));
    assert_eq!(default.max_attempts_default(), 20);
    assert_eq!(default, RetryPolicy::default());
}

#[test]
fn each_backoff_grows_as_its_name_says() {
    assert_eq!(waits(&RetryPolicy::constant(secs(7)), 1..=4), [7, 7, 7, 7]);
    assert_eq!(waits(&RetryPolicy::linear(secs(7)), 1..=4), [7, 14, 21, 28]);
    assert_eq!(waits(&RetryPolicy::exponential(secs(3), secs(40)), 1..=6), [3, 6, 12, 24, 40, 40]);
    let list = RetryPolicy::list([secs(5), secs(60), secs(2)]);
    assert_eq!(waits(&list, 1..=5), [5, 60, 2, 2, 2]);
    assert_eq!(list.max_attempts_default(), 4);
    assert_eq!(RetryPolicy::exponential(secs(1), secs(9)).max_attempts_default(), 20);
}

#[test]
fn attempt_zero_waits_like_the_first() {
    for policy in [RetryPolicy::DEFAULT, RetryPolicy::linear(secs(4)), RetryPolicy::list([secs(5), secs(6)])]
    {
        assert_eq!(policy.delay(0, 0.5), policy.delay(1, 0.5));
    }
}

#[test]
fn check_names_what_is_surely_a_mistake() {
    let beyond = SPAN_MAX + secs(1);
    let refused = [
        (RetryPolicy::DEFAULT.jitter(101), "jitter of 101 %"),
        (RetryPolicy { cap: beyond, ..RetryPolicy::DEFAULT }, "retry cap"),
        (RetryPolicy::constant(beyond), "retry delay"),
        (RetryPolicy::linear(beyond), "retry delay"),
        (RetryPolicy::exponential(beyond, secs(1)), "retry delay"),
        (RetryPolicy::list([secs(1), beyond]), "retry delay"),
        (RetryPolicy::list([]), "lists 0 delays; give 1 to 100"),
        (RetryPolicy::list(vec![secs(1); 101]), "lists 101 delays"),
    ];
    for (policy, text) in refused {
        let said = policy.check().expect_err(text).to_string();
        assert!(said.contains(text), "{said:?} lacks {text:?}");
    }
    RetryPolicy::list(vec![secs(1); 100]).check().expect("a hundred is allowed");
    RetryPolicy::constant(SPAN_MAX).jitter(100).check().expect("the bound itself is allowed");
}

#[test]
fn stored_policies_are_numbers_any_language_reads() {
    let text = serde_json::to_string(&RetryPolicy::list([secs(1), secs(60)])).expect("encodes");
    assert_eq!(text, r#"{"backoff":{"list":[1000,60000]},"jitter_percent":10,"cap_ms":86400000}"#);
    let short: RetryPolicy = serde_json::from_str(r#"{"backoff":"quartic"}"#).expect("defaults");
    assert_eq!(short, RetryPolicy::DEFAULT);
    for unknown in [r#"{"backoff":"quartic","capms":1}"#, r#"{"backoff":"cubic"}"#, "{}"] {
        serde_json::from_str::<RetryPolicy>(unknown).expect_err(unknown);
    }
}

#[test]
fn a_job_has_a_policy_of_whole_milliseconds() {
    let odd = Duration::from_micros(1_999);
    for policy in [
        RetryPolicy::constant(odd),
        RetryPolicy::linear(odd),
        RetryPolicy::exponential(odd, odd),
        RetryPolicy::list([odd]),
    ] {
        let mut draft = draft();
        draft.extras.retry = Some(policy);
        let stored = draft.check(id(), now(), 100).expect("allowed").job.extras.retry.expect("the policy");
        let text = serde_json::to_string(&stored).expect("encodes");
        assert_eq!(serde_json::from_str::<RetryPolicy>(&text).expect("decodes"), stored);
        assert_eq!(stored.delay(1, 0.5), Duration::from_millis(1));
    }
}

proptest! {
    #[test]
    fn the_wait_is_within_jitter_and_cap(policy in policy(), attempt in 1u32..200, chance in 0.0f64..1.0) {
        let exact = policy.clone().jitter(0).delay(attempt, chance);
        let wait = policy.delay(attempt, chance);
        let part = f64::from(policy.jitter_percent) / 100.0;
        let slack = 1e-6 * (1.0 + exact.as_secs_f64());
        prop_assert!(wait <= policy.cap);
        prop_assert!(wait.as_secs_f64() >= exact.as_secs_f64() * (1.0 - part) - slack);
        prop_assert!(wait.as_secs_f64() <= exact.as_secs_f64() * (1.0 + part) + slack);
    }

    #[test]
    fn chance_places_the_wait_evenly(policy in policy(), attempt in 1u32..50, a in 0.0f64..1.0, b in 0.0f64..1.0) {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        prop_assert!(policy.delay(attempt, low) <= policy.delay(attempt, high));
    }

    #[test]
    fn without_jitter_the_wait_never_shrinks(policy in policy(), attempt in 1u32..u32::MAX, chance in 0.0f64..1.0) {
        prop_assume!(!matches!(policy.backoff, Backoff::List(_)));
        let policy = policy.jitter(0);
        prop_assert!(policy.delay(attempt, chance) <= policy.delay(attempt + 1, chance));
    }

    #[test]
    fn no_attempt_and_no_chance_panics(policy in policy(), attempt: u32, chance: f64, jitter: u8, cap_secs: u64) {
        prop_assert!(policy.delay(attempt, chance) <= policy.cap);
        let wild = RetryPolicy { cap: Duration::from_secs(cap_secs), jitter_percent: jitter, ..policy };
        for chance in [chance, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            prop_assert!(wild.delay(attempt, chance) <= wild.cap);
        }
    }

    #[test]
    fn a_list_gives_its_waits_in_order_and_repeats_the_last(spans in prop::collection::vec(span(), 1..100)) {
        let policy = RetryPolicy { cap: SPAN_MAX, ..RetryPolicy::list(spans.clone()).jitter(0) };
        for attempt in 1..=spans.len() + 3 {
            let expected = spans[(attempt - 1).min(spans.len() - 1)];
            let wait = policy.delay(u32::try_from(attempt).expect("small"), 0.9);
            prop_assert!(wait.abs_diff(expected) < Duration::from_micros(1), "{wait:?} is not {expected:?}");
        }
        prop_assert_eq!(policy.max_attempts_default() as usize, spans.len() + 1);
    }

    #[test]
    fn a_policy_survives_storage(policy in policy()) {
        policy.check().expect("the strategy makes policies that are allowed");
        let text = serde_json::to_string(&policy).expect("encodes");
        prop_assert_eq!(serde_json::from_str::<RetryPolicy>(&text).expect("decodes"), policy.clone());
        prop_assert_eq!(policy.clone().whole_millis(), policy);
    }
}
