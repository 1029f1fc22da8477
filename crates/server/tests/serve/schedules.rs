//! Schedules in the settings, and what a server reports about schedules: notices, metrics, `doctor`.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    time::Instant,
};

use serde_json::{Value, json};

use crate::{
    cli_support::Place,
    serve_support::{PATIENCE, Server},
};

const NIGHTLY: &str = "[schedules.nightly]\nwhen = \"0 2 * * *\"\nzone = \"Europe/Oslo\"\nkind = \"report\"\nretry = \"list 1s 1m\"\nargs = { day = \"{{nominal | date}}\" }\n";

fn write(place: &Place, text: &str) {
    fs::write(place.path("backroom.toml"), text).unwrap();
}

fn schedule(server: &Server, name: &str) -> Option<Value> {
    let answer = server.get(&format!("/v1/schedules/{name}"));
    (answer.status == 200).then(|| answer.json()["schedule"].clone())
}

/// Waits until it holds.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a process of its own goes by real time")]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < patience, "it did not come about: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn schedules_of_the_settings_are_put_changed_and_deleted_and_others_are_left_alone() {
    let place = Place::new();
    place.json(["schedules", "put", "by-hand", "--when", "@hourly", "--kind", "k"]);
    place.json(["schedules", "put", "taken", "--when", "@hourly", "--kind", "k"]);
    let taken = "[schedules.taken]\nwhen = \"@daily\"\nkind = \"other\"\n";
    write(&place, &format!("{NIGHTLY}{taken}"));
    let server = Server::start(&place, &[]);
    let nightly = schedule(&server, "nightly").unwrap();
    assert_eq!(
        (&nightly["origin"], &nightly["definition"]["zone"]),
        (&json!("settings"), &json!("Europe/Oslo"))
    );
    assert_eq!(nightly["definition"]["job"]["args"], json!({"day": "{{nominal | date}}"}));
    assert_eq!(nightly["definition"]["job"]["extras"]["retry"]["backoff"], json!({"list": [1000, 60_000]}));
    let left = schedule(&server, "taken").unwrap();
    assert_eq!((&left["origin"], &left["definition"]["job"]["kind"]), (&json!("api"), &json!("k")));
    assert!(server.log().contains("\"taken\" of the settings: another of this name"), "{}", server.log());
    // An operator's pause stays over a reload.
    server.post("/v1/schedules/nightly/pause", &Value::Null);
    let body = json!({"specs": ["@daily"], "job": {"kind": "k"}});
    let refused = server.call(
        "PUT",
        "/v1/schedules/nightly",
        &[("content-type", "application/json")],
        body.to_string().as_bytes(),
    );
    assert!(refused.is_problem(409, "refused")["detail"].as_str().unwrap().contains("settings"));
    // Something wrong changes nothing.
    write(
        &place,
        &format!(
            "{}\n[schedules.bad]\nwhen = \"0 0 31 2 *\"\nkind = \"k\"\n",
            NIGHTLY.replace("0 2 * * *", "0 3 * * *")
        ),
    );
    server.signal("HUP");
    server.line_with("backroom.toml:9:9: `schedules.bad.when` has a mistake");
    server.line_with("the settings were not reloaded");
    assert_eq!(schedule(&server, "nightly").unwrap()["definition"]["specs"], json!([{"cron": "0 2 * * *"}]));
    // One changes, one comes.
    write(
        &place,
        &format!(
            "{}[schedules.new]\nwhen = [\"@daily\", \"every 6h\"]\nkind = \"k\"\n",
            NIGHTLY.replace("0 2 * * *", "0 3 * * *")
        ),
    );
    server.signal("HUP");
    let hour = || schedule(&server, "nightly").unwrap()["definition"]["specs"].clone();
    until("the new one and the change", || {
        schedule(&server, "new").is_some() && hour() == json!([{"cron": "0 3 * * *"}])
    });
    let changed = schedule(&server, "nightly").unwrap();
    assert_eq!(changed["status"], "paused");
    // All of them go.
    write(&place, "");
    server.signal("HUP");
    until("the deletion", || schedule(&server, "nightly").is_none() && schedule(&server, "new").is_none());
    assert!(schedule(&server, "by-hand").is_some() && schedule(&server, "taken").is_some());
}

#[test]
fn a_server_without_schedules_in_its_settings_leaves_those_of_others() {
    let place = Place::new();
    write(&place, NIGHTLY);
    Server::start(&place, &[]).stop();
    write(&place, "");
    let server = Server::start(&place, &[]);
    assert_eq!(schedule(&server, "nightly").unwrap()["origin"], "settings");
    assert!(server.log().contains("the store has some that came from settings: nightly"), "{}", server.log());
    drop(server);
    write(&place, "[schedules.other]\nwhen = \"@daily\"\nkind = \"k\"\n");
    let server = Server::start(&place, &[]);
    assert!(schedule(&server, "nightly").is_none() && schedule(&server, "other").is_some());
}

