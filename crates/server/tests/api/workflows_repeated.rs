//! Calls of remote workflows that are repeated because their answers were lost, and calls that come at the same time.

use std::{cell::Cell, thread};

use serde_json::{Value, json};

use crate::{
    serve_support::eventually,
    support::Side,
    workflows::{Remote, entry},
};

/// What happens to one of the calls.
#[derive(Debug, Clone, Copy)]
enum Mishap {
    /// Its answer is lost, so it is sent again.
    Lost,
    /// It is sent twice at the same time, and this answer counts.
    AtOnce(usize),
}

/// Sends the calls of one workflow, of which one has a mishap.
struct Sender {
    mishap: Mishap,
    place: usize,
    sent: Cell<usize>,
}

const OVER: [&str; 4] = ["parked", "ended", "blocked", "lost"];

impl Sender {
    #[track_caller]
    fn send(&self, run: &Remote<'_>, call: &Value) -> Value {
        let place = self.sent.replace(self.sent.get() + 1);
        if place != self.place {
            return run.call(call.clone());
        }
        match self.mishap {
            Mishap::Lost => {
                let lost = run.call(call.clone());
                let again = run.call(call.clone());
                assert_eq!(lost["status"], again["status"], "call {place}: {lost} {again}");
                again
            }
            Mishap::AtOnce(counts) => {
                let both: Vec<Value> = thread::scope(|scope| {
                    let sends: Vec<_> = (0..2).map(|_| scope.spawn(|| run.call(call.clone()))).collect();
                    sends.into_iter().map(|send| send.join().unwrap()).collect()
                });
                let is_over = |answer: &Value| OVER.contains(&answer["status"].as_str().unwrap());
                assert_eq!(is_over(&both[0]), is_over(&both[1]), "call {place}: {both:?}");
                both[counts].clone()
            }
        }
    }

    #[track_caller]
    fn ask(&self, run: &Remote<'_>, ask: Value) -> Value {
        let says = self.send(run, &json!({"generation": 0, "asks": [ask]}));
        assert_eq!(says["status"], "running", "call {}: {says}", self.sent.get());
        says["asks"][0].clone()
    }

    /// Runs a step, whose code is done once.
    #[track_caller]
    fn step(&self, run: &Remote<'_>, key: &str, value: u64) {
        let ask = json!({"key": key, "kind": "step", "compensated": true});
        assert_eq!(self.ask(run, ask.clone()), json!({"state": "execute", "try": 1}), "{key}");
        let mut tried = ask;
        tried["tried"] = json!({"try": 1, "value": value});
        assert_eq!(self.ask(run, tried)["value"], value, "{key}");
    }
}

fn signal(side: &Side, id: &str, value: u64) {
    let sent = side.post(&format!("/v1/jobs/{id}/signals"), json!({"name": "go", "value": value}));
    assert_eq!(sent.status, 202, "{}", sent.text());
}

/// One order from its begin to its end. Answers how many calls it took.
fn order(side: &Side, mishap: Mishap, place: usize) -> usize {
    let sender = Sender { mishap, place, sent: Cell::new(0) };
    let id = side.enqueue(json!({"kind": "order"}));
    let wait = |key: &str| json!({"key": key, "kind": "signal", "signal": "go"});
    let child = json!({"key": "twice", "kind": "child", "job": {"kind": "double", "args": 4}});
    let first = Remote::claim(side, "order");
    assert_eq!(sender.send(&first, &json!({"begin": true}))["status"], "running");
    sender.step(&first, "charge", 990);
    let parks = json!({"generation": 0, "asks": [wait("go")], "then": "park", "publish": "asked"});
    assert_eq!(sender.send(&first, &parks)["status"], "parked");
    signal(side, &id, 1);
    signal(side, &id, 2);
    let second = Remote::claim(side, "order");
    sender.send(&second, &json!({"begin": true}));
    for (key, value) in [("go", 1), ("go#2", 2)] {
        assert_eq!(sender.ask(&second, wait(key))["value"], value, "{key} of {place}, {mishap:?}");
    }
    let late = json!({"key": "late", "kind": "signal", "signal": "go", "within_ms": 0});
    assert_eq!(sender.ask(&second, late)["state"], "timed_out", "both signals are taken");
    let parks = json!({"generation": 0, "asks": [child], "then": "park"});
    if sender.send(&second, &parks)["status"] == "running" {
        // The child has ended before.
        return finish(&sender, &second, &id, side);
    }
    let third = Remote::claim(side, "order");
    sender.send(&third, &json!({"begin": true}));
    assert_eq!(sender.ask(&third, child)["value"], 8);
    finish(&sender, &third, &id, side)
}

