//! `backroom schedules` and `backroom trigger`, on a store and through a server: the same answers.

use serde_json::{Value, json};

use crate::{
    cli_support::{Place, Said},
    serve_support::Server,
};

/// A store, or a server over a store.
struct Ways {
    place: Place,
    server: Option<Server>,
}

impl Ways {
    /// The same test for each of them.
    fn each(test: impl Fn(&Self)) {
        test(&Self { place: Place::new(), server: None });
        let place = Place::new();
        let server = Some(Server::start(&place, &[]));
        test(&Self { place, server });
    }

    fn args(&self, args: &[&str]) -> Vec<String> {
        let server = self.server.as_ref().map(|server| format!("http://{}", server.address));
        let named = server.map_or_else(Vec::new, |url| vec!["--server".to_owned(), url]);
        named.into_iter().chain(args.iter().map(|arg| (*arg).to_owned())).collect()
    }

    fn run(&self, args: &[&str]) -> Said {
        self.place.run(self.args(args))
    }

    fn json(&self, args: &[&str]) -> Value {
        self.place.json(self.args(args))
    }

    fn put(&self, name: &str) -> Value {
        self.json(&[
            "schedules",
            "put",
            name,
            "--when",
            "0 2 * * *",
            "--zone",
            "Europe/Oslo",
            "--kind",
            "report",
        ])
    }
}

#[test]
fn the_jobs_of_a_schedule_have_its_retry_policy() {
    Ways::each(|ways| {
        let policy = "exponential 10s cap 1h jitter 20";
        let put = ["schedules", "put", "sync", "--when", "@hourly", "--kind", "k", "--retry", policy];
        let put = ways.json(&put);
        let wanted = json!({"backoff": {"exponential": 10_000}, "jitter_percent": 20, "cap_ms": 3_600_000});
        assert_eq!(put["schedule"]["definition"]["job"]["extras"]["retry"], wanted);
        let id = ways.json(&["trigger", "sync"])["id"].as_str().unwrap().to_owned();
        assert_eq!(ways.json(&["job", &id])["retry"], wanted);
        let refused =
            ways.run(&["schedules", "put", "sync", "--when", "@hourly", "--kind", "k", "--retry", "often"]);
        refused.refused_naming("exponential 10s cap 1h jitter 20");
    });
}

#[test]
fn a_schedule_is_put_listed_shown_paused_resumed_and_deleted() {
    Ways::each(|ways| {
        let put = ways.put("nightly");
        assert_eq!(
            (&put["outcome"], &put["schedule"]["origin"]),
            (&json!("created"), &json!("api")),
            "{put}"
        );
        assert_eq!(ways.put("nightly")["outcome"], "unchanged");
        let changed = ways.json(&["schedules", "put", "nightly", "--when", "0 3 * * *", "--kind", "report"]);
        assert_eq!(changed["outcome"], "changed");
        let listed = ways.json(&["schedules"]);
        assert_eq!(listed["schedules"][0]["name"], "nightly");
        assert_eq!(listed["schedules"][0]["description"], "at 03:00 every day, in UTC");
        assert!(
            listed["schedules"][0]["next"]["local"].as_str().unwrap().ends_with("T03:00:00+00:00"),
            "{listed}"
        );
        assert_eq!(ways.json(&["schedules", "list"]), listed);
        let table = ways.run(&["schedules"]);
        assert!(table.succeeded().out.starts_with("NAME"), "{table:?}");
        assert!(table.out.contains("nightly  active"), "{table:?}");
        let whole = ways.json(&["schedules", "show", "nightly"]);
        assert_eq!(whole["next"].as_array().unwrap().len(), 10, "{whole}");
        let page = ways.run(&["schedules", "show", "nightly"]);
        assert!(page.succeeded().out.contains("overlap   skip\ncatch up  once 1h\n"), "{page:?}");
        assert_eq!(ways.json(&["schedules", "pause", "nightly"])["status"], "paused");
        assert_eq!(
            ways.run(&["schedules", "resume", "nightly"]).succeeded().out,
            "resumed schedule nightly\n"
        );
        assert_eq!(ways.json(&["schedules", "show", "nightly"])["schedule"]["paused"], Value::Null);
        let preview = ways.json(&["schedules", "preview", "--name", "nightly", "--next", "2"]);
        assert_eq!(preview["next"].as_array().unwrap().len(), 2);
        let deleted = ways.run(&["schedules", "delete", "nightly"]);
        assert_eq!(deleted.succeeded().out, "deleted schedule nightly; its jobs stay\n");
        ways.run(&["schedules", "show", "nightly"]).failed_naming("there is none of this name");
        assert_eq!(ways.run(&["schedules"]).succeeded().out, "no schedules\n");
    });
}

