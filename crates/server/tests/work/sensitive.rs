//! What callers must not see: hidden fields, queues for other tokens, and subjects that were forgotten.

use serde_json::{Value, json};

use crate::{
    cli_support::Place,
    serve_support::{Answer, Server},
    support::{enqueue, finished, kind, place, until},
};

const CARD: &str = "4111-1111";

/// Makes a token; answers with its id and its secret.
fn token(place: &Place, args: &[&str]) -> (String, String) {
    let made = place.json(["tokens", "create"].iter().chain(args));
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("id"), text("secret"))
}

fn call(server: &Server, method: &str, path: &str, body: &Value, secret: &str) -> Answer {
    let bearer = format!("Bearer {secret}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    server.call(method, path, &headers, &body)
}

/// The cookie of a session that a token opens.
fn signed_in(server: &Server, secret: &str) -> String {
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "same-origin")];
    let answer = server.call("POST", "/login", &headers, format!("token={secret}&to=%2Fqueues").as_bytes());
    assert_eq!(answer.status, 303, "{}", answer.text());
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

#[test]
fn hidden_fields_are_shown_to_nobody_who_has_not_asked_for_them_and_may() {
    let script =
        "read args; echo \"charged 4111-1111\" >&2; echo '{\"card\":{\"number\":\"4111-1111\"},\"ok\":true}'";
    let fails = "echo 'no such card 4111-1111' >&2; exit 65";
    let settings = [
        "[sensitive.charge]\nhide = [\"/card/number\"]\n[sensitive.refuse]\nhide = [\"/card/number\"]\n",
        &kind("charge", script),
        &kind("refuse", fails),
    ];
    let place = place(&settings.concat());
    let server = Server::start(&place, &[]);
    let args = json!({"card": {"number": CARD}, "cents": 100});
    // Their callbacks are jobs, too.
    let callback = json!({"url": "https://receiver.invalid/"});
    let charged = enqueue(&server, json!({"kind": "charge", "args": args, "callback": callback}));
    let refused = enqueue(&server, json!({"kind": "refuse", "args": args, "callback": callback}));
    assert_eq!(finished(&server, &charged)["output"]["card"]["number"], "(hidden)");
    finished(&server, &refused);
    for id in [&charged, &refused] {
        for path in ["", "/output", "/attempts", "/logs", "/explain", "/events"] {
            let answer = server.get(&format!("/v1/jobs/{id}{path}"));
            assert!(!answer.text().contains(CARD), "{path}: {}", answer.text());
        }
    }
    let callbacks = server.get("/v1/jobs?queue=backroom.callbacks").text();
    assert!(callbacks.contains(&charged) && callbacks.contains(&refused), "{callbacks}");
    assert!(callbacks.contains("(hidden)") && !callbacks.contains(CARD), "{callbacks}");
    for id in [&charged, &refused] {
        for path in ["", "/args.json", "/output.json", "/log.txt", "/attempts.txt"] {
            let answer = server.get(&format!("/jobs/{id}{path}"));
            assert!(!answer.text().contains(CARD), "{path}: {}", answer.text());
        }
    }
    let again = server.get(&format!("/enqueue?from={charged}")).text();
    assert!(!again.contains(CARD) && again.contains("Fill in what is hidden"), "{again}");
    assert_eq!(server.get(&format!("/v1/jobs/{charged}")).json()["args"]["cents"], 100);
    for path in ["/v1/jobs", "/jobs", "/"] {
        assert!(!server.get(path).text().contains(CARD), "{path}");
    }
    assert!(!server.get("/metrics").text().contains(CARD));
    assert!(!server.log().contains(CARD), "{}", server.log());
    // The command line beside the store, and what it exports.
    for args in [vec!["job", &charged], vec!["job", &refused], vec!["jobs", "--json"], vec!["tail", &charged]]
    {
        let said = place.run(args);
        assert!(!said.out.contains(CARD) && !said.err.contains(CARD), "{said:?}");
    }
    // A server without tokens permits everything, and records what was shown.
    let revealed = server.get(&format!("/v1/jobs/{charged}?reveal=true"));
    assert_eq!(revealed.json()["args"]["card"]["number"], CARD);
    assert!(server.get(&format!("/v1/jobs/{charged}/logs?reveal=true")).text().contains(CARD));
    assert!(server.get(&format!("/v1/jobs/{refused}/attempts?reveal=true")).text().contains(CARD));
    let audit = server.get("/v1/audit").json();
    let acts: Vec<_> = audit["entries"].as_array().unwrap().iter().map(|entry| &entry["act"]).collect();
    assert_eq!(acts, ["job.reveal"; 3], "{audit}");
    // With tokens it takes the scope `admin`.
    let (_, operator) = token(&place, &["--scope", "operate", "--scope", "enqueue", "ops"]);
    let (_, admin) = token(&place, &["--scope", "admin", "root"]);
    let path = format!("/v1/jobs/{charged}?reveal=true");
    server.stop();
    let server = Server::start(&place, &[]);
    call(&server, "GET", &path, &Value::Null, &operator).is_problem(403, "forbidden");
    assert!(call(&server, "GET", &path, &Value::Null, &admin).text().contains(CARD));
    server.stop();
}

