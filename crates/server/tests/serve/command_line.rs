//! Commands that ask a running server answer as they do on the store behind it.

use serde_json::Value;

use crate::{
    cli_support::{Place, Said},
    serve_support::Server,
    side::place,
};

/// A command through the server.
fn through(place: &Place, server: &Server, args: &[&str]) -> Said {
    let url = format!("http://{}", server.address);
    let all: Vec<&str> = args.iter().copied().chain(["--server", &url]).collect();
    place.run(all)
}

#[track_caller]
fn json(place: &Place, server: &Server, args: &[&str]) -> Value {
    let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
    let said = through(place, server, &args);
    assert_eq!(said.code, 0, "{said:?}");
    said.json()
}

#[track_caller]
fn enqueue(place: &Place, server: &Server, args: &[&str]) -> String {
    let args: Vec<&str> = ["enqueue"].iter().chain(args).copied().collect();
    json(place, server, &args)["id"].as_str().unwrap().to_owned()
}

#[test]
fn what_a_server_answers_is_what_its_store_holds() {
    let place = place();
    let server = Server::start(&place, &[]);
    let mail = enqueue(
        &place,
        &server,
        &["send_mail", r#"{"to":"ada","n":9007199254740993}"#, "-q", "mail", "-t", "nightly"],
    );
    let later = enqueue(&place, &server, &["report", "--delay", "1h", "--meta", "asked by=Grace & Ada"]);
    let store = |args: &[&str]| place.json(args);
    for args in [
        vec!["jobs"],
        vec!["jobs", "--state", "available,running", "--queue", "mail", "--tag", "nightly", "--since", "1h"],
        vec!["jobs", "--kind", "no such kind"],
        vec!["jobs", "--limit", "1"],
        vec!["job", &mail],
        vec!["job", &later],
        vec!["queues"],
    ] {
        assert_eq!(json(&place, &server, &args), store(&args), "{args:?}");
    }
    let jobs = json(&place, &server, &["jobs"]);
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 2, "{jobs}");
    assert!(through(&place, &server, &["job", &mail]).out.contains("9007199254740993"));
    server.stop();
}

#[test]
fn jobs_are_changed_through_a_server() {
    let place = place();
    let server = Server::start(&place, &[]);
    let job = enqueue(&place, &server, &["send_mail", "-q", "mail", "--delay", "1h"]);
    let amended =
        json(&place, &server, &["amend", &job, "--delay", "2h", "--priority", "1", "--args", "[1.50]"]);
    assert_eq!((&amended["priority"], amended["args"].to_string()), (&Value::from(1), "[1.5]".to_owned()));
    let retried = through(&place, &server, &["retry", &job]);
    assert_eq!(retried.out, format!("job {job} is available\n"), "{retried:?}");
    let cancelled = through(&place, &server, &["cancel", &job, "--reason", "the order was withdrawn"]);
    assert_eq!(cancelled.out, format!("cancelled job {job}\n"), "{cancelled:?}");
    assert_eq!(place.json(["job", &job])["reason"], "the order was withdrawn");
    let deleted = through(&place, &server, &["delete", &job]);
    assert_eq!(deleted.out, format!("deleted job {job}\n"), "{deleted:?}");
    let gone = through(&place, &server, &["job", &job]);
    assert_eq!(gone.code, 1, "{gone:?}");
    assert!(gone.err.contains("error: failed to ") && gone.err.contains(&job), "{gone:?}");
    server.stop();
}

#[test]
fn many_jobs_go_in_and_are_changed_by_filter_through_a_server() {
    let place = place();
    let server = Server::start(&place, &[]);
    let url = format!("http://{}", server.address);
    let lines: String = (0..2500).map(|number| format!("{{\"number\":{number}}}\n")).collect();
    let said = place.run_with(lines.as_bytes(), &["enqueue", "index", "--lines", "--json", "--server", &url]);
    assert_eq!(said.json()["created"], 2500, "{said:?}");
    let counted = through(&place, &server, &["cancel", "--kind", "index", "--dry-run"]);
    assert!(counted.out.contains("would cancel 2,500 jobs"), "{counted:?}");
    let cancelled = through(&place, &server, &["cancel", "--kind", "index", "--reason", "called off"]);
    assert!(cancelled.out.contains("2,500 jobs"), "{cancelled:?}");
    let one = json(&place, &server, &["jobs", "--state", "cancelled", "--limit", "1"]);
    assert_eq!(one["jobs"][0]["reason"], "called off", "{one}");
    server.stop();
}

#[test]
fn queues_are_set_through_a_server() {
    let place = place();
    let server = Server::start(&place, &[]);
    let name = "mail/new customers";
    assert_eq!(through(&place, &server, &["queues", "limit", name, "1"]).code, 0);
    enqueue(&place, &server, &["send_mail", "-q", name]);
    let full = through(&place, &server, &["enqueue", "send_mail", "-q", name]);
    assert_eq!(full.code, 1, "{full:?}");
    assert!(full.err.contains("full") || full.err.contains("at most"), "{full:?}");
    let paused = json(&place, &server, &["queues", "pause", name]);
    assert!(paused["paused_at"].is_string(), "{paused}");
    assert_eq!(
        through(&place, &server, &["queues", "resume", "--all"]).out,
        format!("resumed queue {name}\n")
    );
    let retained = through(&place, &server, &["queues", "retain", name, "--completed", "1d"]);
    assert!(retained.out.contains("completed for 1d"), "{retained:?}");
    assert_eq!(json(&place, &server, &["queues"]), place.json(["queues"]));
    server.stop();
}

#[test]
fn a_server_that_does_not_answer_is_named_with_the_remedy() {
    let place = place();
    let said = place.run(["jobs", "--server", "http://127.0.0.1:9"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("http://127.0.0.1:9") && said.err.contains("backroom serve"), "{said:?}");
    // A command on the store would act on another one than the user means.
    let said = place.run(["doctor", "--server", "http://127.0.0.1:9"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("needs the store itself"), "{said:?}");
}

#[test]
fn a_token_is_taken_from_the_variable_or_a_file_and_never_shown() {
    let place = place();
    let secret = place.run(["tokens", "create", "--scope", "read", "reader"]).out.trim().to_owned();
    let server = Server::start(&place, &[]);
    let url = format!("http://{}", server.address);
    let without = place.run(["queues", "--server", &url]);
    assert_eq!(without.code, 1, "{without:?}");
    assert!(without.err.contains("BACKROOM_TOKEN"), "{without:?}");
    let by_variable =
        place.command().args(["queues", "--server", &url]).env("BACKROOM_TOKEN", &secret).output().unwrap();
    assert!(by_variable.status.success(), "{by_variable:?}");
    std::fs::write(place.path("token"), format!("{secret}\n")).unwrap();
    let by_file = place.run(["queues", "--server", &url, "--token-file", "token"]);
    assert_eq!(by_file.code, 0, "{by_file:?}");
    let refused = place.run(["enqueue", "send_mail", "--server", &url, "--token-file", "token"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("enqueue"), "{refused:?}");
    let far = place.run(["queues", "--server", "http://jobs.example.org", "--token-file", "token"]);
    assert!(far.err.contains("unencrypted"), "{far:?}");
    for said in [without.err, by_file.err, refused.err, far.err] {
        assert!(!said.contains(&secret), "{said}");
    }
    server.stop();
}
