//! What bad input gets, and what odd input comes back as.

use crate::support::Side;

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

#[test]
fn what_is_no_job_is_refused_and_leaves_no_trace() {
    let side = Side::new("refuse");
    let deep = format!("{{\"kind\":\"k\",\"args\":{}{}}}", "[".repeat(101), "]".repeat(101));
    let abyss = format!("{{\"kind\":\"k\",\"args\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let large = format!("{{\"kind\":\"k\",\"args\":\"{}\"}}", "x".repeat(1024 * 1024));
    for (body, status, code, named) in [
        ("", 400, "malformed", ""),
        ("{", 400, "malformed", ""),
        ("nonsense", 400, "malformed", ""),
        ("{\"kind\":\"k\"} {}", 400, "malformed", ""),
        ("[]", 422, "invalid", ""),
        ("{}", 422, "invalid", "kind"),
        ("{\"kind\":7}", 422, "invalid", ""),
        ("{\"kind\":\"k\",\"colour\":1}", 422, "invalid", "colour"),
        ("{\"kind\":\"k\",\"kind\":\"k\"}", 422, "invalid", "kind"),
        ("{\"kind\":\"a\\u0000b\"}", 422, "invalid", "kind"),
        ("{\"kind\":\"\\ud800\"}", 400, "malformed", ""),
        ("{\"kind\":\"k\",\"priority\":2.0}", 422, "invalid", ""),
        ("{\"kind\":\"k\",\"priority\":-1}", 422, "invalid", ""),
        ("{\"kind\":\"k\",\"delay_ms\":18446744073709551616}", 422, "invalid", ""),
        ("{\"kind\":\"k\",\"delay_ms\":999999999999999}", 422, "invalid", "ten years"),
        (&deep, 422, "invalid", "101 deep"),
        (&abyss, 422, "invalid", "deep"),
        (&large, 422, "invalid", "args"),
    ] {
        let answer = side.server.call("POST", "/v1/jobs", &JSON, body.as_bytes());
        let shown: String = body.chars().take(60).collect();
        assert_eq!(answer.status, status, "{shown}: {}", answer.text());
        let problem = answer.is_problem(status, code);
        assert!(problem["detail"].as_str().unwrap().contains(named), "{shown}: {problem}");
    }
    let answer = side.server.call("POST", "/v1/jobs", &JSON, b"{\"kind\":\"\xff\"}");
    answer.is_problem(400, "malformed");
    side.server.call("POST", "/v1/jobs", &[], b"{\"kind\":\"k\"}").is_problem(415, "unsupported-media-type");
    side.server
        .call("POST", "/v1/jobs/batch", &[("content-type", "text/csv")], b"k")
        .is_problem(415, "unsupported-media-type");
    assert_eq!(side.jobs(), 0);
}

#[test]
fn odd_args_come_back_as_they_were_written() {
    let side = Side::new("odd");
    for args in [
        "9007199254740993",
        "1e400",
        "-0.0",
        "123456789012345678901234567890",
        "\"a\\u0000b\"",
        "\"\\ud800\"",
        "{\"a\":1,\"a\":2}",
        "\"\u{1f980}\"",
        "[ 1 , 2 ]",
        "null",
    ] {
        let body = format!("{{\"kind\":\"k\",\"args\":{args}}}");
        let answer = side.server.call("POST", "/v1/jobs", &JSON, body.as_bytes());
        assert_eq!(answer.status, 202, "{args}: {}", answer.text());
        let job = side.get(answer.header("location").unwrap()).text();
        assert!(job.contains(&format!("\"args\":{args},")), "{args}: {job}");
    }
}

#[test]
fn an_array_that_is_too_long_is_refused() {
    let side = Side::new("long");
    let body = format!("[{}{{\"kind\":\"k\"}}]", "{\"kind\":\"k\"},".repeat(10_000));
    side.server.call("POST", "/v1/jobs/batch", &JSON, body.as_bytes()).is_problem(413, "body-too-large");
    assert_eq!(side.jobs(), 0);
}

#[test]
fn a_nul_in_any_text_is_refused_where_text_is_meant_and_stored_where_json_is_meant() {
    let side = Side::new("nul");
    let id = side.enqueue(serde_json::json!({"kind": "k", "queue": "mail"}));
    let cancel = format!("/v1/jobs/{id}/cancel");
    let amend = format!("/v1/jobs/{id}");
    let mut wrong = Vec::new();
    for (method, path, body, status) in [
        ("POST", "/v1/jobs", r#"{"kind":"a\u0000b"}"#, 422),
        ("POST", "/v1/jobs", r#"{"kind":"k","queue":"a\u0000b"}"#, 422),
        ("POST", "/v1/jobs", r#"{"kind":"k","lane":"a\u0000b"}"#, 422),
        ("POST", "/v1/jobs", r#"{"kind":"k","tags":["a\u0000b"]}"#, 422),
        ("POST", "/v1/jobs", r#"{"kind":"k","meta":{"a\u0000b":"c"}}"#, 422),
        ("POST", "/v1/jobs", r#"{"kind":"k","meta":{"a":"b\u0000c"}}"#, 422),
        ("POST", "/v1/jobs", r#"{"kind":"k","unique":{"by":{"key":"a\u0000b"}}}"#, 422),
        (
            "POST",
            "/v1/jobs",
            r#"{"kind":"k","args":{"a\u0000b":1},"unique":{"by":{"fields":["a\u0000b"]}}}"#,
            202,
        ),
        ("POST", "/v1/jobs", r#"{"kind":"k","reply":{"to":"a\u0000b"}}"#, 422),
        ("POST", "/v1/jobs", r#"{"kind":"k","reply":{"to":"r","correlation_id":"a\u0000b"}}"#, 422),
        ("POST", "/v1/jobs", r#"{"kind":"k","callback":{"url":"http://example.com/\u0000"}}"#, 422),
        ("POST", "/v1/jobs", r#"{"kind":"k","traceparent":"\u0000"}"#, 422),
        ("PATCH", &amend, r#"{"args":"a\u0000b"}"#, 200),
        (
            "POST",
            "/v1/jobs/bulk",
            r#"{"action":"cancel","filter":{"queue":"none"},"reason":"a\u0000b"}"#,
            422,
        ),
        ("POST", "/v1/jobs/bulk", r#"{"action":"cancel","filter":{"tag":"a\u0000b"}}"#, 422),
        ("POST", &cancel, r#"{"reason":"a\u0000b"}"#, 422),
        ("POST", "/v1/tokens", r#"{"name":"a\u0000b","scopes":["read"]}"#, 422),
        ("POST", "/v1/tokens", r#"{"name":"a","scopes":["read"],"queues":["a\u0000b"]}"#, 422),
        ("PATCH", "/v1/queues/a%00b", r#"{"depth_max":5}"#, 422),
        ("POST", "/v1/queues/a%00b/pause", "", 422),
        ("POST", "/v1/queues/a%00b/resume", "", 404),
        ("GET", "/v1/queues/a%00b", "", 404),
        ("GET", "/v1/scaling/a%00b", "", 422),
        ("GET", "/v1/jobs?queue=a%00b", "", 422),
        ("GET", "/v1/jobs?tag=a%00b", "", 422),
        ("GET", "/v1/jobs?kind=a%00b", "", 422),
        ("GET", "/v1/jobs?state=a%00b", "", 422),
        ("POST", "/v1/replies/a%00b/take", "{}", 422),
    ] {
        let headers = if body.is_empty() { &[][..] } else { &JSON[..] };
        let answer = side.server.call(method, path, headers, body.as_bytes());
        if answer.status != status {
            wrong.push(format!(
                "{method} {path} {body}: {} and not {status}: {}",
                answer.status,
                answer.text()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_refused_alone_is_refused_in_an_array_and_on_a_line() {
    let side = Side::new("everywhere");
    for job in [
        "{\"kind\":\"k\",\"kind\":\"k\"}".to_owned(),
        "{\"kind\":\"a\\u0000b\"}".to_owned(),
        "{\"kind\":\"\\ud800\"}".to_owned(),
        format!("{{\"kind\":\"k\",\"args\":{}{}}}", "[".repeat(101), "]".repeat(101)),
        format!("{{\"kind\":\"k\",\"args\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("{{\"kind\":\"k\",\"args\":\"{}\"}}", "x".repeat(1024 * 1024)),
        "{\"kind\":\"k\",\"delay_ms\":9007199254740993.0}".to_owned(),
    ] {
        let shown: String = job.chars().take(60).collect();
        let alone = side.server.call("POST", "/v1/jobs", &JSON, job.as_bytes());
        let code = alone.json()["code"].clone();
        assert!([400, 422].contains(&alone.status), "{shown}: {}", alone.text());
        let array = format!("[{{\"kind\":\"good\"}},{job}]");
        let array = side.server.call("POST", "/v1/jobs/batch", &JSON, array.as_bytes());
        assert_eq!((array.status, &array.json()["code"]), (alone.status, &code), "{shown}");
        let lines = [("content-type", "application/x-ndjson")];
        let line = side.server.call("POST", "/v1/jobs/batch", &lines, job.as_bytes());
        assert_eq!(line.json()["code"], code, "{shown}: {}", line.text());
    }
    assert_eq!(side.jobs(), 0);
}

#[test]
fn args_come_back_the_same_from_an_array_and_a_line() {
    let side = Side::new("same");
    for args in
        ["9007199254740993", "1e400", "\"a\\u0000b\"", "\"\\ud800\"", "{\"a\":1,\"a\":2}", "[ 1 , 2 ]"]
    {
        let job = format!("{{\"kind\":\"k\",\"args\":{args}}}");
        let array = side.server.call("POST", "/v1/jobs/batch", &JSON, format!("[{job}]").as_bytes()).json();
        let lines = [("content-type", "application/x-ndjson")];
        let line = side.server.call("POST", "/v1/jobs/batch", &lines, job.as_bytes()).json();
        for id in [&array["jobs"][0]["id"], &line["id"]] {
            let job = side.get(&format!("/v1/jobs/{}", id.as_str().unwrap())).text();
            assert!(job.contains(&format!("\"args\":{args},")), "{args}: {job}");
        }
    }
}
