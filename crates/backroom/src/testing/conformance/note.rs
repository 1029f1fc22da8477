//! Progress and log lines of handlers are stored while their lease holds.

use backroom_core::{Event, JobRow, bounds::JOB_LOG_LINES_MAX};

use super::env::{Env, decide, died, lease, lines, note, progress, succeed};
use crate::store::Committed;

pub(super) async fn progress_and_lines_are_written(env: Env) {
    let running = env.running().await;
    let said = lines(&running, 0, &["opened", "resized", ""]);
    env.note(note(&running, Some(progress(50, "resizing")), said.clone())).await;
    let expected = JobRow { progress: Some(progress(50, "resizing")), ..running };
    assert_eq!(env.read(expected.id).await, expected, "progress moved, nothing else");
    assert_eq!(env.logs(expected.id).await, said);
}

pub(super) async fn a_repeated_note_adds_nothing(env: Env) {
    let running = env.running().await;
    let said = lines(&running, 0, &["one", "two"]);
    for _ in 0..2 {
        env.note(note(&running, Some(progress(10, "a")), said.clone())).await;
    }
    assert_eq!(env.logs(running.id).await, said);
}

pub(super) async fn a_note_without_progress_keeps_it(env: Env) {
    let running = env.running().await;
    env.note(note(&running, Some(progress(10, "a")), Vec::new())).await;
    env.note(note(&running, None, lines(&running, 0, &["one"]))).await;
    assert_eq!(env.read(running.id).await.progress, Some(progress(10, "a")));
}

pub(super) async fn a_note_under_a_lost_lease_is_dropped(env: Env) {
    let slept = env.running().await;
    let late = note(&slept, Some(progress(99, "late")), lines(&slept, 0, &["late"]));
    env.drive(&slept, died(), env.at(31)).await;
    env.note(late.clone()).await;
    let running = env.take().await;
    env.note(late).await;
    assert_eq!(env.read(slept.id).await, running);
    assert_eq!(env.logs(slept.id).await, []);
    let done = env.drive(&running, succeed(&running), env.now).await;
    env.note(note(&running, Some(progress(99, "late")), lines(&running, 0, &["late"]))).await;
    assert_eq!(env.read(done.id).await, done);
    assert_eq!(env.logs(done.id).await, []);
}

pub(super) async fn a_report_keeps_progress_that_came_after_the_decision(env: Env) {
    let running = env.running().await;
    let report = decide(&running, succeed(&running), env.at(1));
    env.note(note(&running, Some(progress(100, "done")), Vec::new())).await;
    assert_eq!(env.commit(report).await, Committed::Done);
    assert_eq!(env.read(running.id).await.progress, Some(progress(100, "done")));
}

pub(super) async fn a_new_attempt_starts_without_progress(env: Env) {
    let running = env.running().await;
    env.note(note(&running, Some(progress(40, "half")), Vec::new())).await;
    let running = env.read(running.id).await;
    env.drive(&running, Event::Release { lease: lease(&running) }, env.now).await;
    assert_eq!(env.take().await.progress, None);
}

pub(super) async fn lines_of_all_attempts_come_in_order_and_in_pages(env: Env) {
    let first = env.running().await;
    let mut expected = lines(&first, 0, &["a", "b", "c"]);
    env.note(note(&first, None, expected.clone())).await;
    env.drive(&first, Event::Release { lease: lease(&first) }, env.now).await;
    let second = env.take_at(env.at(1)).await;
    for (seq, text) in (0..).zip(["d", "e"]) {
        let said = lines(&second, seq, &[text]);
        env.note(note(&second, None, said.clone())).await;
        expected.extend(said);
    }
    assert_eq!(env.logs(first.id).await, expected);
    let page = async |skip, limit| env.store.logs(first.id, skip, limit).await.expect("logs");
    assert_eq!(page(0, 2).await, expected[..2]);
    assert_eq!(page(2, 2).await, expected[2..4]);
    assert_eq!(page(4, 2).await, expected[4..]);
    assert_eq!(page(5, 2).await, []);
    assert_eq!(page(0, 0).await, []);
}

pub(super) async fn lines_beyond_the_bound_are_dropped(env: Env) {
    let running = env.running().await;
    let texts = vec!["line"; JOB_LOG_LINES_MAX as usize + 5];
    let said = lines(&running, 0, &texts);
    let (first, rest) = said.split_at(JOB_LOG_LINES_MAX as usize - 5);
    env.note(note(&running, None, first.to_vec())).await;
    env.note(note(&running, None, rest.to_vec())).await;
    env.note(note(&running, Some(progress(1, "still")), lines(&running, 2 * JOB_LOG_LINES_MAX, &["more"]))).await;
    assert_eq!(env.logs(running.id).await, said[..JOB_LOG_LINES_MAX as usize]);
    assert_eq!(env.read(running.id).await.progress, Some(progress(1, "still")));
}
