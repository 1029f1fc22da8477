//! Journals of workflows, and signals to them.

use serde_json::{Value, json};

use crate::{serve_support::eventually, support::Side};

pub(crate) fn entry<'a>(journal: &'a Value, key: &str) -> &'a Value {
    let entries = journal["entries"].as_array().unwrap();
    entries.iter().find(|entry| entry["key"] == key).unwrap_or(&Value::Null)
}

#[test]
fn a_workflow_waits_for_its_signal_and_its_journal_shows_what_it_did() {
    let side = Side::new("workflow");
    let id = side.enqueue(json!({"kind": "decide", "args": {"amount": 21}}));
    let path = format!("/v1/jobs/{id}");
    let journal = || side.get(&format!("{path}/journal")).json()["journal"].clone();
    assert_eq!(journal(), json!(null), "it has not begun");
    let _worker = side.work();
    eventually("the workflow parks", || side.job(&id)["state"] == "waiting");
    let parked = journal();
    assert_eq!((&parked["published"], &parked["undoes"]), (&json!("asked"), &json!(null)), "{parked}");
    let reserved = entry(&parked, "reserve");
    assert_eq!((&reserved["state"], &reserved["value"]), (&json!("done"), &json!(21)));
    assert_eq!(reserved["undo"]["state"], "due");
    let waiting = entry(&parked, "decision");
    assert_eq!((&waiting["kind"], &waiting["state"]), (&json!("signal"), &json!("open")));
    assert!(waiting["until"].is_string() && parked["wake_at"] == waiting["until"], "{parked}");
    let signal = json!({"name": "decision", "value": "yes", "id": "01890000-0000-7000-8000-00000000000a"});
    for _ in 0..2 {
        // The second one has the id of the first.
        let sent = side.post(&format!("{path}/signals"), signal.clone());
        assert_eq!(sent.status, 202, "{}", sent.text());
    }
    let ended = side.get(&format!("{path}?wait=50s")).json();
    assert_eq!((&ended["state"], &ended["output"]), (&json!("completed"), &json!("Some(\"yes\") 42")));
    let journal = journal();
    assert_eq!((&journal["published"], &journal["waiting"]), (&json!("decided"), &json!([])), "{journal}");
    assert_eq!(entry(&journal, "twice")["value"], 42);
    side.post(&format!("{path}/signals"), json!({"name": "decision"})).is_problem(409, "refused");
}

#[test]
fn a_cancelled_workflow_undoes_what_it_did() {
    let side = Side::new("undo");
    let id = side.enqueue(json!({"kind": "decide", "args": {"amount": 1}}));
    let _worker = side.work();
    eventually("the workflow parks", || side.job(&id)["state"] == "waiting");
    side.post(&format!("/v1/jobs/{id}/cancel"), json!({"reason": "too dear"}));
    let ended = side.get(&format!("/v1/jobs/{id}?wait=50s")).json();
    assert_eq!((&ended["state"], &ended["reason"]), (&json!("cancelled"), &json!("too dear")));
    let journal = side.get(&format!("/v1/jobs/{id}/journal")).json()["journal"].clone();
    assert_eq!(entry(&journal, "reserve")["undo"]["state"], "done", "{journal}");
    assert_eq!(journal["undoes"], "cancelled: too dear");
}

#[test]
fn signals_that_cannot_be_taken_are_refused() {
    let side = Side::new("signals");
    let unknown = "/v1/jobs/01890000-0000-7000-8000-000000000000/signals";
    side.post(unknown, json!({"name": "go"})).is_problem(404, "not-found");
    let id = side.enqueue(json!({"kind": "decide", "args": {"amount": 1}}));
    let path = format!("/v1/jobs/{id}/signals");
    side.post(&path, json!({"name": ""})).is_problem(422, "invalid");
    side.post(&path, json!({"name": "go", "value": "x".repeat(1024 * 1024)})).is_problem(422, "invalid");
    side.post(&path, json!({"name": "go", "when": 1})).is_problem(422, "invalid");
    assert_eq!(side.post(&path, json!({"name": "go"})).status, 202);
    let journal = side.get(&format!("/v1/jobs/{id}/journal")).json();
    assert!(journal["journal"].is_null(), "a journal begins with its workflow: {journal}");
}

