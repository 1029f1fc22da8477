//! Bounds: texts are cut at a character, moments stay in range.

mod common;

use std::time::Duration;

use backroom_core::{
    Timestamp,
    bounds::{
        NAME_BYTES_MAX, SPAN_MAX, check_name, check_span, check_text, clip, earlier, later, span_until,
        whole_micros,
    },
};
use common::{at, now, secs};
use proptest::prelude::*;

fn moment() -> impl Strategy<Value = Timestamp> {
    let (first, last) = (whole_micros(Timestamp::MIN), whole_micros(Timestamp::MAX));
    let (first, last) = (first.as_microsecond(), last.as_microsecond());
    prop_oneof![first..=last, Just(first), Just(last), Just(0)]
        .prop_map(|micros| Timestamp::from_microsecond(micros).expect("in range"))
}

/// Any span, most of them longer than the range of a timestamp.
fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![any::<u64>(), 0u64..1_000_000_000].prop_map(Duration::from_secs)
}

#[test]
fn clip_cuts_at_a_character_and_replaces_nul() {
    assert_eq!(clip("boom", 10), "boom");
    assert_eq!(clip("boom", 2), "bo");
    assert_eq!(clip("äöü", 3), "ä");
    assert_eq!(clip("ä", 1), "");
    assert_eq!(clip("a\0b", 10), "a\u{fffd}b");
    assert_eq!(clip("", 0), "");
}

#[test]
fn clip_does_not_outgrow_its_bound_by_replacing_nuls() {
    assert_eq!(clip("\0\0\0\0\0\0", 7), "\u{fffd}\u{fffd}");
    assert_eq!(clip("\0", 1), "");
}

#[test]
fn later_and_earlier_stop_at_the_ends_of_the_range() {
    for span in [Duration::MAX, secs(u64::MAX), secs(i64::MAX.unsigned_abs())] {
        assert_eq!(later(now(), span), whole_micros(Timestamp::MAX));
        assert_eq!(earlier(now(), span), whole_micros(Timestamp::MIN));
    }
    assert_eq!(later(now(), secs(5)), at(5));
    assert_eq!(earlier(now(), secs(5)), at(-5));
    assert_eq!(later(now(), Duration::from_nanos(1_999)), later(now(), Duration::from_micros(1)));
}

#[test]
fn the_ends_of_the_range_can_be_stored_and_read_back() {
    for end in [Timestamp::MIN, Timestamp::MAX] {
        let whole = whole_micros(end);
        assert_eq!(Timestamp::from_microsecond(whole.as_microsecond()).expect("in range"), whole);
    }
}

#[test]
fn span_until_is_zero_once_the_moment_has_passed() {
    assert_eq!(span_until(now(), at(90)), secs(90));
    assert_eq!(span_until(now(), now()), Duration::ZERO);
    assert_eq!(span_until(at(90), now()), Duration::ZERO);
    assert_eq!(span_until(Timestamp::MAX, Timestamp::MIN), Duration::ZERO);
}

#[test]
fn names_and_texts_are_refused_with_the_remedy() {
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    let wide = "ä".repeat(NAME_BYTES_MAX / 2 + 1);
    let refused = [
        ("", "queue is empty"),
        (long.as_str(), "queue is 129 bytes long; at most 128 are allowed"),
        (wide.as_str(), "queue is 130 bytes long"),
        ("a\0b", "control character '\\0'"),
        ("a\nb", "control character '\\n'"),
        ("a\u{85}b", "control character '\\u{85}'"),
        (" a", "white space; trim it"),
        ("a ", "white space; trim it"),
        (" ", "white space; trim it"),
        ("a\u{2003}", "white space; trim it"),
    ];
    for (name, text) in refused {
        let said = check_name("queue", name).expect_err(text).to_string();
        assert!(said.contains(text), "{said:?} lacks {text:?}");
    }
    for name in ["a", "tenant 42", "account/7", "図", &"x".repeat(NAME_BYTES_MAX)] {
        check_name("queue", name).expect(name);
    }
    check_text("unique key", " a ", 3).expect("a text may have white space at its ends");
    check_text("unique key", "abcd", 3).expect_err("too long");
}

#[test]
fn spans_up_to_ten_years_are_allowed() {
    check_span("delay", SPAN_MAX).expect("the bound itself");
    let said = check_span("delay", SPAN_MAX + Duration::from_nanos(1)).expect_err("beyond").to_string();
    assert_eq!(said, "delay of 316224000 s is longer than ten years; check the unit");
}

proptest! {
    #[test]
    fn a_clipped_text_is_within_its_bound_and_begins_the_text(text in any::<String>(), bytes_max in 0usize..64) {
        let clipped = clip(&text, bytes_max);
        prop_assert!(clipped.len() <= bytes_max);
        prop_assert!(!clipped.contains('\0'));
        let clean = text.replace('\0', "\u{fffd}");
        prop_assert!(clean.starts_with(&clipped));
        // No more is cut than one character needs.
        prop_assert!(clipped.len() + 4 > bytes_max.min(text.len()));
    }

    #[test]
    fn later_and_earlier_are_ordered_and_whole(at in moment(), span in span()) {
        let (before, after) = (earlier(at, span), later(at, span));
        prop_assert!(before <= at && at <= after);
        prop_assert_eq!(whole_micros(before), before);
        prop_assert_eq!(whole_micros(after), after);
        if after < whole_micros(Timestamp::MAX) {
            prop_assert_eq!(span_until(at, after), span);
            prop_assert_eq!(earlier(after, span), at);
        }
    }

    #[test]
    fn a_checked_name_is_short_and_visible(name in any::<String>()) {
        if check_name("queue", &name).is_ok() {
            prop_assert!((1..=NAME_BYTES_MAX).contains(&name.len()));
            prop_assert!(!name.chars().any(char::is_control));
            prop_assert_eq!(name.trim(), name.as_str());
        }
    }
}
