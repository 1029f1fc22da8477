//! Triggers of the settings: a folder and hooks become jobs, are listed, paused, tested and replayed.

use std::{
    fs,
    io::{BufReader, Write as _},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    cli_support::Place,
    serve_support::{Answer, PATIENCE, Server},
};

/// The example of the standard's own libraries; its time is long ago.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn start(place: &Place, settings: &str) -> Server {
    fs::create_dir_all(place.path("in")).unwrap();
    let folder = place.path("in").display().to_string();
    fs::write(place.path("backroom.toml"), settings.replace("FOLDER", &folder)).unwrap();
    let mut permissions = fs::metadata(place.path("backroom.toml")).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    fs::set_permissions(place.path("backroom.toml"), permissions).unwrap();
    Server::start(place, &[])
}

/// Waits until the server answers with what is asked for.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the test waits for another process")]
fn until(server: &Server, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let answer: Value = serde_json::from_slice(&server.get(path).body).unwrap();
        if holds(&answer) {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "{path} stays {answer}: {}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn jobs(server: &Server) -> Vec<Value> {
    let answer: Value = serde_json::from_slice(&server.get("/v1/jobs?limit=1000").body).unwrap();
    answer["jobs"].as_array().unwrap().clone()
}

fn hook(server: &Server, name: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    server.call("POST", &format!("/v1/hooks/{name}"), headers, body.as_bytes())
}

fn body(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

const SETTINGS: &str = r#"
[triggers.uploads]
type = "folder"
kind = "thumbnail"
path = "FOLDER"
names = ["*.jpg"]
settle = "50ms"
args = { file = "{{body/path}}", width = 320 }

[triggers.orders]
type = "hook"
scheme = "secret"
secrets = ["geheim", "next"]
kind = "{{header.ce-type}}"
kinds = ["order.created", "order.paid"]
queue = "orders"
lane = "{{key}}"

[triggers.push]
type = "hook"
scheme = "github"
secrets = ["It's a Secret to Everybody"]
kind = "build"
body = "text"
filter = ["header.x-github-event == push"]

[triggers.signed]
type = "hook"
scheme = "standard-webhooks"
secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
kind = "signed"

[triggers.open]
type = "hook"
scheme = "none"
kind = "open"
pointer = "/data"
"#;

#[test]
fn a_file_of_a_folder_becomes_a_job_with_the_args_of_the_template() {
    let place = Place::new();
    let server = start(&place, SETTINGS);
    fs::write(place.path("in/a.jpg"), "x").unwrap();
    fs::write(place.path("in/a.txt"), "x").unwrap();
    until(&server, "/v1/jobs", |jobs| !jobs["jobs"].as_array().unwrap().is_empty());
    let job = jobs(&server).remove(0);
    assert_eq!(job["kind"], "thumbnail");
    assert_eq!(job["args"], json!({ "file": place.path("in/a.jpg").display().to_string(), "width": 320 }));
    let trigger = until(&server, "/v1/triggers/uploads", |trigger| {
        trigger["readers"][0]["status"]["counters"]["enqueued"] == 1
    });
    assert_eq!((&trigger["type"], &trigger["activity"]), (&"folder".into(), &"running".into()));
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    let line = "backroom_trigger_deliveries_total{trigger=\"uploads\",outcome=\"enqueued\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    assert_eq!(jobs(&server).len(), 1, "the other file has another name");
    server.stop();
}

#[test]
fn a_hook_takes_what_has_its_proof_and_tells_refusals_apart() {
    let place = Place::new();
    let server = start(&place, SETTINGS);
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let signed =
        |event| [("x-hub-signature-256", signature), ("x-github-event", event), ("x-github-delivery", "d1")];
    let first = hook(&server, "push", &signed("push"), "Hello, World!");
    assert_eq!(first.status, 202, "{first:?}");
    let job = body(&first)["deliveries"][0]["job"].clone();
    let again = body(&hook(&server, "push", &signed("push"), "Hello, World!"));
    assert_eq!(
        (&again["deliveries"][0]["outcome"], &again["deliveries"][0]["job"]),
        (&"duplicate".into(), &job)
    );
    let other = [("x-hub-signature-256", signature), ("x-github-event", "ping"), ("x-github-delivery", "d2")];
    assert_eq!(body(&hook(&server, "push", &other, "Hello, World!"))["deliveries"][0]["outcome"], "left_out");
    assert_eq!(jobs(&server)[0]["args"], "Hello, World!");

    assert_eq!(hook(&server, "push", &signed("push"), "Hello, World").status, 401);
    assert_eq!(hook(&server, "push", &[], "Hello, World!").status, 401);
    let old = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ];
    let stale = hook(&server, "signed", &old, r#"{"test": 2432232314}"#);
    assert_eq!(stale.status, 401);
    assert!(body(&stale)["detail"].as_str().unwrap().contains("check the clocks"), "{stale:?}");
    assert_eq!(hook(&server, "nowhere", &[], "{}").status, 404);
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    for line in [
        "backroom_hook_refusals_total{trigger=\"push\",reason=\"wrong_signature\"} 1",
        "backroom_hook_refusals_total{trigger=\"push\",reason=\"unsigned\"} 1",
        "backroom_hook_refusals_total{trigger=\"signed\",reason=\"stale_timestamp\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let log = server.stop();
    assert!(log.contains("wrong_signature") && log.contains("stale_timestamp"), "{log}");
    for secret in [SECRET, "It's a Secret", "757107ea"] {
        assert!(!log.contains(secret), "the log has {secret}: {log}");
    }
}

#[test]
fn cloud_events_are_read_in_every_form_and_the_handshake_is_answered() {
    let place = Place::new();
    let server = start(&place, SETTINGS);
    let proof = ("authorization", "Bearer geheim");
    let asked =
        server.call("OPTIONS", "/v1/hooks/orders", &[("webhook-request-origin", "events.example.com")], b"");
    assert_eq!((asked.status, asked.header("webhook-allowed-origin")), (200, Some("events.example.com")));
    let binary = [
        proof,
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/shop"),
        ("ce-type", "order.created"),
        ("ce-subject", "ada"),
        ("content-type", "application/json"),
    ];
    assert_eq!(hook(&server, "orders", &binary, r#"{"n":1.50}"#).status, 202);
    let event = |id: &str, kind: &str| json!({ "specversion": "1.0", "id": id, "source": "/shop", "type": kind, "data": { "n": 2 } });
    let structured = [("x-webhook-secret", "next"), ("content-type", "application/cloudevents+json")];
    assert_eq!(hook(&server, "orders", &structured, &event("2", "order.paid").to_string()).status, 202);
    let again = body(&hook(&server, "orders", &structured, &event("1", "order.created").to_string()));
    assert_eq!(again["deliveries"][0]["outcome"], "duplicate", "the id was in the binary form");
    let batch = [proof, ("content-type", "application/cloudevents-batch+json")];
    let events = json!([event("3", "order.paid"), event("4", "order.deleted"), { "specversion": "1.0" }]);
    let answer = body(&hook(&server, "orders", &batch, &events.to_string()));
    let outcomes: Vec<_> =
        answer["deliveries"].as_array().unwrap().iter().map(|one| one["outcome"].clone()).collect();
    assert_eq!(outcomes, ["enqueued", "refused", "refused"]);
    let found = jobs(&server);
    let first = found.iter().find(|job| job["lane"] == "ada").unwrap();
    assert_eq!((&first["kind"], &first["queue"]), (&"order.created".into(), &"orders".into()));
    assert_eq!(found.len(), 3);
    let letters = body(&server.get("/v1/dead-letters?trigger=orders"));
    assert_eq!(letters["dead_letters"].as_array().unwrap().len(), 2, "{letters}");
    server.stop();
}

#[test]
fn a_malformed_event_is_the_same_dead_letter_alone_and_in_a_batch() {
    let place = Place::new();
    let server = start(&place, SETTINGS);
    let proof = ("authorization", "Bearer geheim");
    let events = [r#"{"specversion":"1.0","id":"7"}"#, r#"{"specversion":"1.0","id":"8"}"#];
    let structured = [proof, ("content-type", "application/cloudevents+json"), ("x-trace", "7")];
    let alone = hook(&server, "orders", &structured, events[0]);
    assert_eq!(alone.status, 400, "{alone:?}");
    let detail = body(&alone)["detail"].as_str().unwrap().to_owned();
    let id = detail.rsplit(' ').next().unwrap().to_owned();
    assert!(detail.contains("no `source`"), "{detail}");
    let batch = [proof, ("content-type", "application/cloudevents-batch+json")];
    let answer = body(&hook(&server, "orders", &batch, &format!("[{}]", events.join(","))));
    let letter = |n: usize| answer["deliveries"][n]["dead_letter"].as_str().unwrap().to_owned();
    assert_eq!(letter(0), id, "it is the same event");
    assert_ne!(letter(1), id);
    for (n, text) in events.iter().enumerate() {
        let stored = body(&server.get(&format!("/v1/dead-letters/{}", letter(n))));
        assert_eq!(stored["body"], **text, "{stored}");
        assert_eq!(stored["body_bytes"], text.len());
        assert!(stored["delivery"]["headers"].to_string().contains("content-type"), "{stored}");
    }
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    let counted = "backroom_trigger_deliveries_total{trigger=\"orders\",outcome=\"refused\"} 3";
    assert!(metrics.contains(counted), "{metrics}");
    let log = server.stop();
    let named: Vec<_> = log.lines().filter(|line| line.contains("a delivery became no job")).collect();
    assert_eq!(named.len(), 3, "{log}");
    let stored = |line: &&str| line.contains(&letter(0)) || line.contains(&letter(1));
    assert!(named.iter().all(stored), "the log names dead letters that exist: {named:?}");
}

#[test]
fn a_thousand_repeats_at_once_make_one_job() {
    let place = Place::new();
    let server = start(&place, SETTINGS);
    let text = r#"{"data":{"n":1}}"#;
    let connections = std::thread::scope(|scope| {
        let repeat = || {
            let mut answers = Vec::new();
            let mut stream = server.connect();
            for _ in 0..50 {
                let head = format!(
                    "POST /v1/hooks/open HTTP/1.1\r\nhost: {}\r\nidempotency-key: same\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
                    server.address,
                    text.len()
                );
                stream.write_all(head.as_bytes()).unwrap();
            }
            let mut reader = BufReader::new(stream);
            for _ in 0..50 {
                answers.push(Answer::read(&mut reader, false));
            }
            answers
        };
        let threads: Vec<_> = (0..20).map(|_| scope.spawn(repeat)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(connections.len(), 1000);
    assert!(connections.iter().all(|answer| answer.status == 202), "{:?}", connections[0]);
    let created = connections.iter().filter(|answer| body(answer)["deliveries"][0]["outcome"] == "enqueued");
    assert_eq!(created.count(), 1);
    assert_eq!(jobs(&server).len(), 1);
    assert_eq!(jobs(&server)[0]["args"], json!({ "n": 1 }));
    server.stop();
}

#[test]
fn what_cannot_become_a_job_is_a_dead_letter_and_the_command_line_replays_it() {
    let place = Place::new();
    let server = start(&place, SETTINGS);
    for (text, why) in [("{", "is no JSON"), ("{}", "has nothing at /data"), ("", "is empty")] {
        let answer = hook(&server, "open", &[], text);
        assert_eq!(answer.status, 422, "{answer:?}");
        assert!(body(&answer)["detail"].as_str().unwrap().contains(why), "{answer:?}");
    }
    let letters = place.json(["triggers", "dead-letters", "open"]);
    assert_eq!(letters["dead_letters"].as_array().unwrap().len(), 3);
    let missing = letters["dead_letters"].as_array().unwrap().iter();
    let missing =
        missing.clone().find(|letter| letter["reason"].as_str().unwrap().contains("/data")).unwrap();
    let id = missing["id"].as_str().unwrap().to_owned();
    let still = place.json(["triggers", "replay", &id]);
    assert_eq!(still["replayed"][0]["outcome"]["outcome"], "refused", "{still}");
    server.stop();
    // The mapping is mended.
    let server = start(&place, &SETTINGS.replace("pointer = \"/data\"", ""));
    let url = format!("http://{}", server.address);
    let replayed = place.json(["triggers", "replay", &id, "--server", &url]);
    assert_eq!(replayed["replayed"][0]["outcome"]["outcome"], "enqueued", "{replayed}");
    assert_eq!(jobs(&server).len(), 1);
    server.stop();
}

#[test]
fn a_paused_hook_refuses_and_the_command_line_shows_and_tests_triggers() {
    let place = Place::new();
    let server = start(&place, SETTINGS);
    let url = format!("http://{}", server.address);
    let listed = place.json(["triggers", "--server", &url]);
    let names: Vec<_> =
        listed["triggers"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["open", "orders", "push", "signed", "uploads"]);
    assert!(!listed.to_string().contains("geheim"), "{listed}");
    let tested = place.json(["triggers", "test", "open", "--body", r#"{"data":[1]}"#, "--server", &url]);
    assert_eq!((&tested["outcome"], &tested["job"]["args"]), (&"job".into(), &json!([1])));
    let tested = place.json(["triggers", "test", "push", "--body", "x", "--header", "X-GitHub-Event=ping"]);
    assert_eq!(tested["outcome"], "left_out");
    let paused = place.json(["triggers", "pause", "open", "--reason", "maintenance", "--server", &url]);
    assert_eq!((&paused["activity"], &paused["pause_reason"]), (&"paused".into(), &"maintenance".into()));
    until(&server, "/v1/triggers/open", |_| hook(&server, "open", &[], r#"{"data":1}"#).status == 503);
    place.json(["triggers", "resume", "open"]);
    until(&server, "/v1/triggers/open", |_| hook(&server, "open", &[], r#"{"data":1}"#).status == 202);
    assert!(place.run(["triggers"]).out.contains("uploads"));
    assert!(place.run(["triggers", "show", "orders"]).out.contains("order.paid"));
    server.stop();
}

#[test]
fn everything_that_is_wrong_in_the_settings_of_triggers_is_reported_at_once() {
    let place = Place::new();
    let text = "\
[triggers.a]
kind = \"k\"
[triggers.b]
type = \"foldr\"
[triggers.c]
type = \"folder\"
kind = \"{{header.x}}\"
path = \"in\"
scheme = \"github\"
[triggers.d]
type = \"hook\"
kind = \"k\"
scheme = \"github\"
[triggers.e]
type = \"hook\"
kind = \"k\"
scheme = \"none\"
queue = \"{{boddy}}\"
priority = 12
[triggers.f]
type = \"folder\"
kind = \"k\"
path = \"in\"
filter = [\"header.x = 1\"]
";
    fs::write(place.path("backroom.toml"), text).unwrap();
    let said = crate::cli_support::said(place.command().args(["config", "--check"]).output().unwrap());
    assert_eq!(said.code, 1, "{said:?}");
    for wanted in [
        "backroom.toml:1:11: `triggers.a.type` is missing; there are folder, postgres, sqlite",
        "backroom.toml:4:9: `triggers.b.type` is \"foldr\"; there are folder, postgres, sqlite",
        "`triggers.c.kind` comes from the delivery, so list the allowed ones in `kinds`",
        "`triggers.c.scheme` is a setting of the type hook, and this trigger has the type folder",
        "`triggers.d.secrets` are missing; the scheme `github` needs one",
        "`triggers.e.queue` is wrong at character 3: names nothing; there are body",
        "`triggers.e.priority` is \"12\"; write a number from 0",
        "`triggers.f.filter` \"header.x = 1\" is no condition",
    ] {
        assert!(said.err.contains(wanted), "{wanted:?} is missing in:\n{}", said.err);
    }
}

#[test]
fn the_doctor_names_triggers_that_fail_or_that_no_process_reads_and_dead_letters() {
    let place = Place::new();
    let text = "[triggers.missing]\ntype = \"folder\"\nkind = \"k\"\npath = \"nowhere\"\n\
                [triggers.open]\ntype = \"hook\"\nkind = \"k\"\nscheme = \"none\"\n";
    let server = start(&place, text);
    assert_eq!(hook(&server, "open", &[], "no json").status, 422);
    until(&server, "/v1/triggers/missing", |trigger| trigger["activity"] == "failing");
    let check = || {
        let health = place.run(["doctor", "--json"]).json();
        let checks = health["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == "triggers").cloned().unwrap()
    };
    let found = check();
    assert_eq!(found["ok"], false, "{found}");
    let said = found.to_string();
    assert!(said.contains("missing") && said.contains("make the folder"), "{said}");
    assert!(said.contains("1 dead letter"), "{said}");
    server.stop();
}
