//! Commands of the settings, run by the server itself and by workers of its own binary.

use serde_json::json;

use crate::{
    serve_support::Server,
    support::{Working, enqueue, finished, kind, place, processes_with, until},
};

#[test]
fn the_server_runs_the_commands_of_its_settings() {
    let settings = [
        "[worker]\nqueues = [\"default=2\", \"pictures=1\"]\n",
        &kind(
            "sum",
            "read args; echo \"doing $BACKROOM_KIND $BACKROOM_ATTEMPT\" >&2; echo '{\"got\":'$args'}'",
        ),
        &kind("bad", "echo 'no such thing' >&2; exit 65"),
    ];
    let place = place(&settings.concat());
    let server = Server::start(&place, &[]);
    let sum = enqueue(&server, json!({"kind": "sum", "args": [1, 2.0], "queue": "pictures"}));
    let bad = enqueue(&server, json!({"kind": "bad", "args": null}));
    let job = finished(&server, &sum);
    assert_eq!((&job["state"], job["output"].to_string()), (&"completed".into(), "{\"got\":[1,2.0]}".into()));
    let lines = server.get(&format!("/v1/jobs/{sum}/logs")).json();
    assert_eq!(lines["log"][0]["line"], "doing sum 1", "{lines}");
    let job = finished(&server, &bad);
    assert_eq!(job["state"], "discarded");
    assert!(job["reason"].as_str().unwrap().contains("no such thing"), "{job}");
    server.stop();
}

#[test]
fn a_program_that_is_missing_stops_the_start_and_is_named() {
    let place = place("[kinds.gone]\ncommand = [\"/nowhere/at-all\"]\n");
    let said = place.run(["serve", "--listen", "127.0.0.1:0"]);
    assert!(said.code == 1 && said.err.contains("/nowhere/at-all does not exist"), "{said:?}");
    place.run(["work"]).failed_naming("/nowhere/at-all");
    std::fs::write(place.path("backroom.toml"), "").unwrap();
    place.run(["work"]).failed_naming("the settings define no kind");
}

/// Reports through the API with the token of its run, in shell and curl-less Python.
const CALLS_BACK: &str = r#"
import json, os, sys, urllib.request
def call(path, body):
    request = urllib.request.Request(os.environ["BACKROOM_SERVER"] + path, json.dumps(body).encode(), {
        "authorization": "Bearer " + os.environ["BACKROOM_TOKEN"], "content-type": "application/json"})
    return json.load(urllib.request.urlopen(request))
held = call("/v1/lease/report", {"progress": {"percent": 40, "message": "half"}, "lines": ["from the program"]})
print(json.dumps(held))
"#;

#[test]
fn a_command_calls_back_with_the_token_of_its_run() {
    let settings = format!("[kinds.back]\ncommand = [\"python3\", \"-c\", '''{CALLS_BACK}''']\n");
    let place = place(&settings);
    let mut server = Server::start(&place, &[]);
    let check = |server: &Server| {
        let id = enqueue(server, json!({"kind": "back", "args": null}));
        let job = finished(server, &id);
        assert_eq!(
            (&job["output"], &job["progress"]["message"]),
            (&json!({"lease": "held"}), &"half".into()),
            "{job}"
        );
        let lines = server.get(&format!("/v1/jobs/{id}/logs")).json();
        assert_eq!(lines["log"][0]["line"], "from the program", "{lines}");
    };
    check(&server);
    server.stop();
    // The same at a worker elsewhere, whose server runs nothing itself.
    server = Server::start(&place, &["--worker-run", "false"]);
    let url = format!("http://{}", server.address);
    let working = Working::start(&place, &["--server", &url]);
    check(&server);
    for token in ["brl_0", &format!("brl_{}", "0".repeat(96))] {
        let bearer = format!("Bearer {token}");
        let answer = server.call("GET", "/v1/lease", &[("authorization", &bearer)], b"");
        assert_eq!(answer.status, 401, "{}", answer.text());
    }
    working.stop();
    server.stop();
}

#[test]
fn a_worker_at_a_server_runs_its_jobs_over_a_restart_of_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ran");
    let script = format!("read args; echo $args >> {}; echo $args", file.display());
    let place =
        place(&[&kind("note", &script), "[worker]\nrun = false\nqueues = [\"default=4\"]\n"].concat());
    let server = Server::start(&place, &[]);
    let address = server.address.to_string();
    let working = Working::start(&place, &["--server", &format!("http://{address}"), "--name", "far"]);
    let first = enqueue(&server, json!({"kind": "note", "args": 1}));
    assert_eq!(finished(&server, &first)["output"], 1);
    let workers = server.get("/v1/workers").json();
    assert_eq!((&workers["workers"][0]["name"], &workers["workers"][0]["slots"]), (&"far".into(), &4.into()));
    server.stop();
    let server = Server::start(&place, &["--listen", &address]);
    let second = enqueue(&server, json!({"kind": "note", "args": 2}));
    assert_eq!(finished(&server, &second)["output"], 2);
    working.stop();
    assert_eq!(
        server.get("/v1/workers").json()["workers"]
            .as_array()
            .map(|all| all.iter().filter(|one| one["name"] == "far").count()),
        Some(0)
    );
    server.stop();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "1\n2\n");
}

#[test]
fn a_cancelled_job_ends_its_command_at_a_worker_elsewhere() {
    let mark = format!("cancel-mark-{}", std::process::id());
    let script = format!(
        "trap '' TERM; exec 2>&1; sleep 4242 & setsid sh -c 'sleep 4242; : {mark}' & wait; wait; : {mark}"
    );
    let place = place(&[&kind("long", &script), "[worker]\nrun = false\n"].concat());
    let server = Server::start(&place, &[]);
    let working = Working::start(&place, &["--server", &format!("http://{}", server.address)]);
    let id = enqueue(&server, json!({"kind": "long", "args": null}));
    until("the command runs", || processes_with(&mark) >= 2);
    assert_eq!(server.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).status, 200);
    assert_eq!(finished(&server, &id)["state"], "cancelled");
    until("no process is left", || processes_with(&mark) == 0);
    working.stop();
    server.stop();
}