#[test]
fn a_definition_goes_out_as_json_and_comes_back_from_a_file() {
    Ways::each(|ways| {
        ways.put("nightly");
        let definition = ways.json(&["schedules", "show", "nightly"])["schedule"]["definition"].clone();
        std::fs::write(ways.place.path("nightly.json"), definition.to_string()).unwrap();
        let put = ways.json(&["schedules", "put", "nightly", "--file", "nightly.json"]);
        assert_eq!(put["outcome"], "unchanged", "{put}");
        ways.run(&["schedules", "put", "other", "--file", "nightly.json"]).failed_naming("in the path");
        std::fs::write(ways.place.path("bad.json"), r#"{"specs": ["@daily"], "jobs": {}}"#).unwrap();
        ways.run(&["schedules", "put", "bad", "--file", "bad.json"]).failed_naming("unknown field `jobs`");
    });
}

#[test]
fn a_trigger_with_a_key_starts_one_job_however_often_it_is_sent() {
    Ways::each(|ways| {
        ways.put("nightly");
        let first = ways.json(&["trigger", "nightly", "--key", "monday"])["id"].clone();
        assert_eq!(ways.json(&["trigger", "nightly", "--key", "monday"])["id"], first);
        assert_eq!(
            ways.run(&["trigger", "nightly", "--key", "monday"]).succeeded().out.trim(),
            first.as_str().unwrap()
        );
        let args = r#"{"day":"{{nominal | date}}","n":"{{run_number}}"}"#;
        let other = ways.json(&["schedules", "trigger", "nightly", "--args", args])["id"].clone();
        assert!(other != first);
        let job = ways.json(&["job", other.as_str().unwrap()]);
        assert_eq!((&job["kind"], &job["args"]["n"]), (&json!("report"), &json!(2)), "{job}");
        let history = ways.json(&["schedules", "history", "nightly"]);
        let whats: Vec<_> =
            history["entries"].as_array().unwrap().iter().map(|entry| entry["what"].clone()).collect();
        assert_eq!(whats, ["triggered", "triggered"], "{history}");
        assert_eq!(history["entries"][1]["key"], "monday");
        let counters = &ways.json(&["schedules", "show", "nightly"])["schedule"]["counters"];
        assert_eq!((&counters["triggered"], &counters["fired"]), (&json!(2), &json!(0)));
        ways.run(&["trigger", "nowhere"]).failed_naming("nowhere");
        ways.run(&["trigger", "nightly", "--args", "{"]).failed_naming("JSON");
    });
}

#[test]
fn a_backfill_is_counted_first_and_a_large_one_has_to_be_confirmed() {
    Ways::each(|ways| {
        ways.json(&["schedules", "put", "often", "--when", "every 1m", "--kind", "k"]);
        let range = ["--from", "2026-01-01T00:00:00Z", "--until", "2026-01-01T02:00:00Z"];
        fn backfill<'a>(more: &[&'a str]) -> Vec<&'a str> {
            ["schedules", "backfill", "often"].iter().chain(more).copied().collect()
        }
        let counted = ways.json(&backfill(&[&range[..], &["--dry-run"]].concat()));
        assert_eq!(counted, json!({"total": 121, "backfill": null}));
        let week = ["--from", "2026-01-01T00:00:00Z", "--until", "2026-01-08T00:00:00Z"];
        ways.run(&backfill(&week)).failed_naming("add --confirm 10081");
        ways.run(&backfill(&[&week[..], &["--confirm", "10080"]].concat())).failed_naming("--confirm 10081");
        let year = ["--from", "2020-01-01T00:00:00Z", "--until", "2026-01-01T00:00:00Z"];
        let refused = ways.run(&backfill(&[&year[..], &["--confirm", "1000000"]].concat()));
        refused.failed_naming("1,000,000 occurrences are more than 100,000");
        let begun = ways.json(&backfill(&[&range[..], &["--no-wait", "--at-once", "5"]].concat()));
        assert_eq!((&begun["total"], &begun["backfill"]["at_once"]), (&json!(121), &json!(5)), "{begun}");
        ways.run(&backfill(&range)).failed_naming("another backfill");
        let stopped = ways.json(&["schedules", "backfill", "often", "--stop"]);
        assert!(stopped["backfill"]["ended_at"].is_string(), "{stopped}");
        ways.run(&backfill(&["--from", "in 2h", "--until", "in 1h"])).failed_naming("backfill");
    });
}

