//! Requests that are broken off, too slow or too large leave no trace in the store.

use std::io::{BufReader, Write as _};

use serde_json::json;

use crate::{
    serve_support::{Answer, Server},
    side::place,
};

/// The header of an enqueue whose body has this length.
fn head(server: &Server, length: usize) -> String {
    format!(
        "POST /v1/jobs HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n",
        server.address
    )
}

#[test]
fn a_request_that_does_not_arrive_whole_enqueues_nothing() {
    let place = place();
    let server = Server::start(&place, &["--limits-body-time", "300ms", "--limits-body-bytes", "1KiB"]);
    let body = json!({"kind": "send_mail", "args": {}}).to_string();
    // Broken off before its last byte, by a client that goes away.
    let mut stream = server.connect();
    stream.write_all(head(&server, body.len()).as_bytes()).unwrap();
    stream.write_all(&body.as_bytes()[..body.len() - 1]).unwrap();
    drop(stream);
    // The same, by a client that stays and sends no more.
    let mut stream = server.connect();
    stream.write_all(head(&server, body.len()).as_bytes()).unwrap();
    stream.write_all(&body.as_bytes()[..body.len() - 1]).unwrap();
    let answer = Answer::read(&mut BufReader::new(stream), false);
    answer.is_problem(408, "request-timeout");
    // Too large.
    let large = json!({"kind": "send_mail", "args": "x".repeat(2000)});
    server.post("/v1/jobs", &large).is_problem(413, "body-too-large");
    // Of another type, and no JSON.
    server
        .call("POST", "/v1/jobs", &[("content-type", "text/csv")], b"a,b")
        .is_problem(415, "unsupported-media-type");
    assert_eq!(server.call("POST", "/v1/jobs", &[("content-type", "application/json")], b"{").status, 400);
    let jobs = place.json(["jobs"]);
    assert_eq!(jobs["jobs"], json!([]), "{jobs}");
    // Whole, it is accepted.
    assert!(
        server.call("POST", "/v1/jobs", &[("content-type", "application/json")], body.as_bytes()).status
            < 300
    );
    assert_eq!(place.json(["jobs"])["jobs"].as_array().unwrap().len(), 1);
    server.stop();
}

#[cfg(unix)]
#[test]
fn a_stop_answers_the_request_that_is_on_its_way() {
    let place = place();
    let server = Server::start(&place, &[]);
    let body = json!({"kind": "send_mail", "args": {}}).to_string();
    let mut stream = server.connect();
    stream.write_all(head(&server, body.len()).as_bytes()).unwrap();
    stream.write_all(&body.as_bytes()[..10]).unwrap();
    // The server has begun to read the body once it has answered a later request.
    assert_eq!(server.get("/livez").status, 200);
    server.signal("TERM");
    server.line_with("stopping: finishing the requests");
    stream.write_all(&body.as_bytes()[10..]).unwrap();
    let answer = Answer::read(&mut BufReader::new(stream), false);
    assert!(answer.status < 300, "{answer:?}");
    let mut server = server;
    assert!(server.ended().success());
    assert_eq!(place.json(["jobs"])["jobs"].as_array().unwrap().len(), 1);
}