#[test]
fn a_schedule_hides_what_its_jobs_hide() {
    let fails = "echo 'no such card 4111-1111' >&2; exit 65";
    let place = place(&["[sensitive.charge]\nhide = [\"/card/number\"]\n", &kind("charge", fails)].concat());
    let server = Server::start(&place, &[]);
    let put = |body: &Value, headers: &[(&str, &str)]| {
        let headers = [&[("content-type", "application/json")][..], headers].concat();
        server.call("PUT", "/v1/schedules/monthly", &headers, body.to_string().as_bytes())
    };
    let definition = |number: &str| {
        let job = json!({"kind": "charge", "args": {"card": {"number": number}, "cents": 100}});
        json!({"specs": ["@monthly"], "job": job})
    };
    let created = put(&definition(CARD), &[]);
    assert!(created.status == 201 && !created.text().contains(CARD), "{}", created.text());
    let run = server.call("POST", "/v1/schedules/monthly/trigger", &[], b"").json();
    finished(&server, run["id"].as_str().unwrap());
    until("the schedule has heard of the failure", || {
        server.get("/v1/schedules/monthly").json()["schedule"]["failing"]["why"].is_string()
    });
    let listed = ["/v1/schedules", "/v1/schedules/monthly", "/v1/schedules/monthly/history", "/v1/audit"];
    for path in listed.into_iter().chain(["/schedules/monthly", "/schedules", "/", "/audit"]) {
        let answer = server.get(path);
        assert!(answer.status == 200 && !answer.text().contains(CARD), "{path}: {}", answer.text());
    }
    for args in [&["schedules", "show", "monthly"][..], &["schedules", "history", "monthly"], &["schedules"]]
    {
        let said = place.run(args);
        assert!(!said.succeeded().out.contains(CARD), "{args:?}: {said:?}");
    }
    // What is hidden cannot be put back in place of the value, and the version is that of the whole definition.
    let read = server.get("/v1/schedules/monthly");
    put(&read.json()["schedule"]["definition"], &[]).is_problem(422, "invalid");
    let changed = put(&definition("4222"), &[("if-match", read.header("etag").unwrap())]);
    assert_eq!(changed.json()["outcome"], "changed", "{}", changed.text());
    server.stop();
}

