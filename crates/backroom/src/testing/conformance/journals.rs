//! Journals are written under the lease of their run, signals are stored in order and once, and wake times come.

use std::sync::Arc;

use backroom_core::{
    Event, JobId, JobRow, LeaseId, State, Timestamp,
    dependency::{Edge, OnFailure},
    draft::NewJob,
    links::{ChildCancel, ChildPolicy, Parent},
    workflow::{Answer, Arrival, Arrived, Entry, EntryKind, EntryState, Header, Opened, Phase, SIGNALS_MAX, moved_on},
};
use uuid::Uuid;

use super::env::{Env, cancel, decide, died, draft, json, lease, succeed};
use crate::store::{
    Call, Committed, InsertLinked, NewLinked, Record, JournalAfter, JournalHead, JournalPage, JournalRecord, JournalWrite, Signal, Signalled, Wrote,
};

fn entry(key: &str, seq: u64, at: Timestamp, value: &str) -> Entry {
    let answer = Answer::Value { value: json(value) };
    Entry {
        key: key.into(),
        kind: EntryKind::Step,
        state: EntryState::Closed { seq, at, answer },
        undo: None,
        began_at: Some(at),
        tries: 1,
    }
}

fn timer(key: &str, until: Timestamp) -> Entry {
    let state = EntryState::Open(Opened::Timer { until });
    Entry { key: key.into(), kind: EntryKind::Timer, state, undo: None, began_at: None, tries: 0 }
}

/// A write of a run that knows this revision.
fn writing(env: &Env, job: &JobRow, revision_before: u64, entries: Vec<Entry>) -> JournalWrite {
    JournalWrite {
        workflow: job.id,
        lease: lease(job),
        revision_before,
        header: Header { progress: revision_before + 1, ..Header::begin(None, env.now) },
        publishes: false,
        clears: false,
        entries,
        taken: Vec::new(),
        at: env.now,
        children: Vec::new(),
        cancels: Vec::new(),
        args: None,
        wake_at: None,
        forgives: false,
        ties: false,
    }
}

async fn write(env: &Env, write: JournalWrite) -> Wrote {
    let answers = env.store.write_journals(Arc::new(vec![write])).await.expect("write a journal");
    assert_eq!(answers.len(), 1, "one answer per write");
    answers[0]
}

async fn journal(env: &Env, workflow: JobId) -> JournalPage {
    env.store.journal(workflow, None, 100).await.expect("read a journal")
}

fn signal_of(workflow: JobId, id: u128, name: &str, value: &str) -> Signal {
    Signal { workflow, id: Uuid::from_u128(id), name: name.into(), value: json(value) }
}

async fn signal(env: &Env, signal: Signal) -> Signalled {
    let answers = env.store.signal(Arc::new(vec![signal]), env.now).await.expect("send a signal");
    assert_eq!(answers.len(), 1, "one answer per signal");
    answers[0]
}

async fn park(env: &Env, job: &JobRow) -> JobRow {
    env.drive(job, Event::Suspend { lease: lease(job) }, env.now).await
}

/// Names and values of the signals that wait, in order.
fn waiting(page: &JournalPage) -> Vec<(String, String)> {
    let of = |what: &Arrived| match what {
        Arrived::Signal { name, value } => (name.clone(), value.to_string()),
        Arrived::Child { key, .. } => (key.clone(), "child".into()),
    };
    page.arrivals.iter().map(|arrival| of(&arrival.what)).collect()
}

