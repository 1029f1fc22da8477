//! Event streams and replies.

use std::io::{BufRead as _, BufReader, Write as _};

use serde_json::{Value, json};

use crate::support::{Side, doubling};

/// The events of a stream that has ended: id, name and data.
fn events(text: &str) -> Vec<(String, String, Value)> {
    let blocks = text.split("\n\n").filter(|block| block.contains("data: "));
    let field = |block: &str, name: &str| {
        block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned()
    };
    let read = |block| {
        let data = serde_json::from_str(&field(block, "data: ")).unwrap();
        (field(block, "id: "), field(block, "event: "), data)
    };
    blocks.map(read).collect()
}

#[test]
fn a_stream_that_continues_from_any_event_has_the_rest_once() {
    let side = Side::new("events");
    let _worker = side.work();
    let answer = side.post("/v1/jobs?wait=60s", doubling(3));
    let path = format!("/v1/jobs/{}/events", answer.json()["id"].as_str().unwrap());
    let stream = side.get(&path);
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    let all = events(&stream.text());
    let lines: Vec<_> =
        all.iter().filter(|event| event.1 == "line").map(|event| event.2["line"].clone()).collect();
    assert_eq!(lines, ["first", "second"]);
    let last = all.last().unwrap();
    assert_eq!(
        (last.1.as_str(), &last.2["state"], &last.2["output"]),
        ("state", &json!("completed"), &json!(6))
    );
    for (place, (id, ..)) in all.iter().enumerate() {
        let rest = side.server.call("GET", &path, &[("last-event-id", id)], b"");
        assert_eq!(events(&rest.text()), all[place + 1..], "after {id}");
    }
    side.server.call("GET", &path, &[("last-event-id", "nonsense")], b"").is_problem(400, "malformed");
}

#[test]
fn a_stream_shows_a_change_as_it_happens() {
    let side = Side::new("live");
    let id = side.enqueue(json!({"kind": "k"}));
    let mut stream = side.server.connect();
    let head = format!("GET /v1/jobs/{id}/events HTTP/1.1\r\nhost: {}\r\n\r\n", side.server.address);
    stream.write_all(head.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let mut state = || {
        let line = lines.find(|line| line.starts_with("data: ")).unwrap();
        serde_json::from_str::<Value>(&line["data: ".len()..]).unwrap()["state"].clone()
    };
    assert_eq!(state(), "queued");
    side.post(&format!("/v1/jobs/{id}/cancel"), json!(null));
    assert_eq!(state(), "cancelled");
}

#[test]
fn replies_are_taken_acknowledged_and_given_back() {
    let side = Side::new("replies");
    let _worker = side.work();
    let take = |body: Value| side.post("/v1/replies/sums/take", body).json();
    assert_eq!(take(json!({}))["messages"], json!([]));
    for number in [1, 2] {
        let mut job = doubling(number);
        job["reply"] = json!({"to": "sums", "correlation_id": format!("c{number}")});
        assert_eq!(side.post("/v1/jobs?wait=60s", job).status, 200);
    }
    let taken = take(json!({"limit": 1, "wait_ms": 30000, "lease_ms": 60000}));
    let message = taken["messages"][0].clone();
    assert!(message.to_string().contains("\"correlation_id\":\"c1\""), "{message}");
    let held = json!({"lease": taken["lease"], "ids": [message["id"]]});
    assert_eq!(side.post("/v1/replies/sums/release", held.clone()).status, 204);
    assert_eq!(side.post("/v1/replies/sums/acknowledge", held).json()["acknowledged"], json!(["lost"]));
    let again = take(json!({"limit": 10}));
    let ids: Vec<_> =
        again["messages"].as_array().unwrap().iter().map(|message| message["id"].clone()).collect();
    assert_eq!(ids.len(), 2);
    let held = json!({"lease": again["lease"], "ids": ids});
    let done = side.post("/v1/replies/sums/acknowledge", held).json();
    assert_eq!(done["acknowledged"], json!(["done", "done"]));
    assert_eq!(take(json!({}))["messages"], json!([]));
    side.post("/v1/replies/sums/take", json!({"limit": 0})).is_problem(422, "invalid");
}