#[test]
fn a_secure_queue_is_for_its_token_and_others_can_only_enqueue() {
    let place = place("");
    let (worker, secret) = token(&place, &["--scope", "work", "--scope", "read", "gatekeeper"]);
    let (_, admin) = token(&place, &["--scope", "admin", "root"]);
    let settings =
        format!("[secure_queues.payroll]\ntokens = [\"{worker}\"]\n[sensitive.pay]\nqueue = \"payroll\"\n");
    std::fs::write(place.path("backroom.toml"), settings).unwrap();
    let server = Server::start(&place, &[]);
    // No caller without a token comes in.
    server.get("/v1/queues").is_problem(401, "unauthenticated");
    let job = json!({"kind": "pay", "args": {"iban": CARD}, "queue": "payroll"});
    let enqueued = call(&server, "POST", "/v1/jobs", &job, &admin);
    assert_eq!(enqueued.status, 202, "{}", enqueued.text());
    let id = enqueued.json()["id"].as_str().unwrap().to_owned();
    // By mistake it gets into no other queue.
    let elsewhere = json!({"kind": "pay", "args": {"iban": CARD}});
    let refused = call(&server, "POST", "/v1/jobs", &elsewhere, &admin);
    refused.is_problem(422, "invalid");
    assert!(refused.text().contains("enqueue them into"), "{}", refused.text());
    let daily = json!({"specs": ["@daily"], "job": {"kind": "pay"}});
    call(&server, "PUT", "/v1/schedules/pays", &daily, &admin).is_problem(422, "invalid");
    let open = json!({"kind": "open", "args": null});
    assert_eq!(call(&server, "POST", "/v1/jobs", &open, &admin).status, 202);
    // A message about it would carry its output to the program that takes it.
    let reply = json!({"kind": "pay", "queue": "payroll", "reply": {"to": "results"}});
    call(&server, "POST", "/v1/jobs", &reply, &admin).is_problem(403, "forbidden");
    let callback = json!({"kind": "pay", "queue": "payroll", "callback": {"url": "https://example.org/"}});
    call(&server, "POST", "/v1/jobs", &callback, &admin).is_problem(403, "forbidden");
    // Nor does the answer to a request that waits, or a job that takes the place of another.
    let waited = call(&server, "POST", "/v1/jobs?wait=1s", &job, &admin);
    waited.is_problem(403, "forbidden");
    let unique = |on_conflict: &str| json!({"kind": "pay", "queue": "payroll", "unique": {"by": {"key": "k"}, "on_conflict": on_conflict}});
    let held = call(&server, "POST", "/v1/jobs", &unique("keep"), &secret).status;
    assert_eq!(held, 403, "its token enqueues nothing");
    assert_eq!(call(&server, "POST", "/v1/jobs", &unique("keep"), &admin).status, 202);
    call(&server, "POST", "/v1/jobs", &unique("replace"), &admin).is_problem(403, "forbidden");
    let claim = |secret: &str| {
        let body = json!({"worker": {"name": "w", "kinds": ["pay"], "queues": [{"name": "payroll"}]}});
        call(&server, "POST", "/v1/claim", &body, secret)
    };
    // The admin reads, changes and claims nothing of it.
    for path in ["", "/output", "/attempts", "/logs", "/explain", "/events"] {
        call(&server, "GET", &format!("/v1/jobs/{id}{path}"), &Value::Null, &admin)
            .is_problem(404, "not-found");
    }
    let listed = call(&server, "GET", "/v1/jobs", &Value::Null, &admin).text();
    assert!(!listed.contains(CARD) && listed.contains("\"open\""), "{listed}");
    let listed = call(&server, "GET", "/v1/jobs?queue=payroll", &Value::Null, &admin);
    assert!(!listed.text().contains(CARD), "{}", listed.text());
    for (method, path) in [("POST", "/cancel"), ("POST", "/retry"), ("DELETE", ""), ("PATCH", "")] {
        let answer = call(&server, method, &format!("/v1/jobs/{id}{path}"), &json!({}), &admin);
        assert!(matches!(answer.status, 403 | 404), "{method} {path}: {}", answer.text());
    }
    // Nor on the pages.
    let cookie = signed_in(&server, &admin);
    let page = |path: &str| server.call("GET", path, &[("cookie", &cookie)], b"");
    for path in ["", "/args.json", "/output.json", "/log.txt", "/attempts.txt"] {
        let answer = page(&format!("/jobs/{id}{path}"));
        assert!(matches!(answer.status, 403 | 404), "{path}: {}", answer.status);
    }
    for path in ["/", "/jobs", "/jobs?queue=payroll", "/queues", "/queues/payroll", "/audit", "/workers"] {
        let answer = page(path).text();
        assert!(!answer.contains(&id) && !answer.contains(CARD), "{path}: {answer}");
    }
    assert!(page("/jobs").text().contains("open"));
    // Its trees are about jobs of all queues.
    let tree = format!("/v1/jobs/{id}/tree");
    call(&server, "GET", &tree, &Value::Null, &admin).is_problem(403, "forbidden");
    call(&server, "POST", &tree, &json!({"action": "cancel"}), &admin).is_problem(403, "forbidden");
    call(&server, "POST", "/v1/queues/payroll/pause", &json!({}), &admin).is_problem(403, "forbidden");
    let all = json!({"action": "cancel", "all": true, "reason": "r"});
    let bulk = call(&server, "POST", "/v1/jobs/bulk", &all, &admin);
    assert!(bulk.status == 422 || bulk.status == 200 || bulk.status == 400, "{}", bulk.text());
    claim(&admin).is_problem(403, "forbidden");
    // An admin makes a token that names the queue, or has the name of its token. Neither opens it.
    let (_, forged) = token(&place, &["--scope", "admin", "--queue", "payroll", "gatekeeper"]);
    claim(&forged).is_problem(403, "forbidden");
    let path = format!("/v1/jobs/{id}");
    call(&server, "GET", &path, &Value::Null, &forged).is_problem(404, "not-found");
    // Its own token does.
    let found = call(&server, "GET", &path, &Value::Null, &secret);
    assert_eq!(found.json()["state"], "queued", "{}", found.text());
    place.run(["amend", &id, "--queue", "open"]).failed_naming("enqueue them into");
    assert_eq!(claim(&secret).json()["jobs"][0]["args"]["iban"], CARD);
    server.stop();
}