pub(super) async fn what_a_run_writes_comes_back_by_key_and_in_pages(env: Env) {
    let job = env.running().await;
    assert_eq!(journal(&env, job.id).await, JournalPage::default());
    let entries: Vec<Entry> = (1..=5).map(|n| entry(&format!("step {n}"), n, env.at(1), "[1,\"ü\"]")).collect();
    let all = JournalWrite {
        header: Header {
            published: Some(json(r#"{"state":"packing"}"#)),
            phase: Phase::Undoing { cause: backroom_core::workflow::Cause::Failed { error: "no".into() } },
            ..Header::begin(Some("2".into()), env.now)
        },
        publishes: true,
        wake_at: Some(env.at(90)),
        ..writing(&env, &job, 0, entries.clone())
    };
    assert_eq!(write(&env, all.clone()).await, Wrote::Done);
    let page = journal(&env, job.id).await;
    let head = page.head.clone().expect("a head");
    assert_eq!((head.revision, head.wake_at), (1, Some(env.at(90))));
    assert_eq!(head.header, Some(all.header));
    assert_eq!((page.entries, page.more), (entries.clone(), false));
    let first = env.store.journal(job.id, None, 2).await.expect("read a page");
    assert_eq!((&first.entries[..], first.more), (&entries[..2], true));
    let after = Arc::new(JournalAfter { key: "step 2".into(), n: 0 });
    let rest = env.store.journal(job.id, Some(after), 3).await.expect("read a page");
    assert_eq!((&rest.entries[..], rest.more), (&entries[2..], false));
    // An entry of a known key takes the place of that; what is published stays unless it changes.
    let changed = entry("step 2", 2, env.at(1), "\"changed\"");
    assert_eq!(write(&env, writing(&env, &job, 1, vec![changed.clone()])).await, Wrote::Done);
    let page = journal(&env, job.id).await;
    assert_eq!(page.entries[1], changed);
    let header = page.head.and_then(|head| head.header).expect("a header");
    assert_eq!(header.published, Some(json(r#"{"state":"packing"}"#)));
    assert_eq!(header.phase, Phase::Forward);
}

pub(super) async fn a_run_that_has_lost_its_lease_writes_nothing(env: Env) {
    let job = env.running().await;
    let foreign = JournalWrite {
        lease: LeaseId(Uuid::from_u128(9)),
        ..writing(&env, &job, 0, vec![entry("a", 1, env.now, "1")])
    };
    assert_eq!(write(&env, foreign).await, Wrote::Fenced);
    env.drive(&job, died(), env.now).await;
    assert_eq!(write(&env, writing(&env, &job, 0, vec![entry("a", 1, env.now, "1")])).await, Wrote::Fenced);
    let again = env.take().await;
    assert_eq!(write(&env, writing(&env, &job, 0, vec![entry("a", 1, env.now, "1")])).await, Wrote::Fenced);
    assert_eq!(journal(&env, job.id).await, JournalPage::default());
    assert_eq!(write(&env, writing(&env, &again, 0, vec![entry("a", 1, env.now, "2")])).await, Wrote::Done);
    env.drive(&again, succeed(&again), env.now).await;
    assert_eq!(write(&env, writing(&env, &again, 1, vec![entry("b", 2, env.now, "1")])).await, Wrote::Fenced);
    assert_eq!(journal(&env, job.id).await.entries, [entry("a", 1, env.now, "2")]);
}

pub(super) async fn of_two_writes_on_one_revision_the_first_is_written(env: Env) {
    let job = env.running().await;
    assert_eq!(write(&env, writing(&env, &job, 0, vec![entry("a", 1, env.now, "1")])).await, Wrote::Done);
    assert_eq!(write(&env, writing(&env, &job, 0, vec![entry("b", 1, env.now, "1")])).await, Wrote::Moved);
    assert_eq!(write(&env, writing(&env, &job, 3, vec![entry("b", 1, env.now, "1")])).await, Wrote::Moved);
    let page = journal(&env, job.id).await;
    assert_eq!(page.entries, [entry("a", 1, env.now, "1")]);
    assert_eq!(page.head.map(|head| head.revision), Some(1));
}

pub(super) async fn a_repeated_write_is_done_and_written_once(env: Env) {
    let job = env.running().await;
    let child = env.new_job(draft());
    let first = JournalWrite {
        children: vec![child.clone()],
        forgives: true,
        ..writing(&env, &job, 0, vec![entry("a", 1, env.now, "1"), timer("b", env.at(9))])
    };
    for _ in 0..2 {
        assert_eq!(write(&env, first.clone()).await, Wrote::Done);
    }
    assert_eq!(env.read(job.id).await.revision, job.revision + 1);
    assert_eq!(journal(&env, job.id).await.head.map(|head| head.revision), Some(1));
    assert_eq!(env.all().await.len(), 2, "the child is stored once");
    assert_eq!(env.read(child.job.id).await, child.job);
}

pub(super) async fn each_write_is_judged_alone(env: Env) {
    let (one, other) = {
        env.put_many([draft(), draft()]).await;
        let mut taken = env.claim(env.claim_of(2)).await;
        (taken.remove(0), taken.remove(0))
    };
    let writes = vec![
        writing(&env, &one, 7, vec![entry("a", 1, env.now, "1")]),
        writing(&env, &other, 0, vec![entry("a", 1, env.now, "2")]),
        JournalWrite {
            workflow: JobId(Uuid::from_u128(5)),
            ..writing(&env, &one, 0, vec![entry("a", 1, env.now, "3")])
        },
    ];
    let answers = env.store.write_journals(Arc::new(writes)).await.expect("write journals");
    assert_eq!(answers, [Wrote::Moved, Wrote::Done, Wrote::Fenced]);
    assert_eq!(journal(&env, one.id).await, JournalPage::default());
    assert_eq!(journal(&env, other.id).await.entries, [entry("a", 1, env.now, "2")]);
}

pub(super) async fn the_next_generation_has_no_entries_and_new_args(env: Env) {
    let job = env.running().await;
    signal(&env, signal_of(job.id, 1, "go", "1")).await;
    let known = env.read(job.id).await;
    write(&env, writing(&env, &known, 0, vec![entry("a", 1, env.now, "1")])).await;
    let next = JournalWrite {
        clears: true,
        args: Some(json("[2]")),
        header: Header { generation: 1, ..Header::begin(None, env.at(1)) },
        ..writing(&env, &known, 1, Vec::new())
    };
    for _ in 0..2 {
        assert_eq!(write(&env, next.clone()).await, Wrote::Done);
    }
    let page = journal(&env, job.id).await;
    assert_eq!((page.entries.len(), page.arrivals.len()), (0, 1), "what has arrived stays");
    let after = env.read(job.id).await;
    assert_eq!((after.args, after.revision), (json("[2]"), known.revision + 1));
}

pub(super) async fn a_workflow_that_moved_on_is_charged_no_longer(env: Env) {
    let job = env.running().await;
    env.drive(&job, died(), env.now).await;
    let charged = env.take().await;
    assert!(charged.crashes == 1 && charged.suspicion.is_some());
    let write_on = JournalWrite { forgives: true, ..writing(&env, &charged, 0, vec![entry("a", 1, env.now, "1")]) };
    assert_eq!(write(&env, write_on).await, Wrote::Done);
    let mut expected = charged.clone();
    moved_on(&mut expected);
    assert_eq!((expected.attempt, expected.crashes), (1, 0));
    assert_eq!(env.read(job.id).await, expected);
}

pub(super) async fn signals_wait_in_order_and_are_taken_once(env: Env) {
    let job = env.put(draft()).await;
    let first = signal_of(job.id, 1, "paid", "1");
    assert_eq!(signal(&env, first.clone()).await, Signalled::Done);
    let more = vec![signal_of(job.id, 2, "shipped", "\"x\""), signal_of(job.id, 3, "paid", "2")];
    let answers = env.store.signal(Arc::new(more), env.now).await.expect("send signals");
    assert_eq!(answers, [Signalled::Done; 2]);
    // The same signal once more.
    assert_eq!(signal(&env, first.clone()).await, Signalled::Done);
    let running = env.take().await;
    assert!(running.revision > 1, "a claim knows that something has arrived");
    let page = journal(&env, job.id).await;
    let names = [("paid", "1"), ("shipped", "\"x\""), ("paid", "2")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(waiting(&page), names);
    assert_eq!(page.arrivals.iter().map(|arrival| arrival.n).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(page.head.map(|head| (head.revision, head.header)), Some((0, None)));
    let taking = JournalWrite { taken: vec![1], ..writing(&env, &running, 0, vec![entry("a", 1, env.now, "1")]) };
    assert_eq!(write(&env, taking).await, Wrote::Done);
    assert_eq!(waiting(&journal(&env, job.id).await), names[1..]);
    // It is known although it is taken.
    assert_eq!(signal(&env, first.clone()).await, Signalled::Done);
    assert_eq!(waiting(&journal(&env, job.id).await), names[1..]);
    let after = Arc::new(JournalAfter { key: String::new(), n: 2 });
    let rest = env.store.journal(job.id, Some(after), 10).await.expect("read a page");
    assert_eq!(waiting(&rest), names[2..]);
    // Numbers are not used again, and what was taken long ago is forgotten.
    env.store.forget_taken(env.at(1), 10).await.expect("forget what was taken");
    assert_eq!(signal(&env, signal_of(job.id, 9, "paid", "3")).await, Signalled::Done);
    let numbers: Vec<u64> = journal(&env, job.id).await.arrivals.iter().map(|arrival| arrival.n).collect();
    assert_eq!(numbers, [2, 3, 4]);
}

pub(super) async fn a_signal_wakes_a_parked_workflow_and_marks_a_running_one(env: Env) {
    let running = env.running().await;
    let parked = park(&env, &running).await;
    signal(&env, signal_of(parked.id, 1, "go", "1")).await;
    let mut expected = parked.clone();
    decide(&parked, Event::Wake, env.now).write_to(&mut expected);
    assert_eq!(env.read(parked.id).await, expected);
    assert_eq!(expected.state, State::Queued);
    let running = env.take().await;
    signal(&env, signal_of(running.id, 2, "go", "2")).await;
    let marked = env.read(running.id).await;
    assert!(marked.woken && marked.state == State::Running);
    // A report that was decided before it is decided again.
    let before = decide(&running, Event::Suspend { lease: lease(&running) }, env.now);
    assert_eq!(env.commit(before).await, Committed::Stale);
    env.drive(&marked, Event::Suspend { lease: lease(&marked) }, env.now).await;
    assert_eq!(env.read(running.id).await.state, State::Queued);
}

pub(super) async fn a_signal_to_what_has_ended_or_never_was_is_refused(env: Env) {
    let job = env.completed().await;
    assert_eq!(signal(&env, signal_of(job.id, 1, "go", "1")).await, Signalled::Ended);
    assert_eq!(signal(&env, signal_of(JobId(Uuid::from_u128(7)), 1, "go", "1")).await, Signalled::NotFound);
    assert_eq!(journal(&env, job.id).await, JournalPage::default());
    // One that was stored before the end is answered as it was.
    let job = env.put(draft()).await;
    signal(&env, signal_of(job.id, 1, "go", "1")).await;
    let known = env.read(job.id).await;
    env.drive(&known, cancel(), env.now).await;
    assert_eq!(signal(&env, signal_of(job.id, 1, "go", "1")).await, Signalled::Done);
    assert_eq!(signal(&env, signal_of(job.id, 2, "go", "1")).await, Signalled::Ended);
}

pub(super) async fn no_more_signals_wait_than_may(env: Env) {
    let job = env.put(draft()).await;
    let signals = (1..=SIGNALS_MAX as u128).map(|n| signal_of(job.id, n, "go", "1")).collect();
    let answers = env.store.signal(Arc::new(signals), env.now).await.expect("send signals");
    assert!(answers.iter().all(|answer| *answer == Signalled::Done));
    assert_eq!(signal(&env, signal_of(job.id, 1 << 64, "go", "1")).await, Signalled::Full);
    assert_eq!(signal(&env, signal_of(job.id, 1, "go", "1")).await, Signalled::Done, "it is there");
}

pub(super) async fn workflows_are_woken_by_their_time(env: Env) {
    let mut jobs = Vec::new();
    for secs in [30, 10, 20] {
        let running = env.running().await;
        let writing = JournalWrite { wake_at: Some(env.at(secs)), ..writing(&env, &running, 0, Vec::new()) };
        assert_eq!(write(&env, writing).await, Wrote::Done);
        jobs.push(park(&env, &running).await);
    }
    let due = env.store.due_wakes(10, env.at(9)).await.expect("read wakes");
    assert_eq!((due.due.len(), due.next_at), (0, Some(env.at(10))));
    let due = env.store.due_wakes(10, env.at(20)).await.expect("read wakes");
    let expected =
        vec![(jobs[1].id, env.at(10), Some(jobs[1].clone())), (jobs[2].id, env.at(20), Some(jobs[2].clone()))];
    assert_eq!((due.due, due.next_at), (expected, Some(env.at(30))));
    let due = env.store.due_wakes(1, env.at(20)).await.expect("read wakes");
    assert_eq!(due.due.iter().map(|(id, ..)| *id).collect::<Vec<_>>(), [jobs[1].id]);
    // Only the time that was read is forgotten.
    let wakes = Arc::new(vec![(jobs[1].id, env.at(10)), (jobs[2].id, env.at(19))]);
    env.store.clear_wakes(wakes).await.expect("forget wakes");
    let due = env.store.due_wakes(10, env.at(25)).await.expect("read wakes");
    assert_eq!(due.due.iter().map(|(id, ..)| *id).collect::<Vec<_>>(), [jobs[2].id]);
    let head = journal(&env, jobs[1].id).await.head.expect("a head");
    assert_eq!((head.wake_at, head.revision), (None, 1));
}

pub(super) async fn a_journal_goes_with_its_job(env: Env) {
    let job = env.running().await;
    signal(&env, signal_of(job.id, 1, "go", "1")).await;
    let job = env.read(job.id).await;
    let writing = JournalWrite { wake_at: Some(env.at(1)), ..writing(&env, &job, 0, vec![entry("a", 1, env.now, "1")]) };
    write(&env, writing).await;
    env.drive(&job, succeed(&job), env.now).await;
    env.store.delete(job.id, env.now).await.expect("delete");
    assert_eq!(journal(&env, job.id).await, JournalPage::default());
    assert_eq!(env.store.due_wakes(10, env.at(9)).await.expect("read wakes").due, []);
}

pub(super) async fn signals_of_many_callers_keep_one_order(env: Env) {
    let job = env.put(draft()).await;
    let env = Arc::new(env);
    let senders = (0..8u128).map(|sender| {
        let (env, id) = (Arc::clone(&env), job.id);
        tokio::spawn(async move {
            for n in 0..10u128 {
                let value = format!("{n}");
                let sent = signal_of(id, sender * 100 + n + 1, &format!("from {sender}"), &value);
                assert_eq!(signal(&env, sent).await, Signalled::Done);
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.expect("a sender");
    }
    let page = journal(&env, job.id).await;
    let numbers: Vec<u64> = page.arrivals.iter().map(|arrival| arrival.n).collect();
    assert_eq!(numbers, (1..=80).collect::<Vec<u64>>());
    for sender in 0..8 {
        let name = format!("from {sender}");
        let of_sender = waiting(&page).into_iter().filter(|(of, _)| *of == name).map(|(_, value)| value);
        assert_eq!(of_sender.collect::<Vec<_>>(), (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}

pub(super) async fn a_child_is_inserted_with_the_entry_that_stands_for_it(env: Env) {
    let job = env.running().await;
    let child: NewJob = env.new_job(draft());
    let stale = JournalWrite { children: vec![child.clone()], ..writing(&env, &job, 5, Vec::new()) };
    let foreign = JournalWrite { lease: LeaseId(Uuid::from_u128(9)), ..stale };
    assert_eq!(write(&env, foreign).await, Wrote::Fenced);
    assert_eq!(env.find(child.job.id).await, None);
    let with_child = JournalWrite { children: vec![child.clone()], ..writing(&env, &job, 0, vec![timer("c", env.now)]) };
    assert_eq!(write(&env, with_child).await, Wrote::Done);
    assert_eq!(env.read(child.job.id).await, child.job);
    assert_eq!(env.take().await.id, child.job.id);
}

pub(super) async fn the_end_of_a_child_arrives_once_and_wakes_its_workflow(env: Env) {
    let workflow = env.running().await;
    let mut child = env.new_job(draft());
    let parent = Parent { workflow: workflow.id, key: "pack".into(), policy: ChildPolicy::Cancel };
    child.job.links.get_or_insert_default().parent = Some(parent);
    let begin = JournalWrite {
        children: vec![child.clone()],
        ..writing(&env, &workflow, 0, vec![timer("pack", env.at(9))])
    };
    assert_eq!(write(&env, begin).await, Wrote::Done);
    let parked = park(&env, &workflow).await;
    let running = env.take().await;
    assert_eq!(running.id, child.job.id);
    env.drive(&running, succeed(&running), env.at(1)).await;
    let expected = vec![("pack".to_owned(), "child".to_owned())];
    assert_eq!(waiting(&journal(&env, workflow.id).await), expected);
    let woken = env.read(workflow.id).await;
    assert_eq!((woken.state, woken.revision), (State::Queued, parked.revision + 1));
    // A second end of the same child is not news.
    let ended = env.read(child.job.id).await;
    let before = env.read(workflow.id).await;
    let again = env.drive(&ended, Event::Retry, env.at(2)).await;
    env.drive(&again, cancel(), env.at(3)).await;
    assert_eq!(env.read(workflow.id).await, before);
    assert_eq!(waiting(&journal(&env, workflow.id).await), expected);
}

pub(super) async fn the_end_of_a_child_waits_for_a_workflow_that_was_given_up(env: Env) {
    let workflow = env.running().await;
    let child = children(&env, &workflow, &["pack"]).await.remove(0);
    let parked = park(&env, &workflow).await;
    let given_up = env.drive(&parked, Event::GiveUp { reason: "no use".into() }, env.at(1)).await;
    let running = env.take().await;
    assert_eq!(running.id, child.id);
    env.drive(&running, succeed(&running), env.at(2)).await;
    let expected = vec![("pack".to_owned(), "child".to_owned())];
    assert_eq!(waiting(&journal(&env, workflow.id).await), expected);
    assert_eq!(env.read(workflow.id).await, given_up, "it is not woken");
    // A retry would otherwise wait for it for ever.
    let retried = env.drive(&given_up, Event::Retry, env.at(3)).await;
    assert_eq!((retried.state, waiting(&journal(&env, workflow.id).await)), (State::Queued, expected));
}

pub(super) async fn a_workflow_that_has_completed_hears_of_no_child(env: Env) {
    let workflow = env.running().await;
    let child = children(&env, &workflow, &["pack"]).await.remove(0);
    env.drive(&env.read(workflow.id).await, succeed(&workflow), env.at(1)).await;
    let running = env.take().await;
    assert_eq!(running.id, child.id);
    env.drive(&running, succeed(&running), env.at(2)).await;
    assert_eq!(waiting(&journal(&env, workflow.id).await), []);
}

pub(super) async fn an_imported_job_brings_its_journal(env: Env) {
    let stored = env.running().await;
    let job = JobRow { id: env.new_job(draft()).job.id, ..stored };
    let arrival = |n, id| {
        let what = Arrived::Signal { name: "go".into(), value: json("1") };
        (Uuid::from_u128(id), Arrival { n, at: env.now, what })
    };
    let published = Some(json(r#"{"state":"packing"}"#));
    let header = Header { progress: 3, published, ..Header::begin(Some("2".into()), env.now) };
    let head = JournalHead { revision: 4, header: Some(header), wake_at: Some(env.at(9)), arrived: 7 };
    let entries = vec![entry("a", 1, env.now, "1"), timer("b", env.at(9))];
    let journal = JournalRecord { head, entries, arrivals: vec![arrival(5, 50), arrival(7, 70)] };
    let of_signal = JournalRecord {
        head: JournalHead { revision: 0, header: None, wake_at: None, arrived: 1 },
        entries: Vec::new(),
        arrivals: vec![arrival(1, 10)],
    };
    let queued = env.new_job(draft()).job;
    let record = |job: &JobRow, journal: &JournalRecord| Record {
        job: job.clone(),
        attempts: Vec::new(),
        lines: Vec::new(),
        edges: Vec::new(),
        journal: Some(Box::new(journal.clone())),
    };
    let records = Arc::new(vec![record(&job, &journal), record(&queued, &of_signal)]);
    env.store.import(Arc::clone(&records)).await.expect("import");
    env.store.import(records).await.expect("import again");
    for (job, journal) in [(&job, &journal), (&queued, &of_signal)] {
        let page = self::journal(&env, job.id).await;
        let (ids, arrivals): (Vec<Uuid>, Vec<Arrival>) = journal.arrivals.iter().cloned().unzip();
        assert_eq!((page.head.as_ref(), &page.entries), (Some(&journal.head), &journal.entries));
        assert_eq!((page.arrivals, page.arrival_ids, page.more), (arrivals, ids, false));
    }
    // It goes on as if it had always been here: a signal that waits is known, and the run knows its revision.
    assert_eq!(signal(&env, signal_of(job.id, 50, "go", "1")).await, Signalled::Done);
    assert_eq!(signal(&env, signal_of(job.id, 51, "go", "2")).await, Signalled::Done);
    let numbers: Vec<u64> = self::journal(&env, job.id).await.arrivals.iter().map(|arrival| arrival.n).collect();
    assert_eq!(numbers, [5, 7, 8]);
    let next = JournalWrite { taken: vec![5], ..writing(&env, &job, 4, vec![entry("b", 2, env.now, "1")]) };
    assert_eq!(write(&env, next).await, Wrote::Done);
    let due = env.store.due_wakes(10, env.at(20)).await.expect("read wakes");
    assert_eq!(due.due, [], "the write has changed the wake time");
}

/// Begins children of a running workflow under these keys; answers with the journal's revision and the children, queued.
async fn children(env: &Env, workflow: &JobRow, keys: &[&str]) -> Vec<JobRow> {
    let children: Vec<NewJob> = keys
        .iter()
        .map(|key| {
            let mut child = env.new_job(draft());
            let parent = Parent { workflow: workflow.id, key: (*key).into(), policy: ChildPolicy::Cancel };
            child.job.links.get_or_insert_default().parent = Some(parent);
            child
        })
        .collect();
    let rows = children.iter().map(|child| child.job.clone()).collect();
    let begin = JournalWrite { children, ..writing(env, workflow, 0, Vec::new()) };
    assert_eq!(write(env, begin).await, Wrote::Done);
    rows
}

fn cancel_of(workflow: &JobRow, child: JobId) -> ChildCancel {
    ChildCancel { workflow: workflow.id, child, reason: "its branch has lost a race".into() }
}

pub(super) async fn children_are_cancelled_with_the_write_or_not_at_all(env: Env) {
    let workflow = env.running().await;
    let begun = children(&env, &workflow, &["a", "b", "c"]).await;
    let taken = env.claim(env.claim_of(2)).await;
    let [done, running] = [taken[0].clone(), taken[1].clone()];
    let queued = begun.iter().find(|child| taken.iter().all(|job| job.id != child.id)).expect("a child").clone();
    env.drive(&done, succeed(&done), env.now).await;
    let foreign = env.put(draft()).await;
    let known = env.read(workflow.id).await;
    let all = [queued.id, running.id, done.id, foreign.id, JobId(Uuid::from_u128(77))];
    let cancelling = JournalWrite {
        cancels: all.iter().map(|child| cancel_of(&workflow, *child)).collect(),
        ..writing(&env, &known, 1, vec![entry("race", 1, env.now, "1")])
    };
    // A write that is refused cancels nothing.
    let before = env.all().await;
    let moved = JournalWrite { revision_before: 7, ..cancelling.clone() };
    assert_eq!(write(&env, moved).await, Wrote::Moved);
    let stale = JournalWrite { lease: LeaseId(Uuid::from_u128(9)), ..cancelling.clone() };
    assert_eq!(write(&env, stale).await, Wrote::Fenced);
    assert_eq!(env.all().await, before);

    let done = env.read(done.id).await;
    for _ in 0..2 {
        assert_eq!(write(&env, cancelling.clone()).await, Wrote::Done);
    }
    let event = || Event::Cancel { reason: "its branch has lost a race".into() };
    for child in [&queued, &running] {
        let mut expected = child.clone();
        decide(child, event(), env.now).write_to(&mut expected);
        assert_eq!(env.read(child.id).await, expected);
    }
    assert_eq!(env.read(done.id).await, done);
    assert_eq!(env.read(foreign.id).await, foreign, "another workflow's job is left alone");
    // The child that had not begun has ended, which arrives as every end does. The other one ends with its run.
    let arrived = |page: &JournalPage| page.arrivals.len();
    assert_eq!(arrived(&journal(&env, workflow.id).await), 2);
    let asked = env.read(running.id).await;
    let stop = Event::Stop { lease: lease(&asked), reason: "asked to".into() };
    assert_eq!(env.drive(&asked, stop, env.at(1)).await.state, State::Cancelled);
    assert_eq!(arrived(&journal(&env, workflow.id).await), 3);
}

pub(super) async fn jobs_after_a_cancelled_child_are_settled_with_the_write(env: Env) {
    let workflow = env.running().await;
    let child = children(&env, &workflow, &["a"]).await.remove(0);
    let waiting = env.new_job(draft());
    let edge = Edge { predecessor: child.id, on_failure: OnFailure::Cancel };
    let linked = NewLinked { new: waiting.clone(), edges: vec![edge] };
    let insert = InsertLinked { jobs: vec![linked], by: None };
    env.store.insert_linked(Arc::new(insert), env.now, Call::First).await.expect("insert with links");
    let known = env.read(workflow.id).await;
    let cancels = vec![cancel_of(&workflow, child.id)];
    let cancelling = JournalWrite { cancels, ..writing(&env, &known, 1, Vec::new()) };
    assert_eq!(write(&env, cancelling).await, Wrote::Done);
    assert_eq!(env.read(child.id).await.state, State::Cancelled);
    assert_eq!(env.read(waiting.job.id).await.state, State::Cancelled);
}

pub(super) async fn a_cancel_lets_a_workflow_with_something_to_undo_run_once_more(env: Env) {
    let workflow = env.running().await;
    let tying = JournalWrite { ties: true, ..writing(&env, &workflow, 0, vec![entry("a", 1, env.now, "1")]) };
    for _ in 0..2 {
        assert_eq!(write(&env, tying.clone()).await, Wrote::Done);
    }
    let tied = env.read(workflow.id).await;
    assert!(tied.undoes() && tied.revision == workflow.revision + 1);
    let parked = park(&env, &tied).await;
    let marked = env.drive(&parked, cancel(), env.at(1)).await;
    assert_eq!((marked.state, marked.cancel_requested_at), (State::Queued, Some(env.at(1))));
    let running = env.take_at(env.at(2)).await;
    let waiting = env.drive(&running, Event::Suspend { lease: lease(&running) }, env.at(3)).await;
    assert_eq!(waiting.state, State::Waiting, "it waits for the next try of its compensation");
    let woken = env.drive(&waiting, Event::Wake, env.at(4)).await;
    let running = env.take_at(env.at(4)).await;
    assert_eq!(running.id, woken.id);
    let stop = Event::Stop { lease: lease(&running), reason: "undone".into() };
    let ended = env.drive(&running, stop, env.at(5)).await;
    assert_eq!((ended.state, ended.reason.as_deref()), (State::Cancelled, Some("not wanted any more")));
}
