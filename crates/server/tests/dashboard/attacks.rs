//! Attacks on the dashboard.

use crate::{
    cli_support::Place,
    filled::{Filled, SCRIPT},
    visitor::{Visitor, form, login},
};

#[test]
fn a_form_of_another_site_changes_nothing() {
    let filled = Filled::start(Place::new());
    let visitor = Visitor::new(&filled.server, &filled.token);
    let (path, key) = ("/queues/browser/pause", visitor.key());
    let right = [("form_key", key.as_str())];
    let own = format!("http://{}", filled.server.address);
    type Pairs<'a> = &'a [(&'a str, &'a str)];
    let forged: [(&str, Pairs<'_>, Pairs<'_>); 7] = [
        ("no key", &[("sec-fetch-site", "same-origin")], &[]),
        (
            "another key",
            &[("sec-fetch-site", "same-origin")],
            &[("form_key", "00000000000000000000000000000000")],
        ),
        ("another site", &[("sec-fetch-site", "cross-site")], &right),
        ("a neighbour", &[("sec-fetch-site", "same-site")], &right),
        ("another origin", &[("origin", "https://evil.example")], &right),
        ("no origin", &[("origin", "null")], &right),
        ("the same host on another port", &[("origin", "http://127.0.0.1:1")], &right),
    ];
    for (what, headers, fields) in forged {
        let answer = visitor.post_as_it_is(path, headers, fields);
        assert_eq!(answer.status, 403, "{what}: {answer:?}");
    }
    let json = visitor.call("POST", path, &[("content-type", "application/json")], "{}");
    assert_eq!(json.status, 415, "a form that a script of another site sends without asking is no JSON");
    let plain = visitor.call("POST", path, &[("content-type", "text/plain")], &form(&right));
    assert_eq!(plain.status, 415);
    let queue = filled.call("GET", "/v1/queues/browser", &serde_json::Value::Null).json();
    assert!(queue["paused_at"].is_null(), "{queue}");
    assert_eq!(visitor.post_as_it_is(path, &[("origin", &own)], &right).status, 303, "our own form works");
    // The login has no session yet: it must prove where it comes from.
    for headers in [[("sec-fetch-site", "cross-site")], [("sec-fetch-site", "none")]] {
        assert_eq!(login(&filled.server, &filled.token, &headers).status, 403);
    }
}

#[test]
fn the_key_of_one_session_is_of_no_use_in_another() {
    let filled = Filled::start(Place::new());
    let (one, other) =
        (Visitor::new(&filled.server, &filled.token), Visitor::new(&filled.server, &filled.token));
    let stolen = one.key();
    let headers = [("sec-fetch-site", "same-origin")];
    assert_eq!(other.post_as_it_is("/queues/browser/pause", &headers, &[("form_key", &stolen)]).status, 403);
}

