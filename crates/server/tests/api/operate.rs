//! Acting on many jobs, queues, tokens, the audit log, scaling.

use serde_json::json;

use crate::support::{Side, doubling};

#[test]
fn many_jobs_are_counted_and_changed_by_a_filter() {
    let side = Side::new("bulk");
    for n in 0..5 {
        side.enqueue(json!({"kind": "k", "queue": if n < 3 { "a" } else { "b" }}));
    }
    let bulk = |body| side.post("/v1/jobs/bulk", body);
    let counted = bulk(json!({"action": "cancel", "filter": {"queue": "a"}, "dry_run": true})).json();
    assert_eq!((&counted["matched"], &counted["done"]), (&json!(3), &json!(0)));
    assert_eq!(side.get("/v1/jobs?state=queued").json()["jobs"].as_array().unwrap().len(), 5);
    let done = bulk(json!({"action": "cancel", "filter": {"queue": "a"}, "reason": "not needed"})).json();
    assert_eq!((&done["matched"], &done["done"], &done["next"]), (&json!(3), &json!(3), &json!(null)));
    assert_eq!(side.get("/v1/jobs?queue=a").json()["jobs"][0]["reason"], "not needed");
    bulk(json!({"action": "delete", "filter": {}})).is_problem(422, "invalid");
    assert_eq!(side.jobs(), 5);
    assert_eq!(bulk(json!({"action": "delete", "filter": {}, "all": true})).json()["done"], 5);
    assert_eq!(side.jobs(), 0);
    let log = side.get("/v1/audit").json();
    let acts: Vec<_> = log["entries"].as_array().unwrap().iter().map(|entry| entry["act"].clone()).collect();
    assert_eq!(acts, ["jobs.delete", "jobs.cancel"]);
    assert_eq!(log["entries"][1]["detail"], json!({"queue": "a"}));
}

#[test]
fn a_queue_is_read_paused_resumed_and_set() {
    let side = Side::new("queues");
    side.get("/v1/queues/q").is_problem(404, "not-found");
    side.enqueue(json!({"kind": "k", "queue": "a/b"}));
    let counts = side.get("/v1/queues/a%2Fb").json()["counts"].clone();
    assert_eq!((&counts["available"], &counts["running"]), (&json!(1), &json!(0)));
    let paused = side.post("/v1/queues/a%2Fb/pause", json!(null));
    assert!(paused.json()["paused_at"].is_string(), "{}", paused.text());
    assert_eq!(side.post("/v1/queues/a%2Fb/resume", json!(null)).json()["paused_at"], json!(null));
    side.post("/v1/queues/none/resume", json!(null)).is_problem(404, "not-found");
    let retention = json!({"completed": {"age_secs": 60, "count": null}, "cancelled": {"age_secs": null, "count": null},
        "discarded": {"age_secs": null, "count": 7}});
    let set = side.send("PATCH", "/v1/queues/q", json!({"retention": retention, "depth_max": 9})).json();
    assert_eq!((&set["retention"], &set["depth_max"]), (&retention, &json!(9)));
    assert_eq!(side.send("PATCH", "/v1/queues/q", json!({})).json()["depth_max"], 9);
    assert_eq!(
        side.send("PATCH", "/v1/queues/q", json!({"depth_max": null})).json()["depth_max"],
        json!(null)
    );
}

#[test]
fn a_token_is_made_listed_and_revoked() {
    let side = Side::new("tokens");
    let wanted = json!({"name": "ci", "scopes": ["admin"], "expires_in_secs": 3600});
    let made = side.post("/v1/tokens", wanted);
    assert_eq!(made.status, 201, "{}", made.text());
    let secret = made.json()["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("brm_"), "{secret}");
    let bearer = format!("Bearer {secret}");
    let call = |method: &str, path: &str| side.server.call(method, path, &[("authorization", &bearer)], b"");
    let listed = call("GET", "/v1/tokens").json();
    assert_eq!(listed["tokens"][0]["name"], "ci");
    assert!(!listed.to_string().contains(&secret[4..]));
    assert!(!call("GET", "/v1/audit").text().contains(&secret[4..]));
    let path = format!("/v1/tokens/{}", listed["tokens"][0]["id"].as_str().unwrap());
    assert_eq!(call("DELETE", &path).status, 204);
}

#[test]
fn the_scaling_signal_counts_what_waits_and_runs() {
    let side = Side::new("scaling");
    let empty = json!({"queue": "default", "ready": 0, "running": 0, "load": 0, "oldest_age_secs": 0});
    assert_eq!(side.get("/v1/scaling/default").json(), empty);
    side.enqueue(doubling(1));
    side.enqueue(json!({"kind": "double", "args": 2, "delay_ms": 60000}));
    let signal = side.get("/v1/scaling/default").json();
    assert_eq!((&signal["ready"], &signal["load"]), (&json!(1), &json!(1)));
}

#[test]
fn workers_and_stats_are_read() {
    let side = Side::new("workers");
    // The server itself does upkeep, without a slot.
    let with_slots = || {
        let workers = side.get("/v1/workers").json()["workers"].as_array().unwrap().clone();
        workers.into_iter().filter(|worker| worker["slots"] != 0).collect::<Vec<_>>()
    };
    assert!(with_slots().is_empty());
    let _worker = side.work();
    // A worker that has run a job has registered itself.
    assert_eq!(side.post("/v1/jobs?wait=60s", doubling(1)).status, 200);
    assert_eq!(with_slots()[0]["kinds"], json!(["decide", "double"]));
    assert_eq!(side.get("/v1/stats?span=5m").status, 200);
    side.get("/v1/stats?span=2h").is_problem(422, "invalid");
    side.get("/v1/stats?span=soon").is_problem(422, "invalid");
}
