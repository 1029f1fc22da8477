//! Bounds of a journal.

use backroom_core::workflow::{
    Answer, Ask, Attempted, Entry, EntryKind, EntryState, JOURNAL_BYTES_MAX, Journal, Next, Refused,
    STEPS_MAX, ScopeId, VALUE_BYTES_MAX,
};

use crate::{
    ask,
    common::{at, json, now},
    run_over, step,
};

fn value(n: u64, bytes: usize) -> Entry {
    let value = json(&format!("\"{}\"", "x".repeat(bytes)));
    let state = EntryState::Closed { seq: n, at: now(), answer: Answer::Value { value } };
    Entry { key: format!("s{n}"), kind: EntryKind::Step, state, undo: None, began_at: None, tries: 0 }
}

#[test]
fn a_journal_has_at_most_ten_thousand_entries_and_asks_that_have_not_begun_count() {
    let last = STEPS_MAX as u64 - 1;
    let mut run = run_over((1..=last).map(|n| value(n, 1)).collect(), Vec::new());
    assert!(run.ask(ScopeId::ROOT, "one more", step()).is_ok());
    let refused = run.ask(ScopeId::ROOT, "too many", step()).unwrap_err();
    assert!(matches!(refused, Refused::Full { .. }));
    let said = refused.to_string();
    assert!(said.contains("is full (9999 entries of 10000") && said.contains("continue_as_new"), "{said}");
    assert!(run.ask(ScopeId::ROOT, "s1", Ask::Now).is_ok(), "what is recorded may still be asked for");
}

#[test]
fn a_journal_has_at_most_fifty_mebibytes() {
    let entries: Vec<_> = (1..=51).map(|n| value(n, VALUE_BYTES_MAX - 2)).collect();
    let mut run = run_over(entries, Vec::new());
    assert!(run.journal().bytes() > JOURNAL_BYTES_MAX);
    assert!(matches!(run.ask(ScopeId::ROOT, "more", step()), Err(Refused::Full { .. })));
}

#[test]
fn a_value_that_is_too_large_fails_its_step_for_good() {
    let mut run = run_over(Vec::new(), Vec::new());
    let ticket = ask(&mut run, "large", step());
    assert!(matches!(run.next(at(0)), Next::Execute { .. }));
    let large = json(&format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX)));
    let writes = run.tried(ticket, Attempted::Value(large), at(1), 0.5);
    run.wrote(&writes);
    assert_eq!(run.next(at(1)), Next::Poll);
    let Some(Answer::Failed { error }) = run.answer(ticket) else { panic!("it fails") };
    assert!(error.starts_with("the value is 1048578 bytes long; at most 1048576 are allowed"), "{error}");
}

/// A journal with so little space left that a value of a mebibyte does not fit.
fn nearly_full() -> Vec<Entry> {
    (1..=50).map(|n| value(n, VALUE_BYTES_MAX - 10)).collect()
}

#[test]
fn a_value_that_the_journal_cannot_hold_fails_its_step() {
    let mut run = run_over(nearly_full(), Vec::new());
    let ticket = ask(&mut run, "large", step());
    assert!(matches!(run.next(at(0)), Next::Execute { .. }));
    let large = json(&format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX - 2)));
    let writes = run.tried(ticket, Attempted::Value(large), at(1), 0.5);
    run.wrote(&writes);
    assert_eq!(run.next(at(1)), Next::Poll);
    let Some(Answer::Failed { error }) = run.answer(ticket) else { panic!("it fails") };
    assert!(error.contains("is full (50 entries of 10000") && error.contains("continue_as_new"), "{error}");
}

#[test]
fn a_signal_that_the_journal_cannot_hold_fails_the_workflow_with_a_reason() {
    let large = format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX - 2));
    let mut run = run_over(nearly_full(), vec![crate::signal(1, 0, "bulk", &large)]);
    ask(&mut run, "wait", Ask::Signal { name: "bulk".into(), within: None });
    crate::write(&mut run, 0);
    let Next::Full(full) = run.next(at(60)) else { panic!("it does not fit") };
    assert!(full.to_string().contains("bytes of 52428800"), "{full}");
}

#[test]
fn a_published_value_that_is_too_large_is_refused() {
    let mut run = run_over(Vec::new(), Vec::new());
    let large = json(&format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX)));
    let refused = run.publish(large).unwrap_err().to_string();
    assert_eq!(refused, "the published value is 1048578 bytes long; at most 1048576 are allowed");
}

#[test]
fn a_full_journal_is_replayed_with_one_poll_for_each_answer() {
    let last = STEPS_MAX as u64;
    let mut run = run_over((1..=last).map(|n| value(n, 1)).collect(), Vec::new());
    let mut polls = 0;
    for n in 1..=last {
        let ticket = ask(&mut run, &format!("s{n}"), step());
        while run.answer(ticket).is_none() {
            assert_eq!(run.next(at(0)), Next::Poll);
            polls += 1;
        }
    }
    assert_eq!(polls, last);
    assert!(!run.is_replaying());
}

#[test]
fn bytes_are_counted_once_however_often_an_entry_is_written() {
    let mut run = run_over(vec![value(1, 100)], Vec::new());
    let before = run.journal().bytes();
    let entry = run.journal().entry("s1").unwrap().clone();
    run.wrote(&[backroom_core::workflow::Write::Entry(entry)]);
    assert_eq!((run.journal().bytes(), run.journal().len()), (before, 1));
    assert_eq!(run.journal().header.progress, 0, "it is no new answer");
}

#[test]
fn a_damaged_journal_is_refused() {
    let header = || backroom_core::workflow::Header::begin(None, now());
    let twice = vec![value(1, 1), value(1, 1)];
    assert!(Journal::load(header(), twice).unwrap_err().to_string().contains("it is damaged"));
    let same_place = vec![value(1, 1), Entry { key: "other".into(), ..value(1, 1) }];
    assert!(Journal::load(header(), same_place).is_err());
}
