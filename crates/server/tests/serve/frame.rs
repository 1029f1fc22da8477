//! The frame: it listens, answers, and stops.

use crate::{cli_support::Place, serve_support::Server};

#[test]
fn a_server_answers_with_the_queues_of_its_store() {
    let place = Place::new();
    place.enqueue(&["send_mail", "{}", "--queue", "mail"]);
    let server = Server::start(&place, &[]);
    let answer = server.get("/v1/queues");
    assert_eq!(answer.status, 200, "{answer:?}");
    let queues = &answer.json()["queues"];
    assert_eq!(queues[0]["name"], "mail");
    assert_eq!(queues[0]["counts"]["available"], 1);
    assert!(answer.header("x-request-id").is_some());
    server.stop();
}

#[test]
fn an_unknown_path_and_an_unknown_method_get_problem_documents() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let problem = server.get("/v1/nothing").is_problem(404, "no-such-route");
    assert!(problem["instance"].as_str().unwrap().starts_with("/v1/nothing#"), "{problem}");
    let answer = server.call("PUT", "/v1/queues", &[("x-request-id", "abc-1")], b"");
    let problem = answer.is_problem(405, "method-not-allowed");
    assert_eq!(problem["instance"], "/v1/queues#abc-1");
    assert_eq!(answer.header("x-request-id"), Some("abc-1"));
    assert_eq!(answer.header("allow"), Some("GET,HEAD"));
}

#[test]
fn an_id_that_could_forge_a_log_line_is_replaced() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let answer = server.call("GET", "/v1/queues", &[("x-request-id", "a b\tc")], b"");
    assert_eq!(answer.status, 200);
    assert_ne!(answer.header("x-request-id"), Some("a b\tc"));
}