#[test]
fn what_is_wrong_in_a_schedule_of_the_settings_is_reported_with_its_line() {
    let place = Place::new();
    let text = "[schedules.a]\nwhen = \"0 0 32 * *\"\nkind = \"k\"\n[schedules.b]\nwhen = \"* * * * * *\"\nkind = \"k\"\n\
        [schedules.c]\nwhen = \"@daily\"\nzone = \"Europe/Olso\"\nkind = \"k\"\n[schedules.d]\nkind = \"k\"\n\
        [schedules.e]\nwhen = \"@daily\"\n[schedules.f]\nwhen = \"@daily\"\nkind = \"k\"\nargs = { day = \"{{nominl}}\" }\n\
        [schedules.g]\nwhen = \"@daily\"\nkind = \"k\"\noverlap = \"queue\"\ncatch_up = \"all 3\"\nends_at = \"12026-01-01\"\noverlp = \"skip\"\n\
        [schedules.h]\nwhen = \"@daily\"\nkind = \"k\"\ncatch_up = \"all 3h\"\n";
    write(&place, text);
    let said = place.run(["config", "--check"]);
    assert_eq!(said.code, 1, "{said:?}");
    for wanted in [
        "backroom.toml:2:9: `schedules.a.when` has a mistake: cron expression is wrong at character 5",
        "backroom.toml:5:9: `schedules.b.when` has a mistake: schedule fires again after 1 second",
        "backroom.toml:9:9: `schedules.c.zone` is no time zone of the IANA database; did you mean Europe/Oslo",
        "`schedules.d.when` names no expression",
        "`schedules.e.kind` names no kind",
        "backroom.toml:18:8: `schedules.f.args` has a mistake: args template",
        "`schedules.g.overlap` is no overlap; write skip",
        "`schedules.g.catch_up` has a window that has no unit",
        "`schedules.g.ends_at` is no moment between the years -9999 and 9999",
        "there is no setting `overlp` in [schedules.g]; did you mean `overlap`?",
        "`schedules.h.catch_up` has a mistake: catch-up of all occurrences with the overlap `skip`",
    ] {
        assert!(said.err.contains(wanted), "{wanted:?} is not in {}", said.err);
    }
}

#[test]
fn the_settings_of_a_schedule_are_shown() {
    let place = Place::new();
    write(&place, NIGHTLY);
    let shown = place.json(["config"]);
    let found = shown["settings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|setting| setting["key"] == "schedules.nightly.when");
    assert_eq!((&found.unwrap()["value"], &found.unwrap()["from"]["line"]), (&json!("0 2 * * *"), &json!(2)));
}

/// A receiver of one callback: its body.
fn receive(listener: &TcpListener) -> Value {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end().to_ascii_lowercase().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(_) => {}
            None if line.trim().is_empty() => break,
            None => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    reader.get_mut().write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn an_overdue_schedule_is_reported_by_callback_metrics_log_and_doctor() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let callbacks = "[callbacks]\nsend = true\nallow_unsigned = true\nallowed_addresses = [\"127.0.0.1\"]\n[metrics]\nrefresh = \"1s\"\n";
    write(
        &place,
        &format!(
            "{callbacks}[schedules.watched]\nwhen = \"@yearly\"\nkind = \"k\"\ndeadman = \"1s\"\nnotify = \"{url}\"\n"
        ),
    );
    let server = Server::start(&place, &[]);
    let event = receive(&listener);
    assert_eq!(
        (&event["type"], &event["subject"]),
        (&json!("backroom.schedule.overdue"), &json!("watched")),
        "{event}"
    );
    assert_eq!(event["data"]["type"], "overdue");
    server.line_with("no run of the schedule succeeded in time");
    let schedule = schedule(&server, "watched").unwrap();
    assert_eq!(schedule["overdue_since"], event["data"]["since"]);
    until("the metrics", || {
        server.get("/metrics").text().contains("backroom_schedules{status=\"overdue\"} 1")
    });
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains("backroom_schedule_occurrences_total{what=\"missed\"} 0"), "{metrics}");
    assert!(metrics.contains("backroom_schedule_lag_seconds ") && !metrics.contains("watched"), "{metrics}");
    let doctor = place.run(["doctor"]);
    assert!(doctor.out.contains("FAIL  schedules: overdue: no run succeeded in time: watched"), "{doctor:?}");
    let table = place.run(["schedules"]);
    assert!(table.succeeded().out.contains("overdue, active"), "{table:?}");
}

#[test]
fn a_job_that_cannot_be_made_is_shown_as_failing_and_does_not_stop_the_others() {
    let place = Place::new();
    // Its args grow over the bound only when they are filled in: the template is accepted.
    place.json([
        "schedules",
        "put",
        "good",
        "--when",
        "every 1s",
        "--frequent",
        "--kind",
        "k",
        "--overlap",
        "allow_all",
    ]);
    place.json(["schedules", "put", "bad", "--when", "every 1s", "--frequent", "--kind", "k"]);
    // As a newer version, or a hand, may leave it.
    let database = rusqlite::Connection::open(place.path("backroom.db")).unwrap();
    database
        .execute("UPDATE backroom_schedules SET definition = replace(definition, '\"kind\":\"k\"', '\"kind\":\"\"') WHERE name = 'bad'", [])
        .unwrap();
    drop(database);
    let server = Server::start(&place, &[]);
    until("a failing one", || schedule(&server, "bad").unwrap()["failing"]["of"] == "job");
    until("a run of the other", || {
        schedule(&server, "good").unwrap()["counters"]["fired"].as_u64() > Some(1)
    });
    let bad = schedule(&server, "bad").unwrap();
    assert!(bad["failing"]["why"].as_str().unwrap().contains("kind"), "{bad}");
    let doctor = place.run(["doctor"]);
    assert!(doctor.out.contains("failing: bad"), "{doctor:?}");
}
