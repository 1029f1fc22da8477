//! Jobs after jobs, graphs, trees and batches.

use serde_json::{Value, json};

use crate::{
    serve_support::eventually,
    support::{Side, doubling},
};

/// A batch that does not exist.
const UNKNOWN: &str = "01890000-0000-7000-8000-000000000000";

fn diamond() -> Value {
    json!({"jobs": [
        {"name": "top", "job": doubling(1)},
        {"name": "left", "job": doubling(2), "after": ["top"]},
        {"name": "right", "job": doubling(3), "after": [{"name": "top", "on_failure": "run"}]},
        {"name": "bottom", "job": doubling(4), "after": ["left", "right"]},
    ]})
}

fn ids(graph: &Value) -> Vec<String> {
    let jobs = graph["jobs"].as_array().unwrap();
    jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_graph_is_stored_once_and_runs_in_its_order() {
    let side = Side::new("graph");
    let key = [("idempotency-key", "g1"), ("content-type", "application/json")];
    let send = || side.server.call("POST", "/v1/graphs", &key, diamond().to_string().as_bytes());
    let (first, again) = (send(), send());
    assert_eq!((first.status, first.json()), (202, again.json()));
    let ids = ids(&first.json());
    assert_eq!(side.jobs(), 4);
    let bottom = &ids[3];
    let reasons = side.get(&format!("/v1/jobs/{bottom}/explain")).json()["reasons"].clone();
    assert!(reasons.to_string().contains(&ids[1]), "it names what it waits for: {reasons}");
    let tree = side.get(&format!("/v1/jobs/{bottom}/tree")).json();
    assert_eq!((tree["jobs"].as_array().unwrap().len(), tree["edges"].as_array().unwrap().len()), (4, 4));
    let _worker = side.work();
    let ended = side.get(&format!("/v1/jobs/{bottom}?wait=50s")).json();
    assert_eq!((&ended["state"], &ended["output"]), (&json!("completed"), &json!(8)));
    for (before, after) in [(0, 1), (0, 2), (1, 3), (2, 3)] {
        let at = |place: usize, field: &str| side.job(&ids[place])[field].as_str().unwrap().to_owned();
        assert!(at(before, "finished_at") <= at(after, "started_at"), "{before} ends before {after} begins");
    }
}

#[test]
fn a_graph_that_is_wrong_is_refused_whole_with_the_place() {
    let side = Side::new("wrong_graph");
    let wrong = |edit: &dyn Fn(&mut Value)| {
        let mut graph = diamond();
        edit(&mut graph);
        side.post("/v1/graphs", graph).is_problem(422, "invalid")
    };
    let cycle = wrong(&|graph| graph["jobs"][0]["after"] = json!(["bottom"]));
    assert!(cycle["detail"].as_str().unwrap().contains("cycle"), "{cycle}");
    let unknown = wrong(&|graph| graph["jobs"][1]["after"] = json!(["unknown"]));
    assert_eq!(unknown["pointer"], "/jobs/1/after/0", "{unknown}");
    wrong(&|graph| graph["jobs"][2]["job"]["priority"] = json!(10));
    let stranger = json!([{"job": UNKNOWN}]);
    wrong(&|graph| graph["jobs"][3]["after"] = stranger.clone());
    assert_eq!(side.jobs(), 0);
}

#[test]
fn a_tree_is_cancelled_and_retried_as_a_whole() {
    let side = Side::new("tree");
    let ids = ids(&side.post("/v1/graphs", diamond()).json());
    let path = format!("/v1/jobs/{}/tree", ids[0]);
    let cancelled = side.post(&path, json!({"action": "cancel", "reason": "withdrawn"})).json();
    assert_eq!((&cancelled["matched"], &cancelled["done"]), (&json!(4), &json!(4)), "{cancelled}");
    assert!(ids.iter().all(|id| side.job(id)["reason"] == "withdrawn"));
    side.post(&path, json!({"action": "priority"})).is_problem(422, "invalid");
    assert_eq!(side.post(&path, json!({"action": "retry"})).json()["done"], 4);
    let _worker = side.work();
    assert_eq!(side.get(&format!("/v1/jobs/{}?wait=50s", ids[3])).json()["state"], "completed");
}

#[test]
fn a_job_after_another_is_cancelled_with_it() {
    let side = Side::new("after");
    let first = side.enqueue(doubling(1));
    let second = side.enqueue(json!({"kind": "double", "args": 2, "after": [first]}));
    assert_eq!(side.job(&second)["state"], "waiting");
    side.post(&format!("/v1/jobs/{first}/cancel"), json!(null));
    let ended = side.get(&format!("/v1/jobs/{second}?wait=50s")).json();
    assert_eq!(ended["state"], "cancelled");
    assert!(ended["reason"].as_str().unwrap().contains(&first), "{ended}");
}

#[test]
fn a_batch_counts_its_members_and_ends_with_its_jobs() {
    let side = Side::new("batch");
    let open = json!({"description": "numbers", "on_finish": doubling(50), "on_success": doubling(60)});
    let batch = side.post("/v1/batches", open).json();
    let id = batch["id"].as_str().unwrap().to_owned();
    for number in 0..4 {
        side.enqueue(json!({"kind": "double", "args": number, "batch": id}));
    }
    // It does not decode, so it is discarded.
    side.enqueue(json!({"kind": "double", "args": "no number", "batch": id, "max_attempts": 1}));
    let path = format!("/v1/batches/{id}");
    let closed = side.post(&format!("{path}/close"), json!(null)).json();
    assert_eq!(
        (&closed["state"], &closed["total"], &closed["left"]),
        (&json!("closed"), &json!(5), &json!(5))
    );
    side.post("/v1/jobs", json!({"kind": "double", "batch": id})).is_problem(422, "invalid");
    let _worker = side.work();
    eventually("the batch ends", || side.get(&path).json()["state"] == "ended");
    let ended = side.get(&path).json();
    assert_eq!(
        (&ended["completed"], &ended["discarded"], &ended["percent"], &ended["succeeded_at"]),
        (&json!(4), &json!(1), &json!(100), &json!(null))
    );
    assert!(ended["per_second"].as_f64().unwrap() > 0.0 && ended["time_to_go_ms"] == 0, "{ended}");
    let of_args = |args: u64| {
        let jobs = side.get("/v1/jobs?limit=1000&kind=double").json()["jobs"].as_array().unwrap().clone();
        jobs.iter().filter(|job| job["args"] == args).count()
    };
    assert_eq!((of_args(50), of_args(60)), (1, 0));
    let retried = side.post(&format!("{path}/retry"), json!(null)).json();
    assert_eq!((&retried["matched"], &retried["done"]), (&json!(1), &json!(1)), "{retried}");
    let listed = side.get("/v1/batches?limit=1").json();
    assert_eq!(listed["batches"][0]["id"], id.as_str());
}

#[test]
fn a_batch_is_cancelled_with_its_reason_and_an_unknown_one_is_not_found() {
    let side = Side::new("batches");
    let id = side.post("/v1/batches", json!({})).json()["id"].as_str().unwrap().to_owned();
    let member = side.enqueue(json!({"kind": "double", "args": 1, "batch": id}));
    let nested = side.post("/v1/batches", json!({"parent": id})).json()["id"].as_str().unwrap().to_owned();
    let inner = side.enqueue(json!({"kind": "double", "args": 1, "batch": nested}));
    let cancelled = side.post(&format!("/v1/batches/{id}/cancel"), json!({"reason": "not needed"})).json();
    assert_eq!(cancelled["done"], 2, "{cancelled}");
    assert!([member, inner].iter().all(|job| side.job(job)["reason"] == "not needed"));
    for step in ["close", "reopen", "cancel", "retry"] {
        side.post(&format!("/v1/batches/{UNKNOWN}/{step}"), json!(null)).is_problem(404, "not-found");
    }
    side.get(&format!("/v1/batches/{UNKNOWN}")).is_problem(404, "not-found");
    let same = json!({"id": "01890a5d-ac96-774b-bcce-b302099a8057"});
    let (first, again) = (side.post("/v1/batches", same.clone()), side.post("/v1/batches", same));
    assert_eq!((first.status, again.status, &first.json()["id"]), (201, 201, &again.json()["id"]));
}
