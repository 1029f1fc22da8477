//! The API for workers, as a client in any language uses it, and what one that lies gets.

use serde_json::{Value, json};

use crate::{
    cli_support::Place,
    serve_support::{Answer, Server},
    support::{enqueue, finished},
};

fn worker(name: &str) -> Value {
    json!({"name": name, "kinds": ["work"], "queues": [{"name": "default", "slots": 5}], "lease_ms": 30000})
}

fn claim(server: &Server, name: &str, limit: u32) -> Value {
    let answer = server.post("/v1/claim", &json!({"worker": worker(name), "limit": limit, "wait_ms": 5000}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn commit(server: &Server, name: &str, job: &Value, outcome: Value) -> Value {
    let mut commit = outcome;
    commit["job"] = job["id"].clone();
    commit["lease"] = job["lease"].clone();
    let answer = server.post("/v1/leases/commit", &json!({"worker": name, "commits": [commit]}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["commits"][0].clone()
}

#[test]
fn a_worker_claims_reports_extends_and_commits() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let id = enqueue(&server, json!({"kind": "work", "args": {"n": 1.0}}));
    let claimed = claim(&server, "w1", 10);
    let job = &claimed["jobs"][0];
    assert_eq!(
        (&job["id"], job["args"].to_string().as_str(), &job["attempt"]),
        (&id.as_str().into(), "{\"n\":1.0}", &1.into())
    );
    let run = json!({"job": job["id"], "lease": job["lease"]});
    let mut report = run.clone();
    report["progress"] = json!({"percent": 30, "message": "on it"});
    report["lines"] = json!(["one", "two"]);
    report["first_line"] = json!(0);
    for _ in 0..2 {
        let answer = server.post("/v1/leases/report", &json!({"worker": "w1", "reports": [report]}));
        assert_eq!(answer.json()["leases"], json!(["held"]));
    }
    let lines = server.get(&format!("/v1/jobs/{id}/logs")).json();
    assert_eq!(lines["log"].as_array().unwrap().len(), 2, "{lines}");
    let extend =
        |leases: Value| server.post("/v1/leases/extend", &json!({"worker": worker("w1"), "leases": leases}));
    assert_eq!(extend(json!([run])).json(), json!({"leases": ["held"], "given_back": 0}));
    server.post(&format!("/v1/jobs/{id}/cancel"), &json!({}));
    assert_eq!(extend(json!([run])).json()["leases"], json!(["cancel"]));
    let done = json!({"outcome": "done", "output": [2.0], "ran_ms": 12});
    for _ in 0..2 {
        assert_eq!(
            commit(&server, "w1", job, done.clone()),
            json!({"status": "recorded", "state": "completed"})
        );
    }
    assert_eq!(
        commit(&server, "w1", job, json!({"outcome": "failed", "error": "no"})),
        json!({"status": "lost"})
    );
    assert_eq!(finished(&server, &id)["output"].to_string(), "[2.0]");
    assert_eq!(extend(json!([run])).json()["leases"], json!(["lost"]));
    assert_eq!(server.post("/v1/leases/leave", &json!({"worker": worker("w1")})).status, 204);
    server.stop();
}

#[test]
fn a_claim_waits_for_its_first_job_and_a_lost_one_is_found_again() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let body = json!({"worker": worker("w1"), "limit": 5, "wait_ms": 30000, "claim": "00000000-0000-4000-8000-000000000001"});
            server.post("/v1/claim", &body).json()
        });
        crate::support::until("the worker is listed", || {
            !server.get("/v1/workers").json()["workers"]
                .as_array()
                .unwrap()
                .iter()
                .all(|one| one["name"] != "w1")
        });
        enqueue(&server, json!({"kind": "work", "args": 1}));
        waiting.join().unwrap()
    });
    assert_eq!(waiting["jobs"].as_array().unwrap().len(), 1, "{waiting}");
    enqueue(&server, json!({"kind": "work", "args": 2}));
    let repeat = json!({"worker": worker("w1"), "limit": 5, "repeated": true, "claim": "00000000-0000-4000-8000-000000000001"});
    assert_eq!(server.post("/v1/claim", &repeat).json()["jobs"], waiting["jobs"]);
    let due = json!({"worker": worker("w1"), "limit": 0, "wait_ms": 5000});
    assert_eq!(server.post("/v1/claim", &due).json()["due"], true);
    server.stop();
}

#[test]
fn a_waiting_claim_ends_when_the_server_stops() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let address = server.address;
    let waiting = std::thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let body = json!({"worker": worker("w1"), "wait_ms": 60000}).to_string();
        let head = format!(
            "POST /v1/claim HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        std::io::Write::write_all(&mut stream, (head + &body).as_bytes()).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
        text
    });
    crate::support::until("the claim waits", || {
        server.get("/v1/workers").json()["workers"].to_string().contains("w1")
    });
    server.stop();
    let text = waiting.join().unwrap();
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("\"jobs\":[]"), "{text}");
}

fn with_token(server: &Server, token: &str, path: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {token}");
    server.call(
        "POST",
        path,
        &[("authorization", &bearer), ("content-type", "application/json")],
        body.to_string().as_bytes(),
    )
}

