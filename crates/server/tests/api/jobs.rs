//! Reading and changing jobs.

use std::io::{BufReader, Write as _};

use serde_json::json;

use crate::{
    serve_support::Answer,
    support::{Side, doubling},
};

#[test]
fn a_job_that_has_not_changed_is_answered_with_304() {
    let side = Side::new("etag");
    let id = side.enqueue(json!({"kind": "k"}));
    let path = format!("/v1/jobs/{id}");
    let tag = side.get(&path).header("etag").unwrap().to_owned();
    let call = |tag: &str| side.server.call("GET", &path, &[("if-none-match", tag)], b"");
    let same = call(&tag);
    assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, Some(tag.as_str())));
    assert_eq!(call("\"other\"").status, 200);
    side.post(&format!("{path}/cancel"), json!(null));
    let changed = call(&tag);
    assert_eq!((changed.status, &changed.json()["state"]), (200, &json!("cancelled")));
}

#[test]
fn a_long_poll_on_one_server_sees_a_change_made_by_another() {
    let side = Side::new("poll");
    let other = side.another();
    let id = side.enqueue(json!({"kind": "k"}));
    let path = format!("/v1/jobs/{id}");
    let tag = side.get(&path).header("etag").unwrap().to_owned();
    std::thread::scope(|scope| {
        let polling =
            scope.spawn(|| other.call("GET", &format!("{path}?wait=50s"), &[("if-none-match", &tag)], b""));
        side.post(&format!("{path}/cancel"), json!(null));
        let answer = polling.join().unwrap();
        assert_eq!((answer.status, &answer.json()["state"]), (200, &json!("cancelled")));
    });
}

#[test]
fn a_long_poll_waits_for_the_end_of_a_job() {
    let side = Side::new("end");
    let id = side.enqueue(doubling(5));
    let path = format!("/v1/jobs/{id}");
    assert_eq!(side.get(&format!("{path}?wait=0")).json()["state"], "queued");
    let _worker = side.work();
    let ended = side.get(&format!("{path}?wait=50s"));
    assert_eq!((&ended.json()["state"], &ended.json()["output"]), (&json!("completed"), &json!(10)));
    assert_eq!(side.get(&format!("{path}/output")).text(), "10");
    assert_eq!(side.get(&format!("{path}/attempts")).json(), json!({"attempts": []}));
    let log = side.get(&format!("{path}/logs")).json();
    assert_eq!((&log["log"][0]["line"], &log["next"]), (&json!("first"), &json!(2)));
    assert_eq!(side.get(&format!("{path}/logs?skip=2")).json(), json!({"log": [], "next": null}));
    assert_eq!(side.get(&format!("{path}/explain")).json()["reasons"][0]["reason"], "finished");
}

#[test]
fn a_server_that_stops_answers_its_long_polls() {
    let side = Side::new("stops");
    let id = side.enqueue(json!({"kind": "k"}));
    let other = side.another();
    let mut polling = other.connect();
    let head = format!("GET /v1/jobs/{id}?wait=60s HTTP/1.1\r\nhost: {}\r\n\r\n", other.address);
    polling.write_all(head.as_bytes()).unwrap();
    // Connections are accepted in their order.
    assert_eq!(other.get("/v1/queues").status, 200);
    other.signal("TERM");
    let answer = Answer::read(&mut BufReader::new(polling), false);
    assert_eq!((answer.status, &answer.json()["state"]), (200, &json!("queued")));
}

#[test]
fn what_a_job_does_not_allow_is_refused() {
    let side = Side::new("refused");
    let id = side.enqueue(json!({"kind": "k"}));
    let path = format!("/v1/jobs/{id}");
    side.get(&format!("{path}/output")).is_problem(409, "refused");
    side.post(&format!("{path}/cancel"), json!(null));
    side.get(&format!("{path}/output")).is_problem(409, "unsuccessful");
    side.send("PATCH", &path, json!({"priority": 1})).is_problem(409, "refused");
    assert_eq!(side.post(&format!("{path}/retry"), json!(null)).json()["state"], "queued");
    assert_eq!(side.send("DELETE", &path, json!(null)).status, 204);
    side.get(&path).is_problem(404, "not-found");
    side.send("DELETE", &path, json!(null)).is_problem(404, "not-found");
    side.get("/v1/jobs/nonsense").is_problem(400, "malformed");
}

#[test]
fn a_queued_job_is_amended() {
    let side = Side::new("amend");
    let id = side.enqueue(json!({"kind": "k", "args": 1}));
    let path = format!("/v1/jobs/{id}");
    let job = side.send("PATCH", &path, json!({"priority": 1, "delay_ms": 60000, "args": null})).json();
    assert_eq!(
        (&job["priority"], &job["shown"], &job["args"]),
        (&json!(1), &json!("scheduled"), &json!(null))
    );
    let both = json!({"delay_ms": 1, "scheduled_at": "2030-01-01T00:00:00Z"});
    side.send("PATCH", &path, both).is_problem(422, "invalid");
}

#[test]
fn pages_of_a_list_meet_without_gap_or_overlap() {
    let side = Side::new("pages");
    let mut ids: Vec<_> =
        (0..7).map(|n| side.enqueue(json!({"kind": "k", "args": n, "tags": ["t"]}))).collect();
    ids.reverse();
    side.enqueue(json!({"kind": "other"}));
    let (mut path, mut found) = ("/v1/jobs?kind=k&tag=t&limit=3".to_owned(), Vec::new());
    loop {
        let page = side.get(&path);
        let jobs = page.json()["jobs"].as_array().unwrap().clone();
        found.extend(jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()));
        match page.header("link") {
            Some(link) => path = link.strip_prefix('<').unwrap().split_once('>').unwrap().0.to_owned(),
            None => break,
        }
    }
    assert_eq!(found, ids);
}

#[test]
fn a_list_is_filtered_by_state_and_time() {
    let side = Side::new("filters");
    let due = side.enqueue(json!({"kind": "k"}));
    let later = side.enqueue(json!({"kind": "k", "delay_ms": 60000}));
    let found = |query: &str| {
        let jobs = side.get(&format!("/v1/jobs?{query}")).json()["jobs"].as_array().unwrap().clone();
        jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found("state=available"), std::slice::from_ref(&due));
    assert_eq!(found("state=scheduled"), std::slice::from_ref(&later));
    assert_eq!(found("state=queued"), [later.clone(), due.clone()]);
    assert_eq!(found("state=completed,discarded"), Vec::<String>::new());
    assert_eq!(found("since=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00Z"), Vec::<String>::new());
    side.get("/v1/jobs?state=gone").is_problem(422, "invalid");
    side.get("/v1/jobs?nonsense=1").is_problem(400, "malformed");
    side.get("/v1/jobs?limit=0").is_problem(422, "invalid");
}
