//! Signals: buffered in order, taken once, or timed out.

use backroom_core::workflow::{Answer, Ask, Next, SIGNALS_MAX, VALUE_BYTES_MAX, Write, check_signal};

use crate::{
    ask,
    common::{at, json, secs},
    entries, run_over, signal, write,
};

fn wait(within: Option<u64>) -> Ask {
    Ask::Signal { name: "shipped".into(), within: within.map(secs) }
}

fn got(text: &str) -> Option<Answer> {
    Some(Answer::Signal { value: json(text) })
}

#[test]
fn signals_that_came_early_are_taken_in_their_order_and_once() {
    let arrivals =
        vec![signal(2, -5, "shipped", "2"), signal(1, -9, "shipped", "1"), signal(3, -7, "other", "9")];
    let mut run = run_over(Vec::new(), arrivals.clone());
    for (name, expected, n) in [("first", "1", 1), ("second", "2", 2)] {
        let ticket = ask(&mut run, name, wait(None));
        write(&mut run, 0);
        let writes = write(&mut run, 0);
        assert!(
            matches!(&writes[..], [Write::Entry(_), Write::Take { n: taken }] if *taken == n),
            "{writes:?}"
        );
        assert_eq!((run.next(at(0)), run.answer(ticket)), (Next::Poll, got(expected)));
    }
    ask(&mut run, "third", wait(None));
    write(&mut run, 0);
    assert_eq!(run.next(at(0)), Next::Park { until: None });
}

#[test]
fn two_waits_at_the_same_time_share_the_signals_in_the_order_of_the_waits() {
    let mut run = run_over(Vec::new(), vec![signal(1, 0, "shipped", "1"), signal(2, 0, "shipped", "2")]);
    let (one, two) = (ask(&mut run, "one", wait(None)), ask(&mut run, "two", wait(None)));
    for _ in 0..2 {
        write(&mut run, 0);
    }
    write(&mut run, 0);
    assert_eq!((run.next(at(0)), run.answer(two), run.answer(one)), (Next::Poll, None, got("1")));
    write(&mut run, 0);
    assert_eq!((run.next(at(0)), run.answer(two)), (Next::Poll, got("2")));
}

#[test]
fn a_timeout_is_recorded_and_a_later_signal_does_not_change_it() {
    let mut run = run_over(Vec::new(), Vec::new());
    let ticket = ask(&mut run, "wait", wait(Some(30)));
    write(&mut run, 0);
    assert_eq!(run.next(at(10)), Next::Park { until: Some(at(30)) });
    write(&mut run, 31);
    assert_eq!((run.next(at(31)), run.answer(ticket)), (Next::Poll, Some(Answer::TimedOut)));

    let mut again = run_over(entries(&run), vec![signal(1, 32, "shipped", "1")]);
    let ticket = ask(&mut again, "wait", wait(Some(30)));
    assert_eq!((again.next(at(99)), again.answer(ticket)), (Next::Poll, Some(Answer::TimedOut)));
    let later = ask(&mut again, "again", wait(None));
    write(&mut again, 99);
    write(&mut again, 99);
    assert_eq!((again.next(at(99)), again.answer(later)), (Next::Poll, got("1")), "it is not lost");
}

#[test]
fn a_signal_that_came_in_time_counts_although_no_process_ran_before_the_deadline() {
    let late = |arrived| {
        let mut run = run_over(Vec::new(), Vec::new());
        ask(&mut run, "wait", wait(Some(30)));
        write(&mut run, 0);
        let mut again = run_over(entries(&run), vec![signal(1, arrived, "shipped", "1")]);
        let ticket = ask(&mut again, "wait", wait(Some(30)));
        write(&mut again, 5000);
        assert_eq!(again.next(at(5000)), Next::Poll);
        (again.answer(ticket), again.now())
    };
    assert_eq!(late(29), (got("1"), at(29)));
    assert_eq!(late(30), (got("1"), at(30)), "at the deadline");
    assert_eq!(late(31), (Some(Answer::TimedOut), at(30)));
}

#[test]
fn signals_are_bounded_in_bytes_and_in_number() {
    assert_eq!(check_signal("shipped", &json("1"), 0), Ok(()));
    let large = json(&format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX)));
    assert!(check_signal("shipped", &large, 0).unwrap_err().why.contains("at most 1048576 are allowed"));
    assert!(
        check_signal("shipped", &json("1"), SIGNALS_MAX).unwrap_err().why.contains("at most 10000 may wait")
    );
    assert!(check_signal("", &json("1"), 0).is_err());
}
