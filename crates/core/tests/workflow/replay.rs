//! What the code asks for against what the journal has.

use backroom_core::{
    Json,
    links::ChildPolicy,
    workflow::{
        Answer, Ask, Attempted, Blocked, Entry, EntryKind, EntryState, Header, Next, Opened, Refused, Ticket,
        Write, chance,
    },
};

use crate::{
    ask,
    common::{at, json, secs},
    entries, run_over, step, write,
};

fn closed(key: &str, kind: EntryKind, seq: u64, answer: Answer) -> Entry {
    let state = EntryState::Closed { seq, at: at(i64::try_from(seq).unwrap()), answer };
    Entry { key: key.into(), kind, state, undo: None, began_at: None, tries: 0 }
}

fn value(key: &str, seq: u64) -> Entry {
    closed(key, EntryKind::Step, seq, Answer::Value { value: json(&seq.to_string()) })
}

fn answer_of(text: &str) -> Option<Answer> {
    Some(Answer::Value { value: json(text) })
}

/// Runs the step that is next, with this value.
fn execute(run: &mut backroom_core::workflow::Run, text: &str) -> Ticket {
    let Next::Execute { ticket, .. } = run.next(at(100)) else { panic!("a step is to be run") };
    let writes = run.tried(ticket, Attempted::Value(json(text)), at(100), 0.5);
    run.wrote(&writes);
    ticket
}

#[test]
fn a_step_runs_once_and_answers_from_the_journal_later() {
    let mut run = run_over(Vec::new(), Vec::new());
    let ticket = ask(&mut run, "charge", step());
    assert_eq!(run.answer(ticket), None);
    assert_eq!(execute(&mut run, "7"), ticket);
    assert_eq!((run.next(at(100)), run.answer(ticket)), (Next::Poll, answer_of("7")));

    let mut again = run_over(entries(&run), Vec::new());
    let ticket = ask(&mut again, "charge", step());
    assert!(again.is_replaying());
    assert_eq!((again.next(at(500)), again.answer(ticket)), (Next::Poll, answer_of("7")));
    assert!(!again.is_replaying());
    assert_eq!(again.next(at(500)), Next::Park { until: None });
}

#[test]
fn an_entry_of_another_kind_blocks_the_workflow_with_both_names() {
    for kind in EntryKind::ALL {
        let asks = [
            step(),
            Ask::Sleep(secs(1)),
            Ask::Signal { name: "shipped".into(), within: None },
            Ask::Child { policy: ChildPolicy::Cancel },
            Ask::Race { branches: Vec::new() },
            Ask::Patch,
            Ask::Now,
        ];
        for asked in asks {
            let mut run = run_over(vec![closed("ship", kind, 1, Answer::Fired)], Vec::new());
            let (asks_for, ticket) = (asked.kind(), ask(&mut run, "ship", asked));
            if asks_for == kind {
                assert_eq!(run.next(at(9)), Next::Poll);
                continue;
            }
            let blocked = Blocked::OtherKind { key: "ship".into(), asked: asks_for, found: kind };
            assert_eq!(run.next(at(9)), Next::Blocked(blocked));
            assert_eq!(run.answer(ticket), None, "never a wrong value");
        }
    }
    let mut run = run_over(vec![value("ship", 1)], Vec::new());
    ask(&mut run, "ship", Ask::Now);
    let Next::Blocked(blocked) = run.next(at(9)) else { panic!("it is blocked") };
    assert_eq!(
        blocked.to_string(),
        r#"the code asks for now "ship", and the journal has step "ship" of an earlier run; deploy the earlier code, or give the new now another name"#
    );
}

#[test]
fn an_entry_of_a_branch_that_lost_blocks_code_that_waits_for_it_outside_of_the_race() {
    let lost = Entry { state: EntryState::Lost, ..value("ship", 9) };
    let mut run = run_over(vec![lost], Vec::new());
    ask(&mut run, "ship", step());
    let blocked = Blocked::Lost { key: "ship".into(), asked: EntryKind::Step };
    assert_eq!(run.next(at(9)), Next::Blocked(blocked));
}

