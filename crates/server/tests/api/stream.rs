//! Event streams and replies.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    time::Duration,
};

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

/// Connections that are cut while the job runs.
const CUTS: u64 = 300;
/// A connection that has nothing to read for so long is cut, too.
const SILENCE: Duration = Duration::from_millis(30);

/// Follows a job after an event, and cuts the connection after about so many bytes of events; what came until then. None goes to the end.
fn followed(side: &Side, path: &str, after: Option<&str>, bytes: Option<usize>) -> String {
    let mut stream = side.server.connect();
    // HTTP/1.0 has no chunks: what is read is what was sent.
    let after = after.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\nhost: {}\r\n{after}\r\n", side.server.address).as_bytes())
        .unwrap();
    let mut reader = BufReader::with_capacity(1, stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "no answer");
    }
    let mut read = Vec::new();
    match bytes {
        None => drop(reader.read_to_end(&mut read).unwrap()),
        Some(bytes) => {
            reader.get_ref().set_read_timeout(Some(SILENCE)).unwrap();
            let mut byte = [0];
            while read.len() < bytes && matches!(reader.read(&mut byte), Ok(1)) {
                read.push(byte[0]);
            }
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

#[test]
fn a_stream_that_is_cut_at_random_while_the_job_runs_shows_each_line_once_and_in_order() {
    let side = Side::new("cut");
    let (_worker, say) = side.work_talking();
    let id = side.enqueue(json!({"kind": "talk", "args": null}));
    let path = format!("/v1/jobs/{id}/events");
    let (mut last, mut lines, mut seen, mut inside) = (None::<String>, Vec::new(), BTreeSet::new(), 0);
    let mut random = 1_u64;
    for cut in 0..=CUTS {
        say.send(format!("line {cut}")).unwrap();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bytes = usize::try_from(random >> 33).unwrap() % 900;
        let is_last = cut == CUTS;
        if is_last {
            // The job ends when no line can come any more.
            say.send("the end".into()).unwrap();
        }
        let read = followed(&side, &path, last.as_deref(), (!is_last).then_some(bytes));
        // What came of an event that was cut off does not count.
        let whole = read.rfind("\n\n").map_or(0, |end| end + 2);
        inside += usize::from(whole < read.len());
        for (id, name, data) in events(&read[..whole]) {
            assert!(id.is_empty() || seen.insert(id.clone()) || name == "state", "event {id} came twice");
            if name == "line" {
                lines.push(data["line"].as_str().unwrap().to_owned());
            }
            last = Some(id).filter(|id| !id.is_empty()).or(last);
        }
    }
    let expected: Vec<_> = (0..=CUTS).map(|cut| format!("line {cut}")).chain(["the end".into()]).collect();
    assert_eq!(lines, expected);
    assert!(inside > 30, "only {inside} of {CUTS} were cut inside an event");
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