#[test]
fn a_delivery_becomes_no_job_of_a_sealed_kind_in_the_clear() {
    let trigger =
        "[sensitive.pay]\nsealed = \"payroll\"\n[triggers.pays]\ntype = \"hook\"\nscheme = \"none\"\n";
    let said = place(&format!("{trigger}kind = \"pay\"\n")).run(["serve", "--listen", "127.0.0.1:0"]);
    said.failed_naming("cannot seal what is delivered");
    let place = place(&format!("{trigger}kind = \"{{{{header.x-kind}}}}\"\nkinds = [\"pay\"]\n"));
    let server = Server::start(&place, &[]);
    let headers = [("content-type", "application/json"), ("idempotency-key", "one"), ("x-kind", "pay")];
    let answer =
        server.call("POST", "/v1/hooks/pays", &headers, format!("{{\"iban\":\"{CARD}\"}}").as_bytes());
    assert!(answer.text().contains("payroll"), "{}", answer.text());
    for path in ["/v1/jobs", "/v1/batches", "/v1/schedules", "/v1/audit"] {
        let graph = json!({"jobs": [{"name": "a", "job": {"kind": "pay", "args": {"iban": CARD}}}]});
        let end = json!({"on_finish": {"kind": "pay", "args": {"iban": CARD}}});
        server.post("/v1/graphs", &graph).is_problem(422, "invalid");
        server.post("/v1/batches", &end).is_problem(422, "invalid");
        let daily = json!({"specs": ["@daily"], "job": {"kind": "pay", "args": {"iban": CARD}}}).to_string();
        let json = [("content-type", "application/json")];
        server.call("PUT", "/v1/schedules/pays", &json, daily.as_bytes()).is_problem(422, "invalid");
        assert!(!server.get(path).text().contains(CARD), "{path}");
    }
    server.stop();
}

#[test]
fn a_secure_queue_needs_the_id_of_a_token() {
    let place = place("[secure_queues.payroll]\ntokens = [\"gatekeeper\"]\n");
    let said = place.run(["serve", "--listen", "127.0.0.1:0"]);
    said.failed_naming("write the id of a token");
}

