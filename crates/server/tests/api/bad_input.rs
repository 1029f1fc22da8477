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
