//! Commands that misbehave, run by a real server: their jobs end in different ways, nothing is left, and the server goes on.

use serde_json::json;

use crate::{
    serve_support::Server,
    support::{enqueue, finished, kind, place, processes_with, until},
};

#[test]
fn commands_that_misbehave_are_ended_and_distinguished() {
    let mark = format!("misbehaving-{}", std::process::id());
    let scripts = [
        ("garbage", "head -c 1000 /dev/urandom".to_owned(), "discarded", "UTF-8"),
        ("gigabyte", "head -c 1073741824 /dev/zero; sleep 4242".into(), "discarded", "1048576"),
        ("hangs", format!(": {mark}; sleep 4242"), "discarded", "timeout"),
        ("ignores", format!("trap '' TERM; while :; do sleep 4242; done; : {mark}"), "discarded", "timeout"),
        (
            "forks",
            format!("setsid sh -c 'sleep 4242; : {mark}' & (sleep 4242; : {mark}) & echo 1"),
            "completed",
            "",
        ),
        ("closes", "exec 1>&-; exec 2>&-; exit 0".into(), "completed", ""),
        ("killed", "kill -9 $$".into(), "discarded", "signal 9"),
        ("code", "echo no >&2; exit 3".into(), "discarded", "3"),
    ];
    let settings: String = scripts.iter().map(|(name, script, ..)| kind(name, script)).collect();
    let place = place(&settings);
    let server = Server::start(&place, &[]);
    let jobs: Vec<_> = scripts
        .iter()
        .map(|(name, ..)| {
            let timeout = if matches!(*name, "hangs" | "ignores") { 2000 } else { 120_000 };
            enqueue(&server, json!({"kind": name, "args": null, "max_attempts": 1, "timeout_ms": timeout}))
        })
        .collect();
    for ((name, _, state, wanted), id) in scripts.iter().zip(&jobs) {
        let job = finished(&server, id);
        let why = job["reason"].as_str().unwrap_or_default();
        assert!(job["state"] == *state && why.contains(wanted), "{name}: {job}");
    }
    until("no process is left", || processes_with(&mark) == 0);
    let after = enqueue(&server, json!({"kind": "closes", "args": null}));
    assert_eq!(finished(&server, &after)["state"], "completed", "the server goes on");
    server.stop();
}

#[test]
fn the_timeout_of_a_kind_ends_its_commands_although_their_jobs_allow_more() {
    let mark = format!("kind-timeout-{}", std::process::id());
    let script = format!("setsid sh -c 'sleep 4242; : {mark}' & sleep 4242; : {mark}");
    let place = place(&(kind("long", &script) + "timeout = \"1s\"\n"));
    let server = Server::start(&place, &[]);
    for more in [json!({}), json!({"timeout_ms": 120_000})] {
        let mut body = json!({"kind": "long", "args": null, "max_attempts": 1});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let id = enqueue(&server, body);
        let job = finished(&server, &id);
        let why = job["reason"].as_str().unwrap_or_default();
        assert!(job["state"] == "discarded" && why.contains("timeout of 1s"), "{job}");
        let attempts = server.get(&format!("/v1/jobs/{id}/attempts")).json();
        assert_eq!(attempts["attempts"][0]["end"], "timedout", "{attempts}");
    }
    until("no process is left", || processes_with(&mark) == 0);
    server.stop();
}

#[test]
fn a_timeout_of_nothing_is_refused() {
    let place = place(&(kind("long", "exit 0") + "timeout = \"0s\"\n"));
    let said = place.run(["serve", "--listen", "127.0.0.1:0"]);
    assert!(said.code != 0 && said.err.contains("`kinds.long.timeout` is zero"), "{said:?}");
}