#[test]
fn bad_input_is_refused_and_nothing_is_stored() {
    Ways::each(|ways| {
        let put = |args: &[&str], naming: &str| {
            let all: Vec<_> =
                ["schedules", "put", "bad", "--kind", "k"].iter().chain(args).copied().collect();
            let said = ways.run(&all);
            said.failed_naming(naming);
            said.err
        };
        put(&["--when", "0 0 31 2 *"], "never");
        put(&["--when", "0 0 30 2 *"], "never");
        let err = put(&["--when", "0 0 32 * *"], "wrong at character 5");
        assert!(err.contains("    0 0 32 * *\n        ^^"), "{err}");
        put(&["--when", "* * * * * *"], "set `frequent`");
        put(&["--when", "@daily", "--zone", "Europe/Olso"], "did you mean Europe/Oslo");
        put(&["--when", "at 10000-01-01T00:00:00Z"], "is no moment");
        put(&["--when", "@daily", "--args", r#"{"day":"{{nominl}}"}"#], "names nothing");
        put(&["--when", "@daily", "--args", r#"{"day":"{{nominal | weekday}}"}"#], "unknown form");
        put(&["--when", "@daily", "--catch-up", "all 3h"], "buffer_all");
        put(&["--when", "@daily", "--notify", "ftp://example.com"], "url");
        put(&["--when", "@daily", "--queue", ""], "queue");
        put(&["--when", "@daily", "--max-runs", "0"], "max_runs");
        put(
            &["--when", "@daily", "--starts-at", "2027-01-01", "--ends-at", "2026-01-01"],
            "before starts_at",
        );
        if ways.server.is_none() {
            assert!(
                !ways.place.path("backroom.db").exists(),
                "what is wrong is said before a store is created"
            );
        } else {
            assert_eq!(ways.json(&["schedules"])["schedules"], json!([]));
        }
        ways.json(&["schedules", "put", "often", "--when", "* * * * * *", "--frequent", "--kind", "k"]);
    });
}

#[test]
fn a_schedule_fires_while_the_server_runs_and_its_history_says_so() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let url = format!("http://{}", server.address);
    let at = place.json([
        "--server",
        &url,
        "schedules",
        "put",
        "soon",
        "--when",
        "every 1s",
        "--frequent",
        "--kind",
        "k",
    ]);
    assert_eq!(at["outcome"], "created");
    // The job has no worker, so the second occurrence meets a run that is going.
    #[expect(clippy::disallowed_methods, reason = "a process of its own goes by real time")]
    let now = std::time::Instant::now;
    let patience = now() + crate::serve_support::PATIENCE;
    loop {
        let schedule = place.json(["--server", &url, "schedules", "show", "soon"]);
        let counters = &schedule["schedule"]["counters"];
        if counters["fired"] == 1 && counters["skipped"].as_u64() > Some(0) {
            break;
        }
        assert!(now() < patience, "{schedule}");
    }
    let history = place.json(["--server", &url, "schedules", "history", "soon"]);
    let entries = history["entries"].as_array().unwrap();
    assert_eq!((entries[1]["what"].as_str(), entries[1]["end"].is_null()), (Some("due"), true), "{history}");
    assert_eq!(entries[0]["words"], "a run of the schedule was still going");
}
