//! Many jobs as lines, in both directions.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};

use serde_json::{Value, json};

use crate::support::Side;

const HEADERS: [(&str, &str); 1] = [("content-type", "application/x-ndjson")];

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_line_is_answered_in_order_and_a_bad_one_stops_no_other() {
    let side = Side::new("each");
    let body = "{\"kind\":\"a\"}\n\n{\"kind\":\"b\",\"priority\":77}\nno json\n{\"kind\":\"c\"}";
    let answer = side.server.call("POST", "/v1/jobs/batch", &HEADERS, body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let answers = lines(&answer.text());
    let numbers: Vec<_> = answers.iter().map(|answer| answer["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 3, 4, 5]);
    assert_eq!((&answers[0]["outcome"], &answers[3]["outcome"]), (&json!("created"), &json!("created")));
    assert_eq!((&answers[1]["code"], &answers[2]["code"]), (&json!("invalid"), &json!("malformed")));
    assert_eq!(side.job(answers[3]["id"].as_str().unwrap())["kind"], "c");
    assert_eq!(side.jobs(), 2);
}

#[test]
fn a_line_is_answered_before_the_next_one_is_sent() {
    let side = Side::new("turn");
    let mut stream = side.server.connect();
    let head = format!(
        "POST /v1/jobs/batch HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n",
        side.server.address
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    for n in 0..3 {
        let line = format!("{{\"kind\":\"k{n}\"}}\n");
        stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).unwrap();
        let answer = loop {
            let mut read = String::new();
            answers.read_line(&mut read).unwrap();
            if read.starts_with('{') {
                break serde_json::from_str::<Value>(&read).unwrap();
            }
        };
        assert_eq!((&answer["line"], &answer["outcome"]), (&json!(n + 1), &json!("created")));
        assert_eq!(side.job(answer["id"].as_str().unwrap())["kind"], format!("k{n}"));
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    let mut rest = String::new();
    answers.read_line(&mut rest).unwrap();
    drop(answers);
}

#[test]
fn ten_thousand_lines_are_stored() {
    let side = Side::new("many");
    let body: String = (0..10_000).map(|n| format!("{{\"kind\":\"k\",\"args\":{n}}}\n")).collect();
    let answer = side.server.call("POST", "/v1/jobs/batch", &HEADERS, body.as_bytes());
    let answers = lines(&answer.text());
    assert_eq!(answers.len(), 10_000);
    assert!(answers.iter().all(|answer| answer["outcome"] == "created"));
    let counts = side.get("/v1/counts").json();
    assert_eq!(counts["counts"], json!([{"queue": "default", "state": "available", "jobs": 10_000}]));
}

#[test]
fn a_queue_that_fills_up_refuses_single_lines() {
    let side = Side::new("fills");
    side.send("PATCH", "/v1/queues/q", json!({"depth_max": 2}));
    let body = "{\"kind\":\"k\",\"queue\":\"q\"}\n".repeat(4);
    let answers = lines(&side.server.call("POST", "/v1/jobs/batch", &HEADERS, body.as_bytes()).text());
    let words: Vec<_> = answers
        .iter()
        .map(|answer| answer.get("outcome").or(answer.get("code")).unwrap().as_str().unwrap())
        .collect();
    assert_eq!(words, ["created", "created", "queue-full", "queue-full"]);
}

#[test]
fn what_was_answered_before_the_connection_was_cut_is_stored() {
    let side = Side::new("cut");
    let mut stream = side.server.connect();
    let head = format!(
        "POST /v1/jobs/batch HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-ndjson\r\ncontent-length: 1000\r\n\r\n",
        side.server.address
    );
    stream.write_all(format!("{head}{{\"kind\":\"k\"}}\n{{\"kind\":\"half").as_bytes()).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let id = loop {
        let mut read = String::new();
        answers.read_line(&mut read).unwrap();
        if read.starts_with('{') {
            break serde_json::from_str::<Value>(&read).unwrap()["id"].as_str().unwrap().to_owned();
        }
    };
    stream.shutdown(std::net::Shutdown::Both).unwrap();
    let mut rest = Vec::new();
    // The connection is gone.
    _ = answers.read_to_end(&mut rest);
    assert_eq!(side.job(&id)["kind"], "k");
    assert_eq!(side.jobs(), 1);
}