#[test]
fn a_deploy_may_add_a_step_before_those_that_are_recorded() {
    let mut run = run_over(vec![value("a", 1), value("b", 2)], Vec::new());
    let a = ask(&mut run, "a", step());
    assert_eq!((run.next(at(9)), run.answer(a)), (Next::Poll, answer_of("1")));
    let new = ask(&mut run, "new", step());
    assert_eq!(execute(&mut run, "5"), new);
    assert_eq!((run.next(at(100)), run.answer(new)), (Next::Poll, answer_of("5")));
    let b = ask(&mut run, "b", step());
    assert_eq!(run.answer(b), answer_of("2"), "the recorded answer, although it was passed");
}

#[test]
fn a_deploy_may_remove_and_reorder_steps() {
    let mut run = run_over(vec![value("a", 1), value("gone", 2), value("b", 3)], Vec::new());
    let b = ask(&mut run, "b", step());
    assert_eq!((run.next(at(9)), run.answer(b)), (Next::Poll, answer_of("3")));
    let a = ask(&mut run, "a", step());
    assert_eq!(run.answer(a), answer_of("1"));
    assert_eq!(run.next(at(9)), Next::Park { until: None });
}

#[test]
fn a_patch_is_new_for_runs_that_come_to_it_and_old_for_runs_that_have_passed_it() {
    let mut fresh = run_over(vec![value("a", 1)], Vec::new());
    let a = ask(&mut fresh, "a", step());
    assert_eq!((fresh.next(at(9)), fresh.answer(a)), (Next::Poll, answer_of("1")));
    let patch = ask(&mut fresh, "faster", Ask::Patch);
    write(&mut fresh, 9);
    let patched = |is_new| Some(Answer::Patched { is_new });
    assert_eq!((fresh.next(at(9)), fresh.answer(patch)), (Next::Poll, patched(true)));

    // The next run finds it recorded.
    let mut again = run_over(entries(&fresh), Vec::new());
    let a = ask(&mut again, "a", step());
    assert_eq!((again.next(at(9)), again.answer(a)), (Next::Poll, answer_of("1")));
    let patch = ask(&mut again, "faster", Ask::Patch);
    assert_eq!((again.next(at(9)), again.answer(patch)), (Next::Poll, patched(true)));

    // A run of the code before has recorded what stands behind it.
    for _ in 0..2 {
        let mut old = run_over(vec![value("a", 1), value("b", 2)], Vec::new());
        let a = ask(&mut old, "a", step());
        assert_eq!((old.next(at(9)), old.answer(a)), (Next::Poll, answer_of("1")));
        let patch = ask(&mut old, "faster", Ask::Patch);
        assert_eq!((old.next(at(9)), old.answer(patch)), (Next::Poll, patched(false)));
        let b = ask(&mut old, "b", step());
        assert_eq!((old.next(at(9)), old.answer(b)), (Next::Poll, answer_of("2")));
    }
}

#[test]
fn a_failed_try_is_counted_over_crashes_and_waits_for_its_back_off() {
    let mut run = run_over(Vec::new(), Vec::new());
    ask(&mut run, "charge", step());
    let Next::Execute { ticket, try_number: 1 } = run.next(at(0)) else { panic!("first try") };
    let writes = run.tried(ticket, Attempted::Failed("busy".into()), at(3), 0.5);
    let opened = Opened::Trying { tries: 1, due_at: at(10), error: "busy".into() };
    assert!(matches!(&writes[..], [Write::Entry(entry)] if entry.state == EntryState::Open(opened)));
    run.wrote(&writes);
    assert_eq!(run.next(at(3)), Next::Park { until: Some(at(10)) });

    let mut again = run_over(entries(&run), Vec::new());
    ask(&mut again, "charge", step());
    assert_eq!(again.next(at(5)), Next::Park { until: Some(at(10)) });
    let Next::Execute { ticket, try_number: 2 } = again.next(at(60)) else { panic!("second try") };
    let failed = again.tried(ticket, Attempted::GivenUp("no such card".into()), at(60), 0.5);
    again.wrote(&failed);
    let expected = Some(Answer::Failed { error: "no such card".into() });
    assert_eq!((again.next(at(60)), again.answer(ticket)), (Next::Poll, expected));
}

