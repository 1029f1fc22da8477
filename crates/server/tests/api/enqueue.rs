//! Putting jobs in.

use serde_json::json;

use crate::support::{Side, doubling};

#[test]
fn a_job_is_stored_and_its_place_is_named() {
    let side = Side::new("place");
    let answer = side.post("/v1/jobs", json!({"kind": "mail", "queue": "out", "priority": 2, "tags": ["a"]}));
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.json()["outcome"], "created");
    assert_eq!(answer.header("location"), Some(format!("/v1/jobs/{id}").as_str()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    let job = side.job(&id);
    assert_eq!(
        (&job["kind"], &job["queue"], &job["shown"]),
        (&json!("mail"), &json!("out"), &json!("available"))
    );
    assert_eq!((&job["priority"], &job["args"], &job["tags"]), (&json!(2), &json!(null), &json!(["a"])));
}

#[test]
fn every_field_arrives_under_its_name() {
    let side = Side::new("fields");
    let id = side.enqueue(json!({
        "kind": "k", "args": {"a": [1]}, "queue": "q", "lane": "l", "priority": 1, "delay_ms": 60000,
        "expires_in_ms": 120_000, "max_attempts": 3, "unique": {"by": {"key": "u"}, "on_conflict": "reject"},
        "tags": ["t"], "timeout_ms": 5000, "retry": {"backoff": {"constant": 1000}}, "meta": {"m": "1"},
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }));
    let job = side.job(&id);
    let expected = [
        ("args", json!({"a": [1]})),
        ("lane", json!("l")),
        ("max_attempts", json!(3)),
        ("unique_while", json!("live")),
        ("timeout_ms", json!(5000)),
        ("meta", json!({"m": "1"})),
        ("shown", json!("scheduled")),
    ];
    for (name, value) in expected {
        assert_eq!(job[name], value, "{name}: {job}");
    }
    assert_eq!(job["retry"]["backoff"], json!({"constant": 1000}));
    let held = side.post(
        "/v1/jobs",
        json!({"kind": "k", "queue": "q", "unique": {"by": {"key": "u"}, "on_conflict": "reject"}}),
    );
    assert_eq!(held.is_problem(409, "key-held")["holder"], id);
    let kept = side.post("/v1/jobs", json!({"kind": "k", "queue": "q", "unique": {"by": {"key": "u"}}}));
    assert_eq!(
        (kept.status, &kept.json()["outcome"], &kept.json()["id"]),
        (202, &json!("deduplicated"), &json!(id))
    );
}

#[test]
fn a_waiting_enqueue_answers_with_the_finished_job() {
    let side = Side::new("waiting");
    let _worker = side.work();
    let answer = side.post("/v1/jobs?wait=60s", doubling(21));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!((&answer.json()["state"], &answer.json()["output"]), (&json!("completed"), &json!(42)));
    let headers = [("content-type", "application/json"), ("prefer", "wait=60")];
    let answer = side.server.call("POST", "/v1/jobs", &headers, doubling(4).to_string().as_bytes());
    assert_eq!((answer.status, &answer.json()["output"]), (200, &json!(8)));
    assert_eq!(answer.header("preference-applied"), Some("wait=60"));
}

#[test]
fn an_enqueue_whose_wait_is_over_answers_as_usual() {
    let side = Side::new("over");
    let answer = side.post("/v1/jobs?wait=0", doubling(1));
    assert_eq!(answer.status, 202, "{}", answer.text());
    side.post("/v1/jobs?wait=soon", doubling(1)).is_problem(422, "invalid");
}

#[test]
fn a_request_with_a_key_is_carried_out_once() {
    let side = Side::new("once");
    let call = |key: &str, body: &str| {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        side.server.call("POST", "/v1/jobs", &headers, body.as_bytes())
    };
    let first = call("\"a\"", r#"{"kind": "k"}"#);
    assert_eq!((first.status, first.header("idempotent-replayed")), (202, None));
    let again = call("\"a\"", r#"{"kind": "k"}"#);
    assert_eq!((again.status, again.header("idempotent-replayed")), (202, Some("true")));
    assert_eq!((again.json(), again.header("location")), (first.json(), first.header("location")));
    call("\"a\"", r#"{"kind":"k"}"#).is_problem(422, "key-reused");
    assert_eq!(call("b", r#"{"kind": "k"}"#).status, 202);
    assert_eq!(side.jobs(), 2);
    // What was refused frees its key.
    call("c", r#"{"kind": ""}"#).is_problem(422, "invalid");
    assert_eq!(call("c", r#"{"kind": "k"}"#).status, 202);
    call(&"x".repeat(300), r#"{"kind": "k"}"#).is_problem(400, "malformed");
}

#[test]
fn of_many_requests_with_one_key_at_once_one_is_carried_out() {
    let side = Side::new("race");
    let other = side.another();
    let headers = [("content-type", "application/json"), ("idempotency-key", "same")];
    let answers: Vec<_> = std::thread::scope(|scope| {
        let call = |server| {
            move || {
                crate::serve_support::Server::call(server, "POST", "/v1/jobs", &headers, br#"{"kind":"k"}"#)
            }
        };
        let calls: Vec<_> =
            (0..8).map(|n| scope.spawn(call(if n % 2 == 0 { &side.server } else { &other }))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let done: Vec<_> = answers.iter().filter(|answer| answer.status == 202).collect();
    assert!(!done.is_empty());
    assert!(done.iter().all(|answer| answer.json() == done[0].json()));
    for answer in answers.iter().filter(|answer| answer.status != 202) {
        answer.is_problem(409, "in-flight");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert_eq!(side.jobs(), 1);
}

#[test]
fn a_batch_is_stored_whole_or_not_at_all() {
    let side = Side::new("batch");
    let answer =
        side.post("/v1/jobs/batch", json!([{"kind": "a"}, {"kind": "b", "queue": "q"}, {"kind": "c"}]));
    assert_eq!(answer.status, 202, "{}", answer.text());
    let jobs = answer.json()["jobs"].as_array().unwrap().clone();
    let kinds: Vec<_> =
        jobs.iter().map(|job| side.job(job["id"].as_str().unwrap())["kind"].clone()).collect();
    assert_eq!(kinds, ["a", "b", "c"]);
    let problem = side
        .post("/v1/jobs/batch", json!([{"kind": "a"}, {"kind": "k", "priority": 10}]))
        .is_problem(422, "invalid");
    assert!(problem["detail"].as_str().unwrap().contains("job 1"), "{problem}");
    side.post("/v1/jobs/batch", json!([{"kind": "a"}, {"kind": "b", "nonsense": 1}]))
        .is_problem(422, "invalid");
    assert_eq!(side.jobs(), 3);
    assert_eq!(side.post("/v1/jobs/batch", json!([])).json(), json!({"jobs": []}));
}

#[test]
fn a_full_queue_answers_429_and_stores_nothing() {
    let side = Side::new("full");
    assert_eq!(side.send("PATCH", "/v1/queues/q", json!({"depth_max": 1})).json()["depth_max"], 1);
    side.enqueue(json!({"kind": "k", "queue": "q"}));
    let answer = side.post("/v1/jobs", json!({"kind": "k", "queue": "q"}));
    let problem = answer.is_problem(429, "queue-full");
    assert_eq!((&problem["depth"], &problem["limit"]), (&json!(1), &json!(1)));
    assert!(answer.header("retry-after").is_some());
    side.post("/v1/jobs/batch", json!([{"kind": "k"}, {"kind": "k", "queue": "q"}]))
        .is_problem(429, "queue-full");
    assert_eq!(side.jobs(), 1);
    side.send("PATCH", "/v1/queues/q", json!({"depth_max": null}));
    side.enqueue(json!({"kind": "k", "queue": "q"}));
}

#[test]
fn jobs_of_the_system_are_not_enqueued_by_callers() {
    let side = Side::new("system");
    let problem =
        side.post("/v1/jobs", json!({"kind": "k", "queue": "backroom.callbacks"})).is_problem(422, "invalid");
    assert!(problem["detail"].as_str().unwrap().contains("backroom."), "{problem}");
    let reply = json!({"kind": "k", "reply": {"to": "backroom.replies"}});
    let problem = side.post("/v1/jobs", reply).is_problem(422, "invalid");
    assert!(problem["detail"].as_str().unwrap().contains("reply_to \"backroom.replies\""), "{problem}");
}

#[test]
fn a_reply_that_the_settings_of_the_server_would_not_send_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backroom.toml");
    let broker = "[brokers.shop]\nurl = \"nats://127.0.0.1:9\"\naddresses = [\"answers.*\"]\n";
    std::fs::write(&file, broker).unwrap();
    let side = Side::with("reply_brokers", &["--config", file.to_str().unwrap()]);
    let reply = |to: &str| json!({"kind": "mail", "reply": {"to": to}});
    let place = crate::cli_support::Place::new();
    for (to, why) in [
        ("broker:shop/other", "brokers.shop.addresses"),
        ("broker:shoe/answers.a", "[brokers.shoe]"),
        ("broker:shop", "broker:NAME/ADDRESS"),
    ] {
        let alone = side.post("/v1/jobs", reply(to)).is_problem(422, "invalid");
        assert!(alone["detail"].as_str().unwrap().contains(why), "{alone}");
        side.post("/v1/batches", json!({"on_finish": reply(to)})).is_problem(422, "invalid");
        side.post("/v1/jobs/batch", json!([reply(to)])).is_problem(422, "invalid");
        let url = format!("http://{}", side.server.address);
        let mut command = place.command();
        let said = command.args(["enqueue", "mail", "--server", &url, "--reply-to", to]).output().unwrap();
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains(why), "{said}");
    }
    for to in ["broker:shop/answers.a", "answers"] {
        assert_eq!(side.post("/v1/jobs", reply(to)).status, 202);
    }
}
