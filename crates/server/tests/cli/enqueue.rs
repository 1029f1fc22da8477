//! `backroom enqueue`, in a process of its own.

#[cfg(unix)]
use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

use crate::cli_support::Place;
use serde_json::json;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_traceparent_is_stored_shown_and_checked() {
    let place = Place::new();
    let id = place.enqueue(&["k", "--traceparent", TRACEPARENT]);
    assert_eq!(place.job(&id)["traceparent"], TRACEPARENT);
    assert!(place.run(["job", &id]).out.contains(&format!("traceparent   {TRACEPARENT}")));
    let said = place.run(["enqueue", "k", "--traceparent", "00-4BF9-1-01"]);
    said.failed_naming("traceparent");
    assert!(said.err.contains("is not 32 hexadecimal digits"), "{said:?}");
}

#[test]
fn a_job_is_enqueued_with_every_option() {
    let place = Place::new();
    let id = place.enqueue(&[
        "send_mail",
        r#"{"to":"ada"}"#,
        "--queue",
        "mail",
        "--priority",
        "2",
        "--lane",
        "tenant-7",
        "--delay",
        "10m",
        "--expires-in",
        "1h",
        "--timeout",
        "30s",
        "--retry-list",
        "1s,5s",
        "--tag",
        "a",
        "--tag",
        "b",
        "--meta",
        "k=v",
        "--unique-key",
        "once",
        "--unique-while",
        "queued",
    ]);
    let job = place.job(&id);
    assert_eq!(job["kind"], "send_mail");
    assert_eq!(job["args"], json!({"to": "ada"}));
    assert_eq!(job["queue"], "mail");
    assert_eq!(job["priority"], 2);
    assert_eq!(job["lane"], "tenant-7");
    assert_eq!(job["timeout_ms"], 30_000);
    assert_eq!(job["max_attempts"], 3, "one more than there are waits");
    assert_eq!(job["retry"]["backoff"]["list"], json!([1000, 5000]));
    assert_eq!(job["tags"], json!(["a", "b"]));
    assert_eq!(job["meta"], json!({"k": "v"}));
    assert_eq!(job["unique_key"], "send_mail=once");
    assert_eq!(job["unique_while"], "queued");
    assert_eq!(job["shown"], "scheduled");
    assert!(job["expires_at"].is_string());
}

#[test]
fn a_person_is_told_the_kind_and_the_id() {
    let place = Place::new();
    let said = place.run(["enqueue", "greet"]);
    said.succeeded();
    assert!(said.out.starts_with("enqueued greet "), "{said:?}");
    let id = said.out.trim().rsplit(' ').next().unwrap();
    assert_eq!(place.job(id)["args"], json!({}), "no args are an empty object");
}

#[test]
fn args_come_from_a_file_or_stdin() {
    let place = Place::new();
    std::fs::write(place.path("args.json"), "{\"from\": \"file\"}\n").unwrap();
    let id = place.enqueue(&["k", "@args.json"]);
    assert_eq!(place.job(&id)["args"], json!({"from": "file"}));
    let id = place.enqueue(&["k", "-5"]);
    assert_eq!(place.job(&id)["args"], -5);
    let said = place.run_with(b"{\"from\": \"stdin\"}\n", &["enqueue", "k", "-", "--json"]);
    let id = said.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(place.job(&id)["args"], json!({"from": "stdin"}));
}

#[test]
fn a_unique_key_keeps_replaces_or_rejects_the_second_job() {
    let place = Place::new();
    let first = place.json(["enqueue", "k", "1", "--unique-key", "x"]);
    assert_eq!(first["outcome"], "created");
    let duplicate = place.json(["enqueue", "k", "2", "--unique-key", "x"]);
    assert_eq!(duplicate["outcome"], "deduplicated");
    assert_eq!(duplicate["id"], first["id"]);
    let replaced = place.json(["enqueue", "k", "3", "--unique-key", "x", "--on-conflict", "replace"]);
    assert_eq!(replaced["outcome"], "replaced");
    assert_eq!(place.job(first["id"].as_str().unwrap())["args"], 3);
    let rejected = place.run(["enqueue", "k", "4", "--unique-key", "x", "--on-conflict", "reject"]);
    rejected.failed_naming(first["id"].as_str().unwrap());
    assert!(rejected.err.contains("hint: "), "{rejected:?}");
}

#[test]
fn a_start_may_be_relative_local_or_exact() {
    let place = Place::new();
    let id = place.enqueue(&["k", "--at", "2030-01-31T09:00:00+02:00"]);
    assert_eq!(place.job(&id)["scheduled_at"], "2030-01-31T07:00:00Z");
    for at in ["in 2h", "2030-01-31 09:00", "2h"] {
        let id = place.enqueue(&["k", "--at", at]);
        assert_eq!(place.job(&id)["shown"], "scheduled", "{at}");
    }
}

#[test]
fn lines_become_jobs_and_empty_ones_do_not() {
    let place = Place::new();
    let lines: String = (0..2500).map(|n| format!("{{\"n\":{n}}}\n\n")).collect();
    let said = place.run_with(lines.as_bytes(), &["enqueue", "k", "--lines", "--tag", "many", "--json"]);
    assert_eq!(
        said.succeeded().json(),
        json!({"created": 2500, "deduplicated": 0, "replaced": 0, "key_held": 0})
    );
    std::fs::write(place.path("more.ndjson"), "1\n2\n3").unwrap();
    let said = place.run(["enqueue", "k", "@more.ndjson", "--lines"]);
    assert_eq!(said.succeeded().out, "enqueued 3 jobs\n");
    let queues = place.json(["queues"]);
    assert_eq!(queues["queues"][0]["counts"]["available"], 2503);
    assert_eq!(place.json(["jobs", "--tag", "many"])["jobs"].as_array().unwrap().len(), 20);
}