#[test]
fn steps_that_run_beside_each_other_are_awaited_beside_timers() {
    let mut run = run_over(Vec::new(), Vec::new());
    let (one, two) = (ask(&mut run, "one", step()), ask(&mut run, "two", step()));
    ask(&mut run, "tea", Ask::Sleep(secs(30)));
    assert_eq!(run.next(at(0)), Next::Execute { ticket: one, try_number: 1 });
    assert_eq!(run.next(at(0)), Next::Execute { ticket: two, try_number: 1 });
    write(&mut run, 0);
    assert_eq!(run.next(at(0)), Next::Await { until: Some(at(30)) });
    // The second is ready first, and is recorded first.
    let writes = run.tried(two, Attempted::Value(json("2")), at(5), 0.5);
    run.wrote(&writes);
    assert_eq!((run.next(at(5)), run.answer(two), run.now()), (Next::Poll, answer_of("2"), at(5)));
    write(&mut run, 31);
    assert_eq!(run.next(at(31)), Next::Poll);
    assert_eq!(run.now(), at(30), "the timer fired at its moment");
}

#[test]
fn a_step_whose_branch_has_lost_writes_nothing() {
    let mut run = run_over(Vec::new(), Vec::new());
    let ticket = ask(&mut run, "slow", step());
    assert!(matches!(run.next(at(0)), Next::Execute { .. }));
    run.forget(ticket);
    assert_eq!(run.tried(ticket, Attempted::Value(Json::null()), at(1), 0.5), []);
}

#[test]
fn a_child_is_started_once_under_an_id_that_every_run_computes() {
    let mut run = run_over(Vec::new(), Vec::new());
    ask(&mut run, "ship", Ask::Child { policy: ChildPolicy::Abandon });
    let Next::Write(writes) = run.next(at(0)) else { panic!("a child is to be started") };
    let [Write::Entry(_), Write::StartChild { key, job, policy: ChildPolicy::Abandon }] = &writes[..] else {
        panic!("{writes:?}")
    };
    assert_eq!((key.as_str(), job.0.get_version_num()), ("ship", 7));
    // It died before it wrote.
    let mut again = run_over(Vec::new(), Vec::new());
    ask(&mut again, "ship", Ask::Child { policy: ChildPolicy::Abandon });
    assert_eq!(again.next(at(70)), Next::Write(writes.clone()));
}

#[test]
fn what_a_workflow_publishes_is_written_once_and_not_while_it_replays() {
    let mut run = run_over(Vec::new(), Vec::new());
    run.publish(json("1")).unwrap();
    ask(&mut run, "a", step());
    assert_eq!(write(&mut run, 0), [Write::Publish(json("1"))]);
    run.publish(json("1")).unwrap();
    execute(&mut run, "7");
    let header = run.journal().header.clone();
    assert_eq!(header.published, Some(json("1")));

    let mut again = run_over(entries(&run), Vec::new());
    again.publish(json("0")).unwrap();
    ask(&mut again, "a", step());
    assert_eq!(again.next(at(0)), Next::Poll);
    assert_eq!(again.next(at(0)), Next::Park { until: None });
}

#[test]
fn continue_as_new_begins_an_empty_journal_and_retains_what_has_arrived() {
    let mut run = run_over(vec![value("a", 1)], vec![crate::signal(1, 0, "more", "5")]);
    assert_eq!(run.continued(), [Write::NextGeneration]);
    run.wrote(&[Write::NextGeneration]);
    assert!(run.journal().is_empty() && run.journal().bytes() == 0);
    let before = Header { progress: 7, published: Some(json("1")), ..run.journal().header.clone() };
    let next = before.next_generation(Some("v2".into()), at(50));
    assert_eq!((next.generation, next.progress, &next.published), (1, 7, &Some(json("1"))));
    assert!(next.may_run_on(&["v1".into(), "v2".into()]) && !next.may_run_on(&["v1".into()]));
    assert!(before.may_run_on(&[]));
}

