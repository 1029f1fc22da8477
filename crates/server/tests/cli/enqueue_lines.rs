//! `enqueue` with input that is not as it should be, moments that mean two things, and jobs that nothing would run.

use std::sync::Arc;

use crate::cli_support::{Place, Said, said};
use backroom::{Backroom, Json, Worker};

fn jobs(place: &Place) -> usize {
    place.json(["jobs", "-n", "1000"])["jobs"].as_array().unwrap().len()
}

#[test]
fn what_stands_before_a_line_that_is_no_text_is_stored_and_the_rest_can_follow() {
    let place = Place::new();
    let input = b"1\n2\n\"\xff\"\n4\n5\n";
    let stopped = place.run_with(input, &["enqueue", "k", "--lines"]);
    stopped.failed_naming("line 3 (at byte 4): byte 5 of the input is not UTF-8");
    assert!(stopped.err.contains("--from-line 4"), "{stopped:?}");
    assert_eq!((stopped.out.as_str(), jobs(&place)), ("enqueued 2 jobs\n", 2));
    let rest = place.run_with(input, &["enqueue", "k", "--lines", "--from-line", "4"]);
    assert_eq!((rest.succeeded().out.as_str(), jobs(&place)), ("enqueued 2 jobs\n", 4));
}

#[test]
fn what_stands_before_a_line_that_is_too_long_is_stored_and_the_rest_can_follow() {
    let place = Place::new();
    let long = "x".repeat(3 << 20);
    let input = format!("1\n\n\"{long}\"\n4\n");
    let stopped = place.run_with(input.as_bytes(), &["enqueue", "k", "--lines"]);
    stopped.failed_naming("line 3 (at byte 3): it is longer than the 1048576 bytes");
    assert_eq!((stopped.out.as_str(), jobs(&place)), ("enqueued 1 job\n", 1));
    let rest = place.run_with(input.as_bytes(), &["enqueue", "k", "--lines", "--from-line", "4"]);
    assert_eq!((rest.succeeded().out.as_str(), jobs(&place)), ("enqueued 1 job\n", 2));
    assert_eq!(place.run(["enqueue", "k", "--from-line", "2"]).code, 2, "it belongs to --lines");
}

#[test]
fn a_mark_before_the_text_is_passed_over_and_utf_16_is_named() {
    let place = Place::new();
    place.run_with(b"\xef\xbb\xbf1\n2\n", &["enqueue", "k", "--lines"]).succeeded();
    place.run_with(b"\xef\xbb\xbf{\"a\": 1}\r\n", &["enqueue", "k", "-"]).succeeded();
    assert_eq!(jobs(&place), 3);
    let utf16: Vec<u8> = "\u{feff}1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    place.run_with(&utf16, &["enqueue", "k", "--lines"]).failed_naming("UTF-16");
}

fn at(place: &Place, zone: &str, at: &str) -> Said {
    said(place.command().env("TZ", zone).args(["enqueue", "k", "--at", at]).output().unwrap())
}

#[test]
fn a_moment_in_a_zone_that_cannot_be_found_is_refused() {
    let place = Place::new();
    let said = at(&place, "Europe/Atlantis", "2030-01-31 09:00");
    said.failed_naming("time zone cannot be found");
    assert!(said.err.contains("2026-01-31T09:00:00Z"), "the remedy: {said:?}");
    assert!(!place.path("backroom.db").exists());
    at(&place, "Europe/Atlantis", "2030-01-31T09:00:00Z").succeeded();
}

#[test]
fn a_moment_that_the_clocks_skip_or_pass_twice_is_refused() {
    let place = Place::new();
    at(&place, "Europe/Berlin", "2030-03-31 02:30").failed_naming("2030-03-31T02:30:00+02:00");
    at(&place, "Europe/Berlin", "2030-10-27 02:30").failed_naming("comes twice");
    assert!(!place.path("backroom.db").exists());
}

#[test]
fn the_moment_that_was_understood_is_answered() {
    let place = Place::new();
    let said = at(&place, "Europe/Berlin", "2030-01-31 09:00");
    let wanted = "due 2030-01-31T08:00:00Z (2030-01-31 09:00:00 +01:00, in ";
    assert!(said.succeeded().out.contains(wanted), "{said:?}");
    let answer = place.json(["enqueue", "k", "--at", "2030-01-31T09:00:00+02:00"]);
    assert_eq!(answer["scheduled_at"], "2030-01-31T07:00:00Z");
    let said = place.run_with(b"1\n", &["enqueue", "k", "--lines", "--at", "2030-01-31T09:00:00Z"]);
    assert!(said.succeeded().out.starts_with("enqueued 1 job, due 2030-01-31T09:00:00Z"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nothing_would_run_is_enqueued_with_a_warning() {
    let place = Place::new();
    let warning = |args: &[&str]| place.run(args).succeeded().err.clone();
    let none = warning(&["enqueue", "known"]);
    assert!(none.contains("warning: no worker is alive"), "{none}");
    let backroom = Backroom::open(&format!("sqlite:{}", place.path("backroom.db").display())).await.unwrap();
    let worker = Worker::new(&backroom).queue("default", 1);
    let worker =
        worker.handle_untyped("known", |_: Json, _| async { Ok(Json::null()) }).start().await.unwrap();
    // Its row is written when it starts, or soon after.
    while backroom.workers().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(warning(&["enqueue", "known"]), "");
    assert!(warning(&["enqueue", "known", "--queue", "mail"]).contains("no living worker serves queue mail"));
    assert!(warning(&["enqueue", "other"]).contains("no living worker of queue default handles kind other"));
    place.run(["queues", "pause", "default"]).succeeded();
    assert!(warning(&["enqueue", "known", "--json"]).contains("queue default is paused"));
    worker.stop().await.unwrap();
    Arc::new(backroom).close().await.unwrap();
}

#[test]
fn the_help_does_not_promise_what_lanes_do_not_do_yet() {
    let help = Place::new().run(["enqueue", "--help"]);
    assert!(help.succeeded().out.contains("changes nothing yet"), "{help:?}");
}

#[test]
fn a_queued_job_is_changed_and_what_is_not_named_stays() {
    let place = Place::new();
    let id = place.enqueue(&["k", "{\"a\":1}", "--priority", "7"]);
    let said = place.run(["amend", &id, "--at", "2030-01-31T09:00:00Z", "--args", "{\"a\":2}"]);
    assert!(said.succeeded().out.contains("priority 7, due 2030-01-31T09:00:00Z"), "{said:?}");
    assert_eq!(place.job(&id)["args"]["a"], 2);
    let answer = place.json(["amend", &id, "--priority", "1"]);
    assert_eq!((&answer["priority"], &answer["scheduled_at"]), (&1.into(), &"2030-01-31T09:00:00Z".into()));
    assert_eq!(place.run(["amend", &id]).code, 2, "nothing is named");
    place.run(["cancel", &id]).succeeded();
    place.run(["amend", &id, "--priority", "2"]).failed_naming("cancelled");
}
