//! Changing a job that waits for its turn: what is checked, what is refused, what stays.

mod common;

use std::time::Duration;

use backroom_core::{
    Amendment, Event, JobRow, Refused,
    bounds::JSON_BYTES_MAX,
    draft::When,
    transition::apply,
    unique::{UniqueRule, UniqueWhile},
};
use common::{at, json, now, queued, secs};

fn to(start: Option<When>, priority: Option<u8>, args: Option<&str>) -> Event {
    let to = Amendment::check(start, priority, args.map(json), now(), JSON_BYTES_MAX).expect("allowed");
    Event::Amend { to }
}

#[test]
fn what_is_not_named_stays() {
    let job = JobRow { expires_at: Some(at(500)), ..queued() };
    for (event, expected) in [
        (to(Some(When::In(secs(9))), None, None), JobRow { scheduled_at: at(9), ..job.clone() }),
        (to(None, Some(0), None), JobRow { priority: 0, ..job.clone() }),
        (to(None, None, Some("[7]")), JobRow { args: json("[7]"), ..job.clone() }),
    ] {
        let change = apply(&job, event.clone(), now()).expect("taken").expect("changes");
        let mut after = job.clone();
        change.write_to(&mut after);
        assert_eq!(after, JobRow { revision: job.revision + 1, ..expected });
        assert_eq!(apply(&after, event, now()), Ok(None), "the same once more changes nothing");
    }
}

#[test]
fn a_job_that_would_never_run_is_refused() {
    let job = JobRow { expires_at: Some(at(60)), ..queued() };
    for (secs, refused) in [(59, false), (60, true), (61, true)] {
        let event = to(Some(When::In(Duration::from_secs(secs))), None, None);
        assert_eq!(apply(&job, event, now()) == Err(Refused::ExpiresFirst), refused, "{secs} s");
    }
    // Its time does not move, so upkeep will expire it.
    let expired = JobRow { expires_at: Some(at(-1)), ..queued() };
    assert!(apply(&expired, to(None, Some(1), None), now()).expect("taken").is_some());
}

#[test]
fn args_that_made_the_unique_key_do_not_change_while_it_is_held() {
    let keyed = |rule: UniqueRule| {
        let key = rule.resolve("make_thumbnail", &json("{}"), now()).expect("allowed").key;
        JobRow { unique_key: Some(key), unique_while: Some(UniqueWhile::Live), unique_held: true, ..queued() }
    };
    let args = || to(None, None, Some("[7]"));
    for rule in [UniqueRule::by_args(), UniqueRule::by_fields(["a"])] {
        let job = keyed(rule);
        assert_eq!(apply(&job, args(), now()), Err(Refused::KeyOfArgs));
        assert!(apply(&job, to(None, Some(1), Some("{}")), now()).expect("the same args").is_some());
        let freed = JobRow { unique_held: false, unique_while: Some(UniqueWhile::Queued), ..job };
        assert!(apply(&freed, args(), now()).expect("taken").is_some());
    }
    assert!(apply(&keyed(UniqueRule::by_key("a#b")), args(), now()).expect("taken").is_some());
}

#[test]
fn what_breaks_a_bound_is_refused_before_the_job_is_read() {
    let check = |start, priority, args: Option<&str>| {
        Amendment::check(start, priority, args.map(json), now(), 10).expect_err("refused").to_string()
    };
    assert!(check(None, Some(10), None).contains("use 0 (first) to 9 (last)"));
    assert!(check(None, None, Some("[1,2,3,4,5,6]")).contains("13 bytes of JSON; at most 10"));
    assert!(check(Some(When::At(at(-3600))), None, None).contains("lies in the past"));
    assert!(check(Some(When::In(Duration::MAX)), None, None).contains("longer than ten years"));
}