/// A run of a workflow whose code is the test.
pub(crate) struct Remote<'a> {
    side: &'a Side,
    pub(crate) job: String,
    lease: String,
}

impl<'a> Remote<'a> {
    /// Claims the job of this kind.
    #[track_caller]
    pub(crate) fn claim(side: &'a Side, kind: &str) -> Self {
        let worker = json!({"name": "remote", "kinds": [kind], "queues": [{"name": "default"}]});
        let answer = side.post("/v1/claim", json!({"worker": worker, "limit": 1, "wait_ms": 20_000})).json();
        let job = &answer["jobs"][0];
        let text = |field: &str| job[field].as_str().unwrap_or_else(|| panic!("no job: {answer}")).to_owned();
        Self { side, job: text("id"), lease: text("lease") }
    }

    pub(crate) fn lease(&self) -> &str {
        &self.lease
    }

    #[track_caller]
    pub(crate) fn call(&self, more: Value) -> Value {
        let mut body = json!({"worker": "remote", "job": self.job, "lease": self.lease});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.side.post("/v1/leases/workflow", body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// The answer to one ask.
    #[track_caller]
    pub(crate) fn ask(&self, ask: Value) -> Value {
        let says = self.call(json!({"asks": [ask]}));
        assert_eq!(says["status"], "running", "{says}");
        says["asks"][0].clone()
    }
}

#[test]
fn a_remote_worker_runs_a_workflow_by_its_keys() {
    let side = Side::new("remote_flow");
    let id = side.enqueue(json!({"kind": "order", "args": 7}));
    let first = Remote::claim(&side, "order");
    let begun = first.call(json!({"begin": true}));
    assert_eq!((&begun["status"], &begun["generation"]), (&json!("running"), &json!(0)), "{begun}");
    assert_eq!(begun["recorded"], json!(null));
    let charge = json!({"key": "charge", "kind": "step", "retry": {"backoff": {"constant": 1}}});
    assert_eq!(first.ask(charge.clone()), json!({"state": "execute", "try": 1}));
    let tried = |number: u64, more: Value| {
        let mut ask = charge.clone();
        ask["tried"] = json!({"try": number});
        ask["tried"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ask
    };
    first.ask(tried(1, json!({"error": "the bank does not answer"})));
    eventually("the step is tried again", || first.ask(charge.clone())["state"] == "execute");
    for value in [990, 1] {
        // The second report is a repeat whose answer was lost: what is recorded stays.
        let done = first.ask(tried(2, json!({"value": value})));
        assert_eq!(done, json!({"state": "done", "value": 990, "seq": 1}));
    }
    let child = json!({"key": "twice", "kind": "child", "job": {"kind": "double", "args": 4}});
    let asks = json!([child, {"key": "go", "kind": "signal", "signal": "go"}]);
    let parked = first.call(json!({"asks": asks, "then": "park", "publish": "asked"}));
    assert_eq!(parked["status"], "parked", "{parked}");
    assert_eq!(first.call(json!({"then": "park"}))["status"], "parked", "a repeat is answered alike");
    assert_eq!(side.job(&id)["state"], "waiting");
    side.post(&format!("/v1/jobs/{id}/signals"), json!({"name": "go", "value": [1]}));
    let second = Remote::claim(&side, "order");
    assert_eq!(first.call(json!({"then": "complete"}))["status"], "lost", "the first lease is over");
    let begun = second.call(json!({"begin": true}));
    assert_eq!(
        begun["recorded"],
        json!([{"key": "charge", "kind": "step", "state": "done", "value": 990, "seq": 1}])
    );
    let says = second.call(json!({"asks": asks, "then": "park"}));
    assert_eq!((&says["status"], &says["asks"][1]["value"]), (&json!("running"), &json!([1])), "{says}");
    assert_eq!(says["asks"][0]["state"], "waiting");
    let _worker = side.work();
    eventually("the child ends", || second.ask(child.clone())["state"] == "done");
    assert_eq!(second.ask(child.clone())["value"], 8);
    let ended = second.call(json!({"then": "complete", "output": "mailed"}));
    assert_eq!((&ended["status"], &ended["state"]), (&json!("ended"), &json!("completed")), "{ended}");
    assert_eq!(second.call(json!({"then": "complete", "output": "mailed"}))["status"], "ended");
    assert_eq!(side.job(&id)["output"], "mailed");
    let journal = side.get(&format!("/v1/jobs/{id}/journal")).json()["journal"].clone();
    assert_eq!(
        (&journal["published"], entry(&journal, "charge")["tries"].as_u64()),
        (&json!("asked"), Some(2))
    );
}

#[test]
fn a_remote_worker_undoes_what_it_did_in_reverse() {
    let side = Side::new("remote_undo");
    let id = side.enqueue(json!({"kind": "order"}));
    let run = Remote::claim(&side, "order");
    for key in ["first", "second"] {
        let ask = |tried: Value| json!({"key": key, "kind": "step", "compensated": true, "tried": tried});
        run.ask(ask(json!(null)));
        assert_eq!(run.ask(ask(json!({"try": 1, "value": key})))["state"], "done");
    }
    let failed = run.call(json!({"then": "fail", "error": "no socks"}));
    assert_eq!(failed["status"], "undoing", "{failed}");
    assert_eq!(failed["undo"], json!({"key": "second", "value": "second", "try": 1}));
    let again = run.call(json!({"undone": {"key": "second", "try": 1}}));
    assert_eq!(
        run.call(json!({"undone": {"key": "second", "try": 1}}))["undo"],
        again["undo"],
        "it is a repeat"
    );
    assert_eq!(again["undo"]["key"], "first", "{again}");
    let ended = run.call(json!({"undone": {"key": "first", "try": 1}}));
    assert_eq!((&ended["status"], &ended["state"]), (&json!("ended"), &json!("discarded")), "{ended}");
    assert_eq!(side.job(&id)["reason"], "no socks");
}

#[test]
fn calls_for_workflows_that_are_wrong_are_refused() {
    let side = Side::new("remote_wrong");
    side.enqueue(json!({"kind": "order"}));
    let run = Remote::claim(&side, "order");
    let send = |ask: Value| {
        let body = json!({"worker": "remote", "job": run.job, "lease": run.lease, "asks": [ask]});
        side.post("/v1/leases/workflow", body)
    };
    send(json!({"key": "", "kind": "now"})).is_problem(422, "invalid");
    send(json!({"key": "a//b", "kind": "now"})).is_problem(422, "invalid");
    send(json!({"key": "t", "kind": "timer"})).is_problem(422, "invalid");
    let nothing = json!({"worker": "remote", "job": run.job, "lease": run.lease, "then": "park"});
    side.post("/v1/leases/workflow", nothing).is_problem(422, "invalid");
    send(json!({"key": "c", "kind": "child"})).is_problem(422, "invalid");
    send(json!({"key": "c", "kind": "child", "job": {"kind": "k", "priority": 11}}))
        .is_problem(422, "invalid");
    send(json!({"key": "r", "kind": "race"})).is_problem(422, "invalid");
    let stranger = json!({"worker": "other", "job": run.job, "lease": run.lease, "begin": true});
    assert_eq!(side.post("/v1/leases/workflow", stranger).json()["status"], "not_yours");
    // The journal knows a step under this name.
    run.ask(json!({"key": "charge", "kind": "step"}));
    run.ask(json!({"key": "charge", "kind": "step", "tried": {"try": 1, "value": 1}}));
    let blocked = run.call(json!({"asks": [{"key": "charge", "kind": "timer", "ms": 1}]}));
    assert_eq!(blocked["status"], "blocked", "{blocked}");
    assert!(blocked["why"].as_str().unwrap().contains("timer \"charge\""), "{blocked}");
    assert_eq!(side.job(&run.job)["state"], "waiting");
}
