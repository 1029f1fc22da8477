//! What bad input gets: an error that names the thing, nothing stored, no panic.

use crate::cli_support::Place;

/// Nothing that was refused may have left a store behind.
#[track_caller]
fn left_nothing(place: &Place) {
    assert!(!place.path("backroom.db").exists());
}

#[test]
fn args_that_do_not_parse_are_refused() {
    let place = Place::new();
    for args in ["{", "{'to': 1}", "hello", "", "1 2", "{\"a\":1}}", "nul", "\u{feff}{}"] {
        place.run(["enqueue", "k", args]).failed_naming("JSON");
    }
    std::fs::write(place.path("broken.json"), "{").unwrap();
    place.run(["enqueue", "k", "@broken.json"]).failed_naming("broken.json");
    place.run_with(b"{", &["enqueue", "k", "-"]).failed_naming("stdin");
    place.run_with(b"\"\xff\"", &["enqueue", "k", "-"]).failed_naming("utf-8");
    place.run_with(b"", &["enqueue", "k", "-"]).failed_naming("stdin");
    place.run_with(b"\0\0", &["enqueue", "k", "-"]).failed_naming("JSON");
    left_nothing(&place);
}

#[test]
fn args_that_cannot_be_read_are_refused() {
    let place = Place::new();
    place.run(["enqueue", "k", "@missing.json"]).failed_naming("missing.json");
    place.run(["enqueue", "k", "@."]).failed_naming("folder");
    place.run(["enqueue", "k", "@"]).failed_naming("file");
    place.run(["enqueue", "k", "{}", "--lines"]).failed_naming("stdin or @FILE");
    left_nothing(&place);
}

#[test]
fn args_that_are_too_large_are_refused() {
    let place = Place::new();
    let large = format!("\"{}\"", "x".repeat(1024 * 1024));
    std::fs::write(place.path("large.json"), &large).unwrap();
    place.run(["enqueue", "k", "@large.json"]).failed_naming("1048576");
    place.run_with(large.as_bytes(), &["enqueue", "k", "-"]).failed_naming("1048576");
    left_nothing(&place);
    let line = format!("1\n{large}\n3\n");
    let said = place.run_with(line.as_bytes(), &["enqueue", "k", "--lines"]);
    said.failed_naming("line 2");
    let endless = vec![b'x'; 8 * 1024 * 1024];
    place.run_with(&endless, &["enqueue", "k", "--lines"]).failed_naming("line 1");
}

#[test]
fn deep_json_is_refused() {
    let place = Place::new();
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    place.run(["enqueue", "k", &deep(101)]).failed_naming("deep");
    place.run_with(deep(300_000).as_bytes(), &["enqueue", "k", "-"]).failed_naming("JSON");
    left_nothing(&place);
    place.run(["enqueue", "k", &deep(100)]).succeeded();
    // What was accepted can be shown again.
    place.run(["jobs", "--json"]).succeeded();
}

#[test]
fn nul_bytes_in_args_are_kept_or_refused_but_never_cut() {
    let place = Place::new();
    let said = place.run(["enqueue", "k", "\"a\\u0000b\"", "--json"]);
    if said.code == 0 {
        let id = said.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(place.job(&id)["args"], "a\0b");
        let shown = place.run(["job", &id]);
        assert!(!shown.out.contains('\0'), "{shown:?}");
    } else {
        said.failed_naming("NUL");
    }
}

#[test]
fn names_that_are_empty_too_long_or_unprintable_are_refused() {
    let place = Place::new();
    let long = "x".repeat(129);
    for name in ["", " k", "a\nb", "\u{1b}[31m", long.as_str()] {
        place.run(["enqueue", name]).failed_naming("kind");
        place.run(["enqueue", "k", "--queue", name]).failed_naming("queue");
        place.run(["enqueue", "k", "--lane", name]).failed_naming("lane");
        place.run(["enqueue", "k", "--tag", name]).failed_naming("tag");
        place.run(["enqueue", "k", "--meta", &format!("{name}=v")]).failed_naming("meta");
    }
    place.run(["enqueue", "k", "--unique-key", ""]).failed_naming("unique key");
    place.run(["enqueue", "k", "--tag", "a", "--tag", "a"]).failed_naming("twice");
    place.run(["enqueue", "k", "--meta", "a=1", "--meta", "a=2"]).failed_naming("twice");
    place.run(["enqueue", "k", "--meta", "novalue"]).refused_naming("KEY=VALUE");
    left_nothing(&place);
    place.run_with(b"", &["enqueue", "", "--lines"]).failed_naming("kind");
    left_nothing(&place);
}

