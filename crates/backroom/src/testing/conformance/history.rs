//! What happened to a job is one sequence: a reader may stop anywhere and continue without gap or repeat.

use std::sync::Arc;

use backroom_core::{Event, JobId, JobRow};

use super::env::{Env, decide, died, draft, fail, lease, lines, note};
use crate::store::{Committed, Record, Recorded, Seen};

/// All that is recorded, read in pages of `limit`.
async fn read_from(env: &Env, id: JobId, mut seen: Seen, limit: usize) -> Vec<Recorded> {
    let mut all = Vec::new();
    loop {
        let page = env.store.history(id, seen, limit).await.expect("history");
        if page.is_empty() {
            return all;
        }
        assert!(page.len() <= limit, "a page of at most {limit}");
        seen = page.iter().fold(seen, Seen::and);
        all.extend(page);
    }
}

/// A short text for each entry: the line, or how the attempt ended.
fn texts(entries: &[Recorded]) -> Vec<String> {
    let text = |entry: &Recorded| match entry {
        Recorded::Line(line) => line.line.clone(),
        Recorded::Attempt(attempt) => format!("{}!", attempt.end.as_str()),
    };
    entries.iter().map(text).collect()
}

/// A job that failed, crashed, was released, and runs again; with lines in each run but the second.
async fn eventful(env: &Env) -> JobRow {
    let first = env.running().await;
    env.note(note(&first, None, lines(&first, 0, &["a", "b"]))).await;
    env.note(note(&first, None, lines(&first, 2, &["c"]))).await;
    let failed = env.drive(&first, fail(&first), env.at(1)).await;
    let second = env.take_at(failed.scheduled_at).await;
    env.drive(&second, died(), env.at(100)).await;
    let third = env.take_at(env.at(101)).await;
    env.note(note(&third, None, lines(&third, 0, &["d"]))).await;
    env.drive(&third, Event::Release { lease: lease(&third) }, env.at(102)).await;
    let last = env.take_at(env.at(103)).await;
    env.note(note(&last, None, lines(&last, 0, &["e", "f"]))).await;
    last
}

const EVENTFUL: [&str; 8] = ["a", "b", "c", "failed!", "crashed!", "d", "e", "f"];

pub(super) async fn lines_and_attempts_come_in_the_order_in_which_they_were_recorded(env: Env) {
    let job = eventful(&env).await;
    for limit in [1, 2, 3, 100] {
        let all = read_from(&env, job.id, Seen::default(), limit).await;
        assert_eq!(texts(&all), EVENTFUL, "in pages of {limit}");
    }
    let attempts: Vec<_> = env.attempts(job.id).await.into_iter().map(Recorded::Attempt).collect();
    let all = read_from(&env, job.id, Seen::default(), 100).await;
    assert_eq!(all[3..5], attempts);
    assert_eq!(env.store.history(env.ids.job(env.now), Seen::default(), 10).await.expect("history"), []);
}

pub(super) async fn a_reader_continues_after_every_entry(env: Env) {
    let job = eventful(&env).await;
    let all = read_from(&env, job.id, Seen::default(), 100).await;
    let mut seen = Seen::default();
    for (index, entry) in all.iter().enumerate() {
        assert_eq!(read_from(&env, job.id, seen, 2).await, all[index..]);
        seen = seen.and(entry);
    }
    assert_eq!(read_from(&env, job.id, seen, 2).await, []);
    env.note(note(&job, None, lines(&job, 2, &["g"]))).await;
    env.drive(&job, fail(&job), env.at(104)).await;
    assert_eq!(texts(&read_from(&env, job.id, seen, 2).await), ["g", "failed!"]);
}

pub(super) async fn an_attempt_without_lines_stands_between_the_runs_beside_it(env: Env) {
    let first = env.running().await;
    env.drive(&first, fail(&first), env.at(1)).await;
    let second = env.take_at(env.at(1000)).await;
    env.note(note(&second, None, lines(&second, 0, &["a"]))).await;
    let failed = env.drive(&second, fail(&second), env.at(1001)).await;
    let third = env.take_at(failed.scheduled_at).await;
    env.drive(&third, fail(&third), env.at(1002)).await;
    let all = read_from(&env, first.id, Seen::default(), 100).await;
    assert_eq!(texts(&all), ["failed!", "a", "failed!", "failed!"]);
}

pub(super) async fn a_repeated_note_and_a_repeated_end_add_nothing(env: Env) {
    let job = env.running().await;
    let said = note(&job, None, lines(&job, 0, &["a", "b"]));
    let more = note(&job, None, lines(&job, 1, &["b", "c"]));
    for note in [&said, &said, &more, &said] {
        env.note((*note).clone()).await;
    }
    let end = decide(&job, fail(&job), env.at(1));
    for _ in 0..2 {
        assert_eq!(env.commit(end.clone()).await, Committed::Done);
    }
    env.note(said).await;
    let all = read_from(&env, job.id, Seen::default(), 100).await;
    assert_eq!(texts(&all), ["a", "b", "c", "failed!"]);
}

pub(super) async fn an_imported_job_has_the_history_that_it_had(env: Env) {
    let job = eventful(&env).await;
    let all = read_from(&env, job.id, Seen::default(), 100).await;
    let (attempts, lines) = (env.attempts(job.id).await, env.logs(job.id).await);
    let copy = JobRow { id: env.ids.job(env.now), ..env.read(job.id).await };
    let record = Record { job: copy.clone(), attempts, lines, edges: Vec::new(), journal: None };
    env.store.import(Arc::new(vec![record])).await.expect("import");
    assert_eq!(read_from(&env, copy.id, Seen::default(), 3).await, all);
    env.note(note(&copy, None, super::env::lines(&copy, 2, &["g"]))).await;
    assert_eq!(texts(&read_from(&env, copy.id, Seen::default(), 3).await)[8..], ["g"]);
}

pub(super) async fn concurrent_writers_leave_no_line_behind_a_reader(env: Env) {
    const LINES: u32 = 12;
    env.put(draft()).await;
    let job = env.take().await;
    // Two calls with lines of one run at the same time, as when the first one's answer is late.
    let write = async |offset: u32| {
        for seq in (offset..LINES).step_by(2) {
            let text = format!("{seq}");
            let said = lines(&job, seq, &[&text]);
            env.store.note(Arc::new(vec![note(&job, None, said)]), env.now).await.expect("note");
        }
    };
    let follow = async {
        let (mut seen, mut read) = (Seen::default(), Vec::new());
        while read.len() < LINES as usize {
            let page = env.store.history(job.id, seen, 7).await.expect("history");
            seen = page.iter().fold(seen, Seen::and);
            read.extend(texts(&page));
            tokio::task::yield_now().await;
        }
        read
    };
    let ((), (), read) = tokio::join!(write(0), write(1), follow);
    assert_eq!(read, texts(&read_from(&env, job.id, Seen::default(), 100).await), "each reader sees one order");
    let mut numbers: Vec<u32> = read.iter().map(|text| text.parse().expect("a number")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..LINES).collect::<Vec<_>>(), "each line once");
    // A late repeat of all of it changes nothing.
    let texts_again: Vec<String> = (0..LINES).map(|seq| seq.to_string()).collect();
    let again: Vec<&str> = texts_again.iter().map(String::as_str).collect();
    env.note(note(&job, None, lines(&job, 0, &again))).await;
    assert_eq!(env.logs(job.id).await.len(), LINES as usize);
}