#[test]
fn a_refusal_of_a_name_reaches_the_handler() {
    let mut run = run_over(Vec::new(), Vec::new());
    ask(&mut run, "a", step());
    let refused = run.ask(backroom_core::workflow::ScopeId::ROOT, "a", step());
    assert!(matches!(refused, Err(Refused::Name(_))));
}

#[test]
fn code_elsewhere_asks_under_whole_keys_in_any_order() {
    let recorded = vec![value("first", 1), value("order/charge#2", 2)];
    let mut run = crate::run_by_key(recorded);
    assert!(!run.is_replaying());
    let ticket = run.ask_under("order/charge#2", step()).unwrap();
    assert_eq!(run.answer(ticket), answer_of("2"));
    let ticket = run.ask_under("first", step()).unwrap();
    assert_eq!(run.answer(ticket), answer_of("1"));
    run.ask_under("new", step()).unwrap();
    let refused = run.ask_under("new", step()).unwrap_err();
    assert!(matches!(refused, Refused::Name(_)), "{refused}");
    for key in ["", "a//b", "/a", "a/"] {
        assert!(matches!(run.ask_under(key, step()), Err(Refused::Name(_))), "{key:?}");
    }
}

#[test]
fn the_end_of_an_older_child_of_the_same_key_answers_no_child_of_a_later_generation() {
    use backroom_core::{
        JobId,
        links::ChildEnd,
        workflow::{Arrival, Arrived},
    };
    let job = |number: u128| JobId(uuid::Uuid::from_u128(number));
    let open = EntryState::Open(Opened::Child { job: job(2), policy: ChildPolicy::Cancel });
    let entry = Entry { state: open, ..closed("pack", EntryKind::Child, 1, Answer::Fired) };
    let ended = |n: u64, child: u128, output: &str| {
        let end = ChildEnd::Completed { output: json(output) };
        Arrival { n, at: at(5), what: Arrived::Child { key: "pack".into(), job: job(child), end } }
    };
    let mut run = run_over(vec![entry.clone()], vec![ended(1, 1, "1")]);
    let ticket = ask(&mut run, "pack", Ask::Child { policy: ChildPolicy::Cancel });
    assert_eq!((run.next(at(9)), run.answer(ticket)), (Next::Park { until: None }, None));
    let mut run = run_over(vec![entry], vec![ended(1, 1, "1"), ended(2, 2, "2")]);
    let ticket = ask(&mut run, "pack", Ask::Child { policy: ChildPolicy::Cancel });
    let writes = write(&mut run, 9);
    // What no entry waits for is dropped with the answer.
    assert_eq!(writes[1..], [Write::Take { n: 2 }, Write::Take { n: 1 }]);
    assert_eq!(run.next(at(9)), Next::Poll);
    let end = ChildEnd::Completed { output: json("2") };
    assert_eq!(run.answer(ticket), Some(Answer::Child { end }));
}

#[test]
fn random_numbers_and_ids_are_the_same_in_every_language() {
    let text = include_str!("../../../../clients/vectors/derived.json");
    let vectors: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
    assert!(!vectors.is_empty());
    for vector in vectors {
        let of = |field: &str| vector[field].as_str().unwrap_or_default();
        let generation = u32::try_from(vector["generation"].as_u64().unwrap()).unwrap();
        let header = Header { generation, ..Header::begin(None, at(0)) };
        let (workflow, key) = (of("workflow").parse().unwrap(), of("key"));
        assert_eq!(chance::random(workflow, &header, key).to_string(), of("random"), "{vector}");
        assert_eq!(chance::uuid(workflow, &header, key).to_string(), of("uuid"), "{vector}");
    }
}
