//! `kill -9` of server and worker under load: nothing that was acknowledged is lost, each job ends once, and no command outlives its job.

use std::{collections::HashMap, fs};

use serde_json::json;

use crate::{
    serve_support::Server,
    support::{Working, finished, kind, place, processes_with, until},
};

const KILLS: usize = 30;
const JOBS_PER_KILL: usize = 10;

#[test]
fn thirty_kills_of_server_and_worker_lose_nothing_and_leave_no_process() {
    let mark = format!("kill-mark-{}", std::process::id());
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ended");
    // Each run of a job notes its end, and leaves a child that would go on.
    let script = format!(
        "read args; (sleep 4242; : {mark}) & echo \"$BACKROOM_JOB_ID\" >> {}; echo $args",
        ledger.display()
    );
    let place = place(
        &[&kind("note", &script), "[worker]\nrun = false\nqueues = [\"default=4\"]\ngrace = \"1s\"\n"]
            .concat(),
    );
    let mut server = Server::start(&place, &[]);
    let address = server.address.to_string();
    let url = format!("http://{address}");
    let work = || Working::start(&place, &["--server", &url]);
    let mut working = work();
    let mut acknowledged: Vec<String> = Vec::new();
    for kill in 0..KILLS {
        let jobs: Vec<_> = (0..JOBS_PER_KILL)
            .map(|n| json!({"kind": "note", "args": kill * 100 + n, "max_attempts": 20}))
            .collect();
        let answer = server.post("/v1/jobs/batch", &json!(jobs));
        assert!(answer.status < 300, "{}", answer.text());
        let answer = answer.json();
        let ids = answer["jobs"].as_array().unwrap_or_else(|| panic!("{answer}"));
        acknowledged.extend(ids.iter().map(|job| job["id"].as_str().unwrap().to_owned()));
        // Some jobs run, differently many in each life.
        let ran = || fs::read_to_string(&ledger).unwrap_or_default().lines().count();
        let enough = ran() + 1 + kill % 4;
        until("jobs run", || ran() >= enough);
        if kill % 2 == 0 {
            working.kill();
            working = work();
        } else {
            drop(server);
            server = Server::start(&place, &["--listen", &address]);
        }
    }
    let mut states: HashMap<String, usize> = HashMap::new();
    for id in &acknowledged {
        let job = finished(&server, id);
        *states.entry(job["state"].as_str().unwrap().to_owned()).or_default() += 1;
        // A lease has at most one record, and the run that succeeded has none.
        let attempts = server.get(&format!("/v1/jobs/{id}/attempts")).json();
        let mut leases: Vec<_> = attempts["attempts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|attempt| attempt["lease_id"].to_string())
            .collect();
        leases.push(job["lease_id"].to_string());
        let count = leases.len();
        leases.sort();
        leases.dedup();
        assert_eq!(leases.len(), count, "{job} {attempts}");
    }
    assert_eq!(states, HashMap::from([("completed".to_owned(), acknowledged.len())]));
    working.stop();
    until("no process is left", || processes_with(&mark) == 0);
    server.stop();
}
