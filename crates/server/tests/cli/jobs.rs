//! Looking at jobs and changing them, in processes of their own.

use std::{io::Write as _, process::Stdio, time::Duration};

use crate::cli_support::{Place, Said, said};
use backroom::{Backroom, Context, Failure, Job, Worker};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

fn ids(answer: &Value) -> Vec<String> {
    answer["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn jobs_are_listed_newest_first_page_by_page() {
    let place = Place::new();
    let mut all: Vec<_> = (0..5).map(|n| place.enqueue(&["k", &n.to_string()])).collect();
    all.reverse();
    let first = place.json(["jobs", "--limit", "2"]);
    assert_eq!(ids(&first), all[..2]);
    let next = first["next"].as_str().unwrap();
    assert_eq!(ids(&place.json(["jobs", "--limit", "2", "--before", next])), all[2..4]);
    let last = place.json(["jobs", "--before", &all[3]]);
    assert_eq!(ids(&last), all[4..]);
    assert_eq!(last["next"], Value::Null);
    let said = place.run(["jobs", "--limit", "2"]);
    assert!(said.err.contains(&format!("--before {next}")), "{said:?}");
    assert!(said.out.starts_with("ID"), "{said:?}");
    assert_eq!(said.out.lines().count(), 3, "a row is a line where there is no terminal");
    assert!(said.out.is_ascii(), "{said:?}");
}

#[test]
fn the_fields_of_a_job_stand_in_the_one_order() {
    let place = Place::new();
    let id = place.enqueue(&["k"]);
    let one = place.run(["job", &id, "--json"]).out;
    let list = place.run(["jobs", "--json"]).out;
    let order = "id kind queue lane priority state args attempt max_attempts crashes scheduled_at expires_at \
                 unique_key unique_while unique_held lease_id lease_until worker progress \
                 reason cancel_requested_at woken created_at started_at finished_at tags timeout_ms retry meta traceparent reply callback \
                 revision suspicion shown";
    for document in [one, list] {
        let places: Vec<_> = order
            .split_whitespace()
            .map(|field| document.find(&format!("\"{field}\":")).expect(field))
            .collect();
        assert!(places.is_sorted(), "{document}");
        // An output may be null, so none is no field at all.
        assert!(!document.contains("\"output\":"), "{document}");
    }
}

#[test]
fn jobs_are_filtered_by_every_filter() {
    let place = Place::new();
    let due = place.enqueue(&["a", "--queue", "x", "--tag", "t"]);
    let later = place.enqueue(&["b", "--queue", "y", "--delay", "1h"]);
    let stopped = place.enqueue(&["c", "--queue", "y"]);
    place.run(["cancel", &stopped]).succeeded();
    let listed = |args: &[&str]| ids(&place.json(["jobs"].iter().chain(args)));
    assert_eq!(listed(&["--state", "available"]), [due.as_str()]);
    assert_eq!(listed(&["--state", "scheduled"]), [later.as_str()]);
    assert_eq!(listed(&["--state", "queued"]), [later.clone(), due.clone()]);
    assert_eq!(listed(&["--state", "available,cancelled"]), [stopped.clone(), due.clone()]);
    assert_eq!(listed(&["--state", "retrying"]), [""; 0]);
    assert_eq!(listed(&["--queue", "y", "--state", "cancelled"]), [stopped.as_str()]);
    assert_eq!(listed(&["--kind", "b"]), [later.as_str()]);
    assert_eq!(listed(&["--tag", "t"]), [due.as_str()]);
    assert_eq!(listed(&["--since", "1h"]), [stopped, later, due]);
    assert_eq!(listed(&["--until", "1h ago"]), [""; 0]);
    assert_eq!(place.run(["jobs", "--kind", "z"]).succeeded().out, "no jobs\n");
}

#[test]
fn a_page_of_shown_states_goes_on_where_it_ended() {
    let place = Place::new();
    let mut due: Vec<_> = (0..3)
        .map(|_| {
            place.enqueue(&["k", "--delay", "1h"]);
            place.enqueue(&["k"])
        })
        .collect();
    due.reverse();
    let first = place.json(["jobs", "--state", "available", "--limit", "2"]);
    assert_eq!(ids(&first), due[..2]);
    let next = first["next"].as_str().unwrap();
    let second = place.json(["jobs", "--state", "available", "--limit", "2", "--before", next]);
    assert_eq!(ids(&second), due[2..]);
    assert_eq!(second["next"], Value::Null);
}

#[test]
fn a_job_is_cancelled_retried_and_deleted() {
    let place = Place::new();
    let id = place.enqueue(&["k"]);
    let other = place.enqueue(&["k", "--delay", "1h"]);
    let said = place.run(["cancel", &id, &other, "--reason", "withdrawn"]);
    assert_eq!(said.succeeded().out, format!("cancelled job {id}\ncancelled job {other}\n"));
    assert_eq!(place.job(&id)["reason"], "withdrawn");
    assert_eq!(place.run(["retry", &id]).succeeded().out, format!("job {id} is available\n"));
    let done = place.json(["retry", &other]);
    assert_eq!(done["results"][0]["ok"], true);
    assert_eq!(done["results"][0]["job"]["shown"], "available");
    assert_eq!(place.run(["delete", &id]).succeeded().out, format!("deleted job {id}\n"));
    let gone = said_json(&place, &["delete", &id, &other]);
    assert_eq!(gone["results"][0]["ok"], false);
    assert!(gone["results"][0]["error"].as_str().unwrap().contains(&id));
    assert_eq!(gone["results"][1]["ok"], true);
    assert_eq!(ids(&place.json(["jobs"])), [""; 0]);
}

/// The answer of a command that fails.
fn said_json(place: &Place, args: &[&str]) -> Value {
    let said = place.run(args.iter().chain(&["--json"]));
    assert_eq!(said.code, 1, "{said:?}");
    said.json()
}

#[test]
fn a_job_page_says_why_it_is_where_it_is() {
    let place = Place::new();
    let id = place.enqueue(&["greet", r#"{"name":"Ada"}"#, "--delay", "1h", "--meta", "a=b"]);
    let said = place.run(["job", &id]);
    for part in [&*id, "is scheduled", "due in", "no worker is alive", "\"name\": \"Ada\"", "a=b", "0 of 20"]
    {
        assert!(said.succeeded().out.contains(part), "{part:?}: {said:?}");
    }
    let job = place.job(&id);
    assert_eq!(job["reasons"][0]["reason"], "not_due");
    assert!(job["reasons"][0]["words"].as_str().unwrap().starts_with("due in"));
    assert_eq!(job["attempts"], json!([]));
    assert_eq!(job["log"], json!([]));
}

#[derive(Serialize, Deserialize)]
struct Stumble {
    fatal: bool,
}

impl Job for Stumble {
    const KIND: &'static str = "stumble";
    type Output = String;
}

async fn stumble(job: Stumble, context: Context) -> Result<String, Failure> {
    context.log("before \u{1b}[31mthe fall");
    if job.fatal { Err(Failure::discard("broke \u{7} a leg")) } else { Ok("fine".into()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_job_shows_output_attempts_and_log_without_control_characters() {
    let place = Place::new();
    let well = place.enqueue(&["stumble", r#"{"fatal":false}"#]);
    let badly = place.enqueue(&["stumble", r#"{"fatal":true}"#]);
    let url = format!("sqlite:{}", place.path("backroom.db").display());
    let backroom = Backroom::open(&url).await.unwrap();
    let worker = Worker::new(&backroom).queue("default", 2).handle(stumble).start().await.unwrap();
    for id in [&well, &badly] {
        let handle = backroom.handle_untyped(id.parse().unwrap());
        tokio::time::timeout(Duration::from_secs(30), handle.finished()).await.unwrap().unwrap();
    }
    let workers = place.json(["workers"]);
    assert_eq!(workers["workers"][0]["kinds"], json!(["stumble"]));
    assert_eq!(workers["workers"][0]["slots"], 2);
    let table = place.run(["workers"]);
    assert!(table.succeeded().out.contains("default:2"), "{table:?}");
    let healthy = place.run(["doctor"]);
    assert!(healthy.succeeded().out.contains("everything is as it should be"), "{healthy:?}");
    worker.stop().await.unwrap();
    backroom.close().await.unwrap();

    assert_eq!(place.job(&well)["output"], "fine");
    let job = place.job(&badly);
    assert_eq!(job["state"], "discarded");
    assert_eq!(job["attempts"][0]["end"], "discarded");
    assert_eq!(job["log"][0]["line"], "before \u{1b}[31mthe fall");
    let page = place.run(["job", &badly]);
    assert!(page.succeeded().out.contains("before \\u{1b}[31mthe fall"), "{page:?}");
    assert!(page.out.contains("broke \\u{7} a leg"), "{page:?}");
    assert!(!page.out.chars().any(|c| c.is_control() && c != '\n'), "{page:?}");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let place = Place::new();
    let lines = format!("\"{}\"\n", "x".repeat(1000)).repeat(500);
    place.run_with(lines.as_bytes(), &["enqueue", "k", "--lines"]).succeeded();
    let mut child = place
        .command()
        .args(["jobs", "--limit", "500", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let said = said(child.wait_with_output().unwrap());
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}

#[test]
fn colours_are_left_out_where_nobody_sees_them() {
    let place = Place::new();
    place.enqueue(&["k"]);
    let said = place.run(["jobs"]);
    assert!(!said.succeeded().out.contains('\u{1b}'), "{said:?}");
}

/// Runs it, and closes its stdout before it has written anything.
fn run_unread(place: &Place, args: &[&str], stdin: &[u8]) -> Said {
    let mut child = place
        .command()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let _ = child.stdin.take().unwrap().write_all(stdin);
    said(child.wait_with_output().unwrap())
}

#[test]
fn all_jobs_are_acted_on_although_the_reader_goes_away() {
    let place = Place::new();
    let ids: Vec<String> = (0..5).map(|_| place.enqueue(&["k"])).collect();
    let mut args = vec!["cancel"];
    args.extend(ids.iter().map(String::as_str));
    assert_eq!(run_unread(&place, &args, b"").code, 0);
    assert_eq!(place.json(["jobs", "--state", "cancelled"])["jobs"].as_array().unwrap().len(), 5);
    let mut deleted = vec!["delete", "--yes"];
    deleted.extend(ids.iter().map(String::as_str));
    deleted.push("018f0000-0000-7000-8000-000000000000");
    assert_eq!(run_unread(&place, &deleted, b"").code, 1, "one was not found");
    assert_eq!(place.json(["jobs"])["jobs"].as_array().unwrap().len(), 0);
}

#[test]
fn lines_that_were_not_enqueued_fail_the_command_although_the_reader_went_away() {
    let place = Place::new();
    let said = run_unread(&place, &["enqueue", "k", "--lines"], b"1\nno json\n");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("line 2"), "{said:?}");
}
