//! Schedules over HTTP: conditions, idempotency, scopes, pages, bad input.

use serde_json::{Value, json};

use crate::support::Side;

fn daily() -> Value {
    json!({"specs": ["0 2 * * *"], "zone": "Europe/Oslo", "job": {"kind": "report", "args": {"day": "{{nominal | date}}"}}})
}

#[test]
fn a_schedule_is_put_with_conditions_on_its_version() {
    let side = Side::new("schedule_conditions");
    let call = |method: &str, headers: &[(&str, &str)], body: &Value| {
        let all: Vec<_> =
            [("content-type", "application/json")].into_iter().chain(headers.iter().copied()).collect();
        let text = if body.is_null() { String::new() } else { body.to_string() };
        side.server.call(method, "/v1/schedules/nightly", &all, text.as_bytes())
    };
    call("PUT", &[("if-match", "*")], &daily()).is_problem(412, "precondition-failed");
    let created = call("PUT", &[("if-none-match", "*")], &daily());
    assert_eq!(created.status, 201, "{}", created.text());
    let tag = created.header("etag").unwrap().to_owned();
    call("PUT", &[("if-none-match", "*")], &daily()).is_problem(412, "precondition-failed");
    assert_eq!(side.get("/v1/schedules/nightly").header("etag"), Some(tag.as_str()));
    let other = json!({"specs": ["@hourly"], "job": {"kind": "report"}});
    let changed = call("PUT", &[("if-match", &tag)], &other);
    assert_eq!((changed.status, &changed.json()["outcome"]), (200, &json!("changed")));
    call("PUT", &[("if-match", &tag)], &daily()).is_problem(412, "precondition-failed");
    call("DELETE", &[("if-match", &tag)], &Value::Null).is_problem(412, "precondition-failed");
    // A pause is no part of the definition.
    let tag = changed.header("etag").unwrap().to_owned();
    assert_eq!(side.post("/v1/schedules/nightly/pause", Value::Null).json()["status"], "paused");
    assert_eq!(side.get("/v1/schedules/nightly").header("etag"), Some(tag.as_str()));
    assert_eq!(call("DELETE", &[("if-match", &tag)], &Value::Null).status, 204);
    side.get("/v1/schedules/nightly").is_problem(404, "not-found");
    let log = side.get("/v1/audit").json();
    let acts: Vec<_> = log["entries"].as_array().unwrap().iter().map(|entry| entry["act"].clone()).collect();
    assert!(acts.contains(&json!("schedule.pause")) && acts.contains(&json!("schedule.delete")), "{log}");
}

#[test]
fn what_get_answers_can_be_put_as_it_is() {
    let side = Side::new("schedule_round");
    side.send("PUT", "/v1/schedules/a%2Fb", daily());
    let definition = side.get("/v1/schedules/a%2Fb").json()["schedule"]["definition"].clone();
    assert_eq!(definition["name"], "a/b");
    let again = side.send("PUT", "/v1/schedules/a%2Fb", definition);
    assert_eq!(again.json()["outcome"], "unchanged", "{}", again.text());
}

#[test]
fn a_trigger_is_carried_out_once_per_key() {
    let side = Side::new("schedule_trigger");
    side.send("PUT", "/v1/schedules/nightly", daily());
    let trigger = |key: &str| {
        let answer =
            side.server.call("POST", "/v1/schedules/nightly/trigger", &[("idempotency-key", key)], b"");
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer
    };
    let first = trigger("\"monday\"");
    let id = first.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(first.header("location"), Some(format!("/v1/jobs/{id}").as_str()));
    assert_eq!(trigger("monday").json()["id"], id.as_str());
    assert!(trigger("tuesday").json()["id"] != id.as_str());
    assert_eq!(side.jobs(), 2);
    let own = side.post("/v1/schedules/nightly/trigger", json!({"args": [1, "{{run_number}}"]})).json();
    assert_eq!(side.job(own["id"].as_str().unwrap())["args"], json!([1, 3]));
    side.post("/v1/schedules/nightly/trigger", json!({"arg": 1})).is_problem(422, "invalid");
    side.post("/v1/schedules/nightly/trigger", json!({"args": "{{nothing}}"})).is_problem(422, "invalid");
    side.post("/v1/schedules/none/trigger", Value::Null).is_problem(404, "not-found");
}