fn token(place: &Place, name: &str, scope: &str, queue: &str) -> String {
    let made = place.json(["tokens", "create", name, "--scope", scope, "--queue", queue]);
    made["secret"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
}

#[test]
fn a_worker_that_lies_about_its_queues_or_uses_the_lease_of_another_is_refused() {
    let place = Place::new();
    let (mail, mail_too, other) = (
        token(&place, "a", "work", "mail"),
        token(&place, "b", "work", "mail"),
        token(&place, "c", "work", "other"),
    );
    let admin = token(&place, "d", "admin", "*");
    let server = Server::start(&place, &[]);
    let job = json!({"kind": "work", "args": 1, "queue": "mail"});
    assert_eq!(with_token(&server, &admin, "/v1/jobs", &job).status, 202);
    let of = |name: &str, queue: &str| json!({"name": name, "kinds": ["work"], "queues": [{"name": queue}]});
    // It names a queue that its token is not valid for, at once or behind the back of its description.
    let claim = json!({"worker": of("w1", "mail"), "limit": 1});
    assert_eq!(with_token(&server, &other, "/v1/claim", &claim).status, 403);
    let claim_other = json!({"worker": of("w1", "other"), "queues": ["mail"], "limit": 1});
    assert_eq!(with_token(&server, &other, "/v1/claim", &claim_other).status, 403);
    let claimed = with_token(&server, &mail, "/v1/claim", &claim).json();
    let job = &claimed["jobs"][0];
    let run = json!({"job": job["id"], "lease": job["lease"]});
    let mut done = run.clone();
    done["outcome"] = "done".into();
    let commit = |worker: &str| json!({"worker": worker, "commits": [done]});
    assert_eq!(with_token(&server, &other, "/v1/leases/commit", &commit("w1")).status, 403);
    for worker in ["w1", "w2"] {
        let answer = with_token(&server, &mail_too, "/v1/leases/commit", &commit(worker));
        assert_eq!(answer.json()["commits"][0]["status"], "not_yours", "{}", answer.text());
    }
    let twin = json!({"worker": of("w1", "mail"), "leases": [run]});
    assert_eq!(with_token(&server, &mail_too, "/v1/leases/extend", &twin).status, 409);
    assert_eq!(
        with_token(&server, &mail, "/v1/leases/commit", &commit("w1")).json()["commits"][0]["status"],
        "recorded"
    );
    // The token of a run is no token of a caller, and the other way round.
    let run_token = job["token"].as_str().unwrap();
    assert_eq!(with_token(&server, run_token, "/v1/claim", &claim).status, 401);
    assert_eq!(with_token(&server, &mail, "/v1/lease/commit", &json!({"outcome": "done"})).status, 401);
    let late =
        with_token(&server, run_token, "/v1/lease/commit", &json!({"outcome": "failed", "error": "no"}));
    assert_eq!(late.json()["status"], "lost", "{}", late.text());
    server.stop();
}

#[test]
fn bad_requests_are_refused_with_their_reason() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let refused = |path: &str, body: Value| {
        let answer = server.post(path, &body);
        assert_eq!(answer.status, 422, "{path} {}", answer.text());
        answer.json()["detail"].as_str().unwrap().to_owned()
    };
    let detail = refused("/v1/claim", json!({"worker": worker("w"), "limit": 1001}));
    assert!(detail.contains("1001"), "{detail}");
    for wrong in [
        json!({"name": ""}),
        json!({"lease_ms": 1}),
        json!({"queues": [{"name": "backroom.callbacks"}]}),
        json!({"kinds": [""]}),
        json!({"colour": 1}),
    ] {
        let mut lying = worker("w");
        lying.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        refused("/v1/claim", json!({"worker": lying}));
    }
    let run = json!({"job": "00000000-0000-7000-8000-000000000001", "lease": "00000000-0000-4000-8000-000000000001"});
    for wrong in [
        json!({"outcome": "done", "error": "x"}),
        json!({"outcome": "failed", "output": 1}),
        json!({"outcome": "release", "delay_ms": 1}),
    ] {
        let mut commit = run.clone();
        commit.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        refused("/v1/leases/commit", json!({"worker": "w", "commits": [commit]}));
    }
    let many: Vec<_> =
        (0..1001).map(|_| json!({"job": run["job"], "lease": run["lease"], "outcome": "done"})).collect();
    refused("/v1/leases/commit", json!({"worker": "w", "commits": many}));
    server.stop();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "another process is waited for, on the machine's clock")]
fn the_job_of_a_worker_that_falls_silent_is_rescued_after_its_lease() {
    const LEASE: std::time::Duration = std::time::Duration::from_secs(2);
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let id = enqueue(&server, json!({"kind": "work", "args": 1}));
    let mut silent = worker("silent");
    silent["lease_ms"] = json!(2000);
    let claimed = server.post("/v1/claim", &json!({"worker": silent, "limit": 5})).json();
    assert_eq!(claimed["jobs"][0]["id"], *id, "{claimed}");
    let began = std::time::Instant::now();
    let again = loop {
        let answer = claim(&server, "other", 1);
        if let Some(job) = answer["jobs"].get(0) {
            break job.clone();
        }
        assert!(began.elapsed() < crate::serve_support::PATIENCE, "it is not rescued");
    };
    // On an idle machine it takes about one lease: how long is shown, how long at least is checked.
    println!("rescued after {:?}", began.elapsed());
    assert!(again["id"] == *id && began.elapsed() >= LEASE / 2, "{again} after {:?}", began.elapsed());
    let late = commit(&server, "silent", &claimed["jobs"][0], json!({"outcome": "done"}));
    assert_eq!(late["status"], "lost");
    assert_eq!(commit(&server, "other", &again, json!({"outcome": "done"}))["status"], "recorded");
    assert_eq!(finished(&server, &id)["state"], "completed");
    server.stop();
}