#[test]
fn numbers_out_of_range_are_refused() {
    let place = Place::new();
    place.run(["enqueue", "k", "--priority", "10"]).failed_naming("priority");
    place.run(["enqueue", "k", "--priority", "-1"]).refused_naming("priority");
    place.run(["enqueue", "k", "--priority", "256"]).refused_naming("priority");
    place.run(["enqueue", "k", "--max-attempts", "0"]).failed_naming("max_attempts");
    place.run(["enqueue", "k", "--max-attempts", "4294967295"]).failed_naming("max_attempts");
    place.run(["enqueue", "k", "--retry-jitter", "101"]).failed_naming("jitter");
    place.run(["enqueue", "k", "--retry-list", ""]).refused_naming("retry-list");
    left_nothing(&place);
}

#[test]
fn times_that_are_past_absurd_or_unreadable_are_refused() {
    let place = Place::new();
    place.run(["enqueue", "k", "--at", "2001-01-01T00:00:00Z"]).failed_naming("past");
    place.run(["enqueue", "k", "--at", "1d ago"]).failed_naming("past");
    place.run(["enqueue", "k", "--at", "9999-01-01T00:00:00Z"]).failed_naming("ten years");
    place.run(["enqueue", "k", "--delay", "200000d"]).failed_naming("ten years");
    place.run(["enqueue", "k", "--delay", "1h", "--expires-in", "1m"]).failed_naming("expiry");
    place.run(["enqueue", "k", "--expires-at", "2001-01-01T00:00:00Z"]).failed_naming("expiry");
    place.run(["enqueue", "k", "--timeout", "0s"]).failed_naming("timeout");
    place.run(["enqueue", "k", "--unique-args", "--unique-while", "0s"]).failed_naming("unique window");
    for span in ["10", "-5m", "soon", "1mo", "99999999999999999999d", "9999999999999999999999999999999999s"] {
        place.run(["enqueue", "k", &format!("--delay={span}")]).refused_naming("--delay");
    }
    for time in ["tomorrow", "2026-02-30", "25:00", "12"] {
        place.run(["enqueue", "k", "--at", time]).refused_naming("--at");
        place.run(["jobs", "--since", time]).refused_naming("--since");
    }
    left_nothing(&place);
}

#[test]
fn unique_fields_need_an_object() {
    let place = Place::new();
    place.run(["enqueue", "k", "[1]", "--unique-fields", "a"]).failed_naming("object");
    place.run(["enqueue", "k", "--unique-while", "live"]).refused_naming("--unique");
    left_nothing(&place);
}

#[test]
fn ids_that_are_malformed_or_unknown_are_refused() {
    let place = Place::new();
    let id = place.enqueue(&["k"]);
    let unknown = "00000000-0000-0000-0000-000000000000";
    for command in ["job", "cancel", "retry", "delete"] {
        for malformed in ["", "x", "0189", "01890a5d-ac96-774b-bcce-b302099a805z", "💥"] {
            place.run([command, malformed]).refused_naming("UUID");
        }
        place.run([command, unknown]).failed_naming(unknown);
        place.run([command]).refused_naming("required");
    }
    place.run(["jobs", "--before", "x"]).refused_naming("--before");
    // One that is unknown does not keep the others from being done.
    let said = place.run(["cancel", unknown, &id]);
    said.failed_naming(unknown);
    assert_eq!(place.job(&id)["state"], "cancelled");
    place.run(["cancel", &id, "--reason", "a\nb"]).failed_naming("reason");
}

#[test]
fn filters_that_mean_nothing_are_refused() {
    let place = Place::new();
    place.enqueue(&["k"]);
    place.run(["jobs", "--state", "done"]).refused_naming("completed");
    place.run(["jobs", "--limit", "0"]).failed_naming("1 to 1000");
    place.run(["jobs", "--limit", "1001"]).failed_naming("1 to 1000");
    place.run(["jobs", "--limit", "1001", "--state", "available"]).failed_naming("1 to 1000");
    place.run(["jobs", "--queue", ""]).failed_naming("queue");
    place.run(["queues", "pause", ""]).failed_naming("queue");
    place.run(["queues", "resume", "missing"]).failed_naming("missing");
    place.run(["queues", "retain", "q"]).refused_naming("--completed");
    place.run(["queues", "retain", "q", "--completed", "7"]).refused_naming("forever");
    place.run(["completions", "tcsh"]).refused_naming("tcsh");
    place.run(["enqueue", "k", "--prioritty", "3"]).refused_naming("--prioritty");
    place.run(["frobnicate"]).refused_naming("frobnicate");
}

#[cfg(unix)]
#[test]
fn arguments_that_are_no_text_are_refused() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    let place = Place::new();
    let no_text = OsStr::from_bytes(b"\xff\xfe");
    assert_eq!(place.run([OsStr::new("enqueue"), no_text]).code, 2);
    assert_eq!(place.run([OsStr::new("jobs"), OsStr::new("--queue"), no_text]).code, 2);
    left_nothing(&place);
}