#[test]
fn schedules_are_listed_by_name_page_by_page() {
    let side = Side::new("schedule_pages");
    for name in ["c", "a", "b"] {
        assert_eq!(side.send("PUT", &format!("/v1/schedules/{name}"), daily()).status, 201);
    }
    let page = side.get("/v1/schedules?limit=2");
    let names = |page: &Value| {
        page["schedules"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&page.json()), ["a", "b"]);
    let link = page.header("link").unwrap().to_owned();
    let path = link.trim_start_matches('<').split('>').next().unwrap();
    let last = side.get(path).json();
    assert_eq!((names(&last), &last["next"]), (vec!["c".to_owned()], &Value::Null));
    side.get("/v1/schedules?limit=0").is_problem(422, "invalid");
    side.get("/v1/schedules?limit=1001").is_problem(422, "invalid");
    side.get("/v1/schedules/a/history?limit=0").is_problem(422, "invalid");
    assert_eq!(side.get("/v1/schedules/a/history").json(), json!({"entries": [], "next": null}));
}

#[test]
fn a_backfill_is_counted_bounded_and_followed() {
    let side = Side::new("schedule_backfill");
    side.send(
        "PUT",
        "/v1/schedules/often",
        json!({"specs": ["every 1m"], "job": {"kind": "double", "args": 1}}),
    );
    let backfill = |body: Value| side.post("/v1/schedules/often/backfill", body);
    let range = json!({"from": "2026-01-01T00:00:00Z", "until": "2026-01-01T00:10:00Z"});
    let with = |more: Value| {
        let mut body = range.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    assert_eq!(backfill(with(json!({"dry_run": true}))).json(), json!({"total": 11, "backfill": null}));
    let wide = json!({"from": "2020-01-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"});
    backfill(wide.clone()).is_problem(422, "invalid");
    let mut allowed = wide;
    allowed["allow"] = json!(1_000_000);
    backfill(allowed).is_problem(422, "invalid");
    backfill(with(json!({"until": "2199-01-01T00:00:00Z"}))).is_problem(422, "invalid");
    backfill(with(json!({"until": "2025-01-01T00:00:00Z"}))).is_problem(422, "invalid");
    backfill(with(json!({"at_once": 0}))).is_problem(422, "invalid");
    let _worker = side.work();
    let begun = backfill(with(json!({"at_once": 3})));
    assert_eq!(begun.status, 202, "{}", begun.text());
    #[expect(clippy::disallowed_methods, reason = "a process of its own goes by real time")]
    let now = std::time::Instant::now;
    let patience = now() + crate::serve_support::PATIENCE;
    loop {
        let schedule = side.get("/v1/schedules/often").json()["schedule"].clone();
        if schedule["backfill"]["ended_at"].is_string() {
            assert_eq!(
                (&schedule["backfill"]["done"], &schedule["counters"]["backfilled"]),
                (&json!(11), &json!(11))
            );
            break;
        }
        assert!(now() < patience, "{schedule}");
    }
}

#[test]
fn a_preview_stores_nothing() {
    let side = Side::new("schedule_preview");
    let body =
        json!({"specs": ["30 2 * * *"], "zone": "Europe/Oslo", "at": "2027-03-27T12:00:00Z", "next": 1});
    let preview = side.post("/v1/schedule-preview", body).json();
    assert_eq!(preview["next"][0]["clocks"]["mark"], "end_of_gap");
    assert_eq!(side.get("/v1/schedules").json()["schedules"], json!([]));
    side.send("PUT", "/v1/schedules/nightly", daily());
    assert_eq!(side.get("/v1/schedules/nightly/preview?next=3").json()["next"].as_array().unwrap().len(), 3);
    side.get("/v1/schedules/nightly/preview?next=1001").is_problem(422, "invalid");
}

#[test]
fn bad_schedules_are_refused_with_the_place_and_nothing_is_stored() {
    let side = Side::new("schedule_bad");
    let put = |body: Value, naming: &str| {
        let document = side.send("PUT", "/v1/schedules/bad", body).is_problem(422, "invalid");
        assert!(document["detail"].as_str().unwrap().contains(naming), "{document}");
    };
    let spec = |spec: &str| json!({"specs": [spec], "job": {"kind": "k"}});
    put(spec("0 0 31 2 *"), "never");
    put(spec("0 0 32 * *"), "wrong at character 5");
    put(spec("* * * * * *"), "frequent");
    put(spec("at 10000-01-01T00:00:00Z"), "is no moment");
    put(json!({"specs": ["@daily"], "zone": "Europe/Olso", "job": {"kind": "k"}}), "Europe/Oslo");
    put(json!({"specs": ["@daily"], "job": {"kind": "k", "args": "{{nominl}}"}}), "names nothing");
    put(json!({"specs": ["@daily"], "job": {"kind": "backroom.callback"}}), "backroom.");
    put(json!({"specs": [], "job": {"kind": "k"}}), "no spec");
    put(json!({"specs": vec!["@daily"; 33], "job": {"kind": "k"}}), "32");
    put(json!({"specs": [{"cron": "@daily", "zone": "UTC"}], "job": {"kind": "k"}}), "body does not fit");
    put(
        json!({"specs": ["@daily"], "starts_at": "10000-01-01T00:00:00Z", "job": {"kind": "k"}}),
        "body does not fit",
    );
    put(json!({"specs": ["@daily"], "job": {"kind": "k"}, "name": "other"}), "in the path");
    assert_eq!(side.get("/v1/schedules").json()["schedules"], json!([]));
    let long = "n".repeat(129);
    side.send("PUT", &format!("/v1/schedules/{long}"), spec("@daily")).is_problem(422, "invalid");
}

#[test]
fn a_token_reaches_the_schedules_of_its_queues_within_its_scopes() {
    let side = Side::new("schedule_scopes");
    let of_queue = |queue: &str| json!({"specs": ["@daily"], "job": {"kind": "k", "queue": queue}});
    side.send("PUT", "/v1/schedules/mine", of_queue("a"));
    side.send("PUT", "/v1/schedules/theirs", of_queue("b"));
    let admin = side.post("/v1/tokens", json!({"name": "admin", "scopes": ["admin"]})).json()["secret"]
        .as_str()
        .unwrap()
        .to_owned();
    let token = |scope: &str| {
        let headers =
            [("authorization", format!("Bearer {admin}")), ("content-type", "application/json".to_owned())];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let body = json!({"name": scope, "scopes": [scope], "queues": ["a"]}).to_string();
        side.server.call("POST", "/v1/tokens", &headers, body.as_bytes()).json()["secret"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let call = |secret: &str, method: &str, path: &str, body: &Value| {
        let bearer = format!("Bearer {secret}");
        let mut headers = vec![("authorization", bearer.as_str())];
        let text = if body.is_null() { String::new() } else { body.to_string() };
        if !body.is_null() {
            headers.push(("content-type", "application/json"));
        }
        side.server.call(method, path, &headers, text.as_bytes())
    };
    let none = Value::Null;
    let (read, enqueue, operate) = (token("read"), token("enqueue"), token("operate"));
    let listed = call(&read, "GET", "/v1/schedules", &none).json();
    assert_eq!(listed["schedules"].as_array().unwrap().len(), 1, "{listed}");
    call(&read, "GET", "/v1/schedules/theirs", &none).is_problem(404, "not-found");
    call(&read, "POST", "/v1/schedules/mine/trigger", &none).is_problem(403, "forbidden");
    call(&read, "POST", "/v1/schedules/mine/pause", &none).is_problem(403, "forbidden");
    assert_eq!(call(&enqueue, "POST", "/v1/schedules/mine/trigger", &none).status, 202);
    call(&enqueue, "POST", "/v1/schedules/theirs/trigger", &none).is_problem(404, "not-found");
    call(&enqueue, "PUT", "/v1/schedules/mine", &of_queue("a")).is_problem(403, "forbidden");
    assert_eq!(call(&operate, "PUT", "/v1/schedules/mine", &of_queue("a")).status, 200);
    call(&operate, "PUT", "/v1/schedules/mine", &of_queue("b")).is_problem(403, "forbidden");
    call(&operate, "PUT", "/v1/schedules/theirs", &of_queue("a")).is_problem(404, "not-found");
    call(&operate, "DELETE", "/v1/schedules/theirs", &none).is_problem(404, "not-found");
    assert_eq!(call(&operate, "DELETE", "/v1/schedules/mine", &none).status, 204);
}