fn finish(sender: &Sender, run: &Remote<'_>, id: &str, side: &Side) -> usize {
    sender.step(run, "ship", 7);
    if sender.place.is_multiple_of(2) {
        sender.send(run, &json!({"generation": 0, "then": "complete", "output": "mailed"}));
        assert_eq!(side.job(id)["output"], "mailed");
    } else {
        sender.send(run, &json!({"generation": 0, "then": "fail", "error": "no socks"}));
        for key in ["ship", "charge"] {
            sender.send(run, &json!({"generation": 0, "undone": {"key": key, "try": 1}}));
        }
        let job = side.job(id);
        assert_eq!((&job["state"], &job["reason"]), (&json!("discarded"), &json!("no socks")), "{job}");
    }
    let journal = side.get(&format!("/v1/jobs/{id}/journal")).json()["journal"].clone();
    assert_eq!(journal["published"], "asked");
    for key in ["charge", "ship"] {
        let entry = entry(&journal, key);
        let undo = if sender.place.is_multiple_of(2) { "due" } else { "done" };
        assert_eq!((&entry["tries"], &entry["undo"]["state"]), (&json!(1), &json!(undo)), "{journal}");
    }
    assert_eq!(journal["entries"].as_array().unwrap().len(), 6, "{journal}");
    sender.sent.get()
}

#[test]
fn each_call_of_a_remote_workflow_may_lose_its_answer_or_come_twice_at_once() {
    let side = Side::new("remote_repeats");
    let _worker = side.work();
    let mut orders = 0;
    for mishap in [Mishap::Lost, Mishap::AtOnce(0), Mishap::AtOnce(1)] {
        for place in 0.. {
            orders += 1;
            if order(&side, mishap, place) <= place {
                break;
            }
        }
    }
    let of_kind = |kind: &str| {
        let jobs = side.get(&format!("/v1/jobs?kind={kind}&limit=1000")).json();
        jobs["jobs"].as_array().unwrap().len()
    };
    assert!(orders > 40, "{orders}");
    assert_eq!((of_kind("order"), of_kind("double")), (orders, orders), "each child is started once");
}

#[test]
fn different_calls_of_one_run_at_once_lose_nothing() {
    let side = Side::new("remote_at_once");
    let mut parked = Vec::new();
    for number in 0..8 {
        let id = side.enqueue(json!({"kind": "order"}));
        let run = Remote::claim(&side, "order");
        let tried =
            |key: &str| json!({"asks": [{"key": key, "kind": "step", "tried": {"try": 1, "value": key}}]});
        let published = json!({"publish": number});
        thread::scope(|scope| {
            for call in [tried("left"), tried("right"), published] {
                let run = &run;
                scope.spawn(move || assert_eq!(run.call(call)["status"], "running"));
            }
        });
        let journal = side.get(&format!("/v1/jobs/{id}/journal")).json()["journal"].clone();
        assert_eq!(journal["published"], number, "{journal}");
        for key in ["left", "right"] {
            assert_eq!(entry(&journal, key)["value"], key, "{journal}");
        }
        // A write that comes between the parking and its commit leaves the time of waking.
        let parks = json!({"asks": [{"key": "rest", "kind": "timer", "ms": 1500}], "then": "park"});
        thread::scope(|scope| {
            let run = &run;
            scope.spawn(move || assert_eq!(run.call(parks)["status"], "parked"));
            for value in 0..3 {
                scope.spawn(move || run.call(json!({"publish": [value]})));
            }
        });
        parked.push(id);
    }
    eventually("all are woken by their timers", || parked.iter().all(|id| side.job(id)["state"] == "queued"));
}