#[test]
fn a_forgotten_subject_leaves_nothing_in_the_store() {
    let place = place(&kind("greet", "echo \"hello ada\" >&2; echo '\"hello ada\"'"));
    let server = Server::start(&place, &[]);
    let job = |tag: &str| json!({"kind": "greet", "args": {"name": "ada"}, "tags": [tag], "reply": {"to": "results"}});
    let open = json!({"description": "ada's letters", "on_finish": {"kind": "greet", "args": "ada", "tags": ["customer-7"]}});
    let batch = server.post("/v1/batches", &open).json()["id"].as_str().unwrap().to_owned();
    let forgotten = enqueue(&server, job("customer-7"));
    let stays = enqueue(&server, job("customer-8"));
    finished(&server, &forgotten);
    finished(&server, &stays);
    let answer = server.post("/v1/forget", &json!({"tag": "customer-7"}));
    let counted = answer.json();
    assert_eq!((&counted["jobs"], &counted["left"]), (&json!(1), &json!(0)), "{counted}");
    assert_eq!((&counted["messages"], &counted["lines"]), (&json!(1), &json!(1)), "{counted}");
    assert_eq!(counted["batches"], json!(1), "{counted}");
    let batch = server.get(&format!("/v1/batches/{batch}")).json();
    assert_eq!((&batch["state"], &batch["description"]), (&json!("open"), &Value::Null), "{batch}");
    server.get(&format!("/v1/jobs/{forgotten}")).is_problem(404, "not-found");
    assert_eq!(server.get(&format!("/v1/jobs/{stays}")).status, 200);
    let audit = server.get("/v1/audit").text();
    assert!(audit.contains("subject.forget") && !audit.contains("customer-7"), "{audit}");
    let said = place.run(["forget", "--yes", "customer-8"]);
    assert!(said.succeeded().out.contains("deleted 1 jobs"), "{said:?}");
    server.get(&format!("/v1/jobs/{stays}")).is_problem(404, "not-found");
    server.stop();
}

#[test]
fn a_queue_can_retain_nothing_after_success() {
    let place = place(&kind("greet", "echo '\"hello ada\"'"));
    place.enqueue(&["later", "--delay", "1d"]);
    place.run(["queues", "retain", "default", "--completed", "0s"]).succeeded();
    let server = Server::start(&place, &[]);
    let id = enqueue(&server, json!({"kind": "greet", "args": "ada"}));
    assert_eq!(finished(&server, &id)["state"], "completed");
    server.stop();
    // The upkeep of each minute, and of each start.
    let server = Server::start(&place, &[]);
    until("the job is deleted", || server.get(&format!("/v1/jobs/{id}")).status == 404);
    server.stop();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
fn the_time_of_a_refusal_says_nothing_about_a_token() {
    let place = place("");
    let (_, secret) = token(&place, &["--scope", "read", "reader"]);
    let server = Server::start(&place, &[]);
    let (rest, last) = secret.split_at(secret.len() - 1);
    // One guess has all but the last character, the other none after the prefix that all tokens share.
    let near = format!("{rest}{}", if last == "A" { "B" } else { "A" });
    let prefix = secret.find('_').map_or(0, |at| at + 1);
    let far: String = secret.chars().rev().take(secret.len() - prefix).collect();
    let far = format!("{}{far}", &secret[..prefix]);
    assert!(near != secret && far != secret && far.len() == secret.len());
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..400 {
        let which = round % 2;
        let began = std::time::Instant::now();
        call(&server, "GET", "/v1/queues", &Value::Null, [&near, &far][which])
            .is_problem(401, "unauthenticated");
        times[which].push(began.elapsed());
    }
    let [near, far] = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64()
    });
    // A comparison that ends at the first difference is much faster than the noise of a request, so this finds coarse differences only,
    // such as a store that is asked for one guess and not for the other.
    assert!((0.5..2.0).contains(&(near / far)), "{near} s for a near guess, {far} s for a far one");
    assert_eq!(call(&server, "GET", "/v1/queues", &Value::Null, &secret).status, 200);
    server.stop();
}
