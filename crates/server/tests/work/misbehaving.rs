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