#[test]
fn every_option_holds_for_lines_too() {
    let place = Place::new();
    let options = [
        "enqueue",
        "k",
        "--lines",
        "--json",
        "--queue",
        "q",
        "--priority",
        "1",
        "--lane",
        "l",
        "--delay",
        "1h",
        "--expires-in",
        "2h",
        "--timeout",
        "1s",
        "--retry-constant",
        "1s",
        "--max-attempts",
        "7",
        "--tag",
        "t",
        "--meta",
        "a=b",
        "--traceparent",
        TRACEPARENT,
        "--reply-to",
        "replies",
        "--correlation-id",
        "7",
        "--callback",
        "https://example.org/done",
        "--unique-args",
    ];
    let said = place.run_with(b"{\"a\":1}\n{\"a\":1}\n{\"a\":2}\n", &options);
    assert_eq!(
        said.succeeded().json(),
        json!({"created": 2, "deduplicated": 1, "replaced": 0, "key_held": 0})
    );
    let jobs = place.json(["jobs", "--queue", "q", "--tag", "t"]);
    let job = &jobs["jobs"][0];
    assert_eq!(job["args"], json!({"a": 2}));
    for (field, value) in [
        ("priority", json!(1)),
        ("lane", json!("l")),
        ("timeout_ms", json!(1000)),
        ("max_attempts", json!(7)),
        ("meta", json!({"a": "b"})),
        ("traceparent", json!(TRACEPARENT)),
        (
            "reply",
            json!({"to": "replies", "correlation_id": "7", "on": ["completed", "discarded", "cancelled"]}),
        ),
        (
            "callback",
            json!({"url": "https://example.org/done", "on": ["completed", "discarded", "cancelled"]}),
        ),
        ("shown", json!("scheduled")),
    ] {
        assert_eq!(job[field], value, "{field}");
    }
    assert_eq!(job["retry"]["backoff"]["constant"], 1000);
    assert!(job["expires_at"].is_string());
}

#[test]
fn a_line_that_is_wrong_is_named_and_those_before_it_are_stored() {
    let place = Place::new();
    let said = place.run_with(b"1\n2\n{oops\n4\n", &["enqueue", "k", "--lines"]);
    said.failed_naming("line 3");
    assert!(said.err.contains("at byte 4") && said.err.contains("--from-line 3"), "{said:?}");
    assert_eq!(said.out, "enqueued 2 jobs\n");
    assert_eq!(place.json(["jobs"])["jobs"].as_array().unwrap().len(), 2);
}

#[test]
fn lines_that_meet_a_held_key_fail_the_command_and_are_counted() {
    let place = Place::new();
    let said = place.run_with(
        b"1\n1\n2\n",
        &["enqueue", "k", "--lines", "--unique-args", "--on-conflict", "reject", "--json"],
    );
    said.failed_naming("1 job");
    assert_eq!(said.json(), json!({"created": 2, "deduplicated": 0, "replaced": 0, "key_held": 1}));
}

#[cfg(unix)]
#[test]
fn an_interrupt_between_lines_says_how_far_it_came() {
    let place = Place::new();
    let mut child = place
        .command()
        .args(["enqueue", "k", "--lines"])
        .env("BACKROOM_LOG", "debug")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"1\n2\n").unwrap();
    // The library tells of the insert; only then is the interrupt sent.
    let mut notes = BufReader::new(child.stderr.take().unwrap());
    let (mut line, mut rows) = (String::new(), 0);
    while rows < 2 {
        line.clear();
        assert_ne!(notes.read_line(&mut line).unwrap(), 0, "it ended before it stored the lines");
        if line.contains("insert") {
            let stored = line.split("rows=").nth(1).and_then(|rest| rest.split_whitespace().next());
            rows += stored.unwrap().parse::<u64>().unwrap();
        }
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    // The process goes on writing notes; a closed pipe would make that fail.
    std::io::copy(&mut notes, &mut std::io::sink()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "enqueued 2 jobs\n");
    assert_eq!(place.json(["jobs"])["jobs"].as_array().unwrap().len(), 2);
    drop(stdin);
}

#[test]
fn a_job_that_is_stored_counts_as_enqueued_although_what_is_read_afterwards_fails() {
    let place = Place::new();
    let id = place.enqueue(&["k", "{}"]);
    let file = rusqlite::Connection::open(place.path("backroom.db")).unwrap();
    let unreadable = "INSERT INTO backroom_workers (name, incarnation, host, pid, started_at, beat_at, beats, dead, lease_ms, \
                      queues, kinds, slots, running, stuck, stopping, trials, details) \
                      VALUES ('w', zeroblob(16), 'h', 1, 0, 9223372036854775807, 0, 0, 30000, 'no JSON', '[]', 1, 0, 0, 0, \
                      '[]', '{}')";
    file.execute_batch(unreadable).unwrap();
    let said = place.run(["enqueue", "k", "{}"]);
    assert!(said.succeeded().out.starts_with("enqueued k "), "{said:?}");
    assert!(said.err.contains("what was enqueued is stored"), "{said:?}");
    place.run_with(b"{}\n{}\n", &["enqueue", "k", "--lines"]).succeeded();
    assert_ne!(place.json(["jobs"])["jobs"][0]["id"], id);
    assert_eq!(place.json(["jobs"])["jobs"].as_array().map(Vec::len), Some(4));
}
