//! Queues, health, help and completions, in processes of their own.

use crate::cli_support::Place;
use serde_json::json;

#[test]
fn queues_are_listed_with_their_jobs_by_state() {
    let place = Place::new();
    place.enqueue(&["k", "--queue", "mail"]);
    place.enqueue(&["k", "--queue", "mail", "--delay", "1h"]);
    let queue = &place.json(["queues"])["queues"][0];
    assert_eq!(queue["name"], "mail");
    assert_eq!(queue["paused_at"], json!(null));
    assert_eq!(queue["counts"]["available"], 1);
    assert_eq!(queue["counts"]["scheduled"], 1);
    assert_eq!(queue["counts"]["running"], 0);
    let said = place.run(["queues"]);
    let header: Vec<_> = said.succeeded().out.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header[..4], ["QUEUE", "SCHED", "RETRY", "AVAIL"]);
}

#[test]
fn a_queue_is_paused_and_resumed() {
    let place = Place::new();
    let id = place.enqueue(&["k"]);
    assert_eq!(place.run(["queues", "pause", "default"]).succeeded().out, "paused queue default\n");
    assert_eq!(place.job(&id)["reasons"][0]["reason"], "queue_paused");
    let again = place.run(["queues", "pause", "default"]);
    assert!(again.succeeded().out.contains("paused already"), "{again:?}");
    assert!(place.json(["queues", "pause", "default"])["paused_at"].is_string());
    assert_eq!(place.run(["queues", "resume", "default"]).succeeded().out, "resumed queue default\n");
    assert_eq!(place.json(["queues", "resume", "default"])["paused_at"], json!(null));
    let new = place.run(["queues", "pause", "other"]);
    assert!(new.succeeded().out.contains("nothing named before"), "{new:?}");
}

#[test]
fn retention_changes_what_is_named_and_keeps_the_rest() {
    let place = Place::new();
    place.enqueue(&["k"]);
    let day = 86_400;
    let queue = place.json(["queues", "retain", "default", "--completed", "1d,500jobs"]);
    assert_eq!(queue["retention"]["completed"], json!({"age_secs": day, "count": 500}));
    assert_eq!(queue["retention"]["discarded"], json!({"age_secs": 30 * day, "count": null}));
    let said = place.run(["queues", "retain", "default", "--discarded", "forever"]);
    assert_eq!(
        said.succeeded().out,
        "queue default retains completed for 1d and the newest 500, cancelled for 7d, discarded forever\n"
    );
}

#[test]
fn the_doctor_is_content_with_an_idle_store_and_reports_work_that_nobody_does() {
    let place = Place::new();
    let id = place.enqueue(&["k"]);
    let said = place.run(["doctor"]);
    said.failed_naming("1 check failed");
    assert!(said.out.contains("FAIL  queues: default (1 due): no worker is alive"), "{said:?}");
    let answer = place.run(["doctor", "--json"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert_eq!(answer.json()["ok"], false);
    place.run(["queues", "pause", "default"]).succeeded();
    place.run(["doctor"]).succeeded();
    place.run(["queues", "resume", "default"]).succeeded();
    place.run(["cancel", &id]).succeeded();
    let said = place.run(["doctor"]);
    assert!(said.succeeded().out.contains("ok    integrity"), "{said:?}");
    let answer = place.json(["doctor"]);
    assert_eq!(answer["ok"], true);
    assert_eq!(answer["durability"], "full");
    assert_eq!(answer["schema"].as_u64().map(|version| version > 0), Some(true));
}

#[test]
fn nobody_works_where_no_worker_is() {
    let place = Place::new();
    place.enqueue(&["k"]);
    assert_eq!(place.run(["workers"]).succeeded().out, "no worker is alive\n");
    assert_eq!(place.json(["workers"]), json!({"workers": []}));
}

#[test]
fn every_command_has_help_with_examples() {
    let place = Place::new();
    let help = place.run(["--help"]);
    assert!(help.succeeded().out.contains("Start here"), "{help:?}");
    for command in [
        "enqueue",
        "amend",
        "jobs",
        "job",
        "cancel",
        "retry",
        "delete",
        "queues",
        "schedules",
        "trigger",
        "workers",
        "stats",
        "tokens",
        "audit",
        "doctor",
        "completions",
    ] {
        assert!(help.out.contains(&format!("\n  {command} ")), "{command}");
        let said = place.run([command, "--help"]);
        assert!(said.succeeded().out.contains(&format!("Examples:\n  backroom {command}")), "{said:?}");
        assert!(said.out.contains("--store"), "{said:?}");
    }
    assert_eq!(place.run(["--version"]).succeeded().out, format!("backroom {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_are_printed_for_every_shell() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = place.run(["completions", shell]);
        assert!(said.succeeded().out.contains("backroom"), "{shell}");
    }
}

#[test]
fn a_log_level_that_is_not_understood_is_a_warning() {
    let place = Place::new();
    let run = |level: &str| {
        let output = place.command().args(["enqueue", "k"]).env("BACKROOM_LOG", level).output().unwrap();
        crate::cli_support::said(output)
    };
    assert!(run("a=b=c").succeeded().err.starts_with("warning: BACKROOM_LOG"));
    assert_eq!(run("off").succeeded().err, "");
    assert!(run("").succeeded().err.starts_with("warning: no worker is alive"));
    assert!(run("debug").succeeded().err.contains("debug: "));
}