#[test]
fn a_call_of_an_earlier_generation_changes_nothing() {
    let side = Side::new("remote_generations");
    let id = side.enqueue(json!({"kind": "order", "args": 1}));
    let first = Remote::claim(&side, "order");
    first.ask(json!({"key": "a", "kind": "step", "tried": {"try": 1, "value": 1}}));
    let begins_again = json!({"generation": 0, "then": "continue", "args": 2});
    for _ in 0..2 {
        assert_eq!(first.call(begins_again.clone())["status"], "parked");
    }
    let second = Remote::claim(&side, "order");
    let late =
        json!({"generation": 0, "asks": [{"key": "b", "kind": "step", "tried": {"try": 1, "value": 1}}]});
    assert_eq!(second.call(late)["status"], "lost");
    let begun = second.call(json!({"begin": true}));
    assert_eq!((&begun["generation"], &begun["recorded"]), (&json!(1), &json!(null)), "{begun}");
    assert_eq!(side.job(&id)["args"], 2);
}

#[test]
fn a_race_of_a_remote_workflow_has_one_winner_and_ends_what_has_lost() {
    let side = Side::new("remote_race");
    let id = side.enqueue(json!({"kind": "order"}));
    let run = Remote::claim(&side, "order");
    let branches = ["quote/bank/", "quote/rest/"];
    let child = json!({"key": "quote/bank/ask", "kind": "child", "job": {"kind": "double", "args": 1}});
    assert_eq!(run.ask(child)["state"], "waiting");
    let won = |branch: u64| json!({"key": "quote", "kind": "race", "branches": branches, "won": branch});
    for branch in [1, 0] {
        let answer = run.ask(won(branch));
        assert_eq!(
            (&answer["state"], &answer["value"]),
            (&json!("done"), &json!(1)),
            "the first winner stays"
        );
    }
    let journal = side.get(&format!("/v1/jobs/{id}/journal")).json()["journal"].clone();
    assert_eq!(entry(&journal, "quote/bank/ask")["state"], "lost", "{journal}");
    let children = side.get("/v1/jobs?kind=double").json();
    assert_eq!(children["jobs"][0]["state"], "cancelled", "{children}");
    let send = |ask: Value| {
        let body = json!({"worker": "remote", "job": run.job, "lease": run.lease(), "asks": [ask]});
        side.post("/v1/leases/workflow", body)
    };
    send(json!({"key": "r", "kind": "race", "branches": []})).is_problem(422, "invalid");
    send(json!({"key": "r", "kind": "race", "branches": ["a"], "won": 0})).is_problem(422, "invalid");
    send(json!({"key": "r", "kind": "race", "branches": ["a/"], "won": 1})).is_problem(422, "invalid");
}

#[test]
fn a_remote_workflow_stays_on_its_version_and_on_its_patches() {
    let side = Side::new("remote_versions");
    let id = side.enqueue(json!({"kind": "order"}));
    let first = Remote::claim(&side, "order");
    let begun = first.call(json!({"begin": true, "versions": ["2025"]}));
    assert_eq!((&begun["status"], &begun["version"]), (&json!("running"), &json!("2025")), "{begun}");
    let patched = json!({"key": "faster", "kind": "patch"});
    assert_eq!(first.ask(patched)["value"], true);
    let parks = json!({"asks": [{"key": "go", "kind": "signal", "signal": "go"}], "then": "park"});
    assert_eq!(first.call(parks)["status"], "parked");
    signal(&side, &id, 1);
    let second = Remote::claim(&side, "order");
    let begun = second.call(json!({"begin": true, "versions": ["2026", "2025"]}));
    assert_eq!(begun["version"], "2025", "{begun}");
    assert_eq!(
        begun["recorded"],
        json!([{"key": "faster", "kind": "patch", "state": "done", "value": true, "seq": 1}])
    );
    let blocked = second.call(json!({"begin": true, "versions": ["2026"]}));
    assert_eq!(blocked["status"], "blocked", "{blocked}");
    assert!(blocked["why"].as_str().unwrap().contains("\"2025\""), "{blocked}");
}