#[test]
fn script_in_any_field_that_a_job_carries_stays_text_on_every_page() {
    let filled = Filled::start(Place::new());
    let visitor = Visitor::new(&filled.server, &filled.token);
    // Errors, logs and reasons carry it, too.
    let id = filled.data["waiting"].as_str().unwrap().to_owned();
    let reason = visitor.post(&format!("/jobs/{id}/cancel"), &[("reason", SCRIPT)]);
    assert_eq!(reason.status, 303, "{}", reason.text());
    let evil = filled.data["evil"].as_str().unwrap();
    let letter = filled.data["letters"][0].as_str().unwrap();
    let queue = form(&[("q", SCRIPT)])[2..].to_owned();
    let pages = [
        "/".to_owned(),
        "/jobs".into(),
        format!("/jobs/{evil}"),
        format!("/jobs/{id}"),
        "/batches".into(),
        format!("/batches/{}", filled.data["batch"].as_str().unwrap()),
        format!("/batches/{queue}"),
        format!("/jobs/{}", filled.data["after"].as_str().unwrap()),
        format!("/jobs?lane={queue}&worker={queue}&error={queue}"),
        format!("/jobs?priority={queue}"),
        format!("/jobs?ended={queue}"),
        "/queues".into(),
        format!("/queues/{queue}"),
        format!("/jobs?queue={queue}&tag={queue}&kind={queue}"),
        format!("/jobs?state={queue}"),
        format!("/jobs?since={queue}"),
        "/callbacks".into(),
        "/audit".into(),
        "/dead-letters".into(),
        format!("/dead-letters/{letter}"),
        format!("/enqueue?from={evil}"),
        format!("/bulk?action=retry&queue={queue}"),
        format!("/bulk?action={queue}"),
        format!("/schedules/{queue}"),
        format!("/triggers/{queue}"),
        format!("/jobs/{queue}"),
        format!("/replies/{queue}"),
        format!("/?said={queue}"),
        format!("/?span={queue}"),
        format!("/live?of={queue}"),
        format!("/login?to={queue}"),
        "/settings".into(),
        "/tokens".into(),
        "/workers".into(),
        "/schedules".into(),
        "/triggers".into(),
    ];
    for path in pages {
        let page = visitor.get(&path);
        let text = page.text();
        assert!(!text.contains("<script>alert") && !text.contains("<img src=x"), "{path}: {text}");
        if page.status == 303 {
            continue;
        }
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.contains("script-src 'self'") && policy.contains("default-src 'none'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe-inline"), "{path}: {policy}");
        assert!(!text.contains(" style=") && !text.contains(" onclick"), "{path} has something inline");
    }
}

#[test]
fn no_page_is_shown_within_another_one_and_every_answer_says_what_it_is() {
    let filled = Filled::start(Place::new());
    let visitor = Visitor::new(&filled.server, &filled.token);
    for path in ["/", "/login", "/jobs", "/jobs/none", "/nothing-here", "/assets/icon.svg", "/settings"] {
        let answer = visitor.get(path);
        let header = |name: &str| answer.header(name).unwrap_or_else(|| panic!("{path} has no {name}"));
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(header("x-frame-options"), "DENY", "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert!(["same-origin", "no-referrer"].contains(&header("referrer-policy")), "{path}");
    }
}

#[test]
fn what_a_caller_writes_cannot_become_a_header_or_a_way_out() {
    let filled = Filled::start(Place::new());
    let visitor = Visitor::new(&filled.server, &filled.token);
    for to in [
        "%0d%0aset-cookie:%20a=b",
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "%2F%2Fevil.example",
    ] {
        let answer = visitor.get(&format!("/login?to={to}"));
        assert_eq!(answer.header("location"), Some("/"), "{to}");
        assert!(answer.header("set-cookie").is_none(), "{to}");
    }
    let split = visitor.post("/queues/a%0d%0ax-evil:%201/pause", &[]);
    assert!(split.header("x-evil").is_none(), "{split:?}");
    let evil = filled.data["evil"].as_str().unwrap();
    let file = visitor.get(&format!("/jobs/{evil}/args.json"));
    assert_eq!(
        file.header("content-disposition").unwrap(),
        format!("attachment; filename=\"{evil}-args.json\"")
    );
    assert_eq!(file.header("content-type"), Some("application/json"));
}

#[test]
fn no_path_leads_out_of_the_assets() {
    let filled = Filled::start(Place::new());
    let server = &filled.server;
    for path in [
        "/assets/../backroom.toml",
        "/assets/%2e%2e/backroom.toml",
        "/assets/..%2fbackroom.toml",
        "/assets//etc/passwd",
        "/assets/%00",
        "/jobs/../settings",
        "/jobs/%2e%2e%2fsettings",
        "/assets/style.css%00.js",
    ] {
        let answer = server.get(path);
        assert!([303, 400, 404, 405, 422].contains(&answer.status), "{path}: {answer:?}");
        assert!(!answer.text().contains("the-secret-of-the-hook"), "{path}");
    }
}
