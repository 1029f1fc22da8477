//! Who may call: tokens, their scopes, queues and ends; and a server that has none.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    cli_support::Place,
    serve_support::{Answer, PATIENCE, Server},
    side::place,
};

/// Makes a token and answers with its secret.
fn token(place: &Place, args: &[&str]) -> String {
    let answer = place.json(["tokens", "create"].iter().chain(args));
    answer["secret"].as_str().unwrap().to_owned()
}

fn with_token(server: &Server, path: &str, secret: &str) -> Answer {
    server.call("GET", path, &[("authorization", &format!("Bearer {secret}"))], b"")
}

#[test]
fn without_a_token_the_server_listens_on_this_machine_only() {
    let place = place();
    let said = place.run(["serve", "--listen", "0.0.0.0:0"]);
    said.failed_naming("no valid token");
    assert!(said.err.contains("backroom tokens create"), "{said:?}");
    // An address of this machine is allowed, and it says what that means.
    let server = Server::start(&place, &[]);
    server.line_with("the store has no token: every program of this machine may do everything");
    // A token that does not exist is refused, also where none is needed.
    with_token(&server, "/v1/queues", "brm_guess").is_problem(401, "unauthenticated");
    server.call("GET", "/v1/queues", &[("host", "evil.example")], b"").is_problem(421, "misdirected");
}

#[test]
fn a_server_with_tokens_wants_one_and_checks_its_scope() {
    let place = place();
    place.enqueue(&["k", "{}", "--queue", "mail"]);
    let reader = token(&place, &["--scope", "read", "reader"]);
    let writer = token(&place, &["--scope", "enqueue", "writer"]);
    let operator = token(&place, &["--scope", "operate", "operator"]);
    let mut command = place.command();
    command.args(["serve", "--listen", "0.0.0.0:0"]);
    let server = Server::spawn(command);
    let none = server.get("/v1/queues");
    none.is_problem(401, "unauthenticated");
    assert_eq!(none.header("www-authenticate"), Some("Bearer realm=\"backroom\""));
    for wrong in ["Bearer brm_guess", "Bearer ", "Basic YTpi", "brm_guess", "Bearer \u{fc}"] {
        let answer = server.call("GET", "/v1/queues", &[("authorization", wrong)], b"");
        answer.is_problem(401, "unauthenticated");
        assert!(answer.header("www-authenticate").unwrap().contains("invalid_token"), "{wrong}: {answer:?}");
    }
    assert_eq!(with_token(&server, "/v1/queues", &reader).status, 200);
    assert_eq!(with_token(&server, "/v1/queues", &operator).status, 200, "operate includes read");
    let answer = with_token(&server, "/v1/queues", &writer);
    answer.is_problem(403, "forbidden");
    assert!(answer.header("www-authenticate").unwrap().contains("scope=\"read\""), "{answer:?}");
    // The name of the host proves nothing where a token is needed.
    let headers = [("authorization", format!("Bearer {reader}")), ("host", "jobs.example".into())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(server.call("GET", "/v1/queues", &headers, b"").status, 200);
    // Health needs no token; metrics do.
    assert_eq!((server.get("/livez").status, server.get("/readyz").status), (200, 200));
    server.get("/metrics").is_problem(401, "unauthenticated");
    assert_eq!(with_token(&server, "/metrics", &reader).status, 200);
    server.stop();
}

#[test]
fn metrics_can_be_open() {
    let place = place();
    token(&place, &["--scope", "read", "reader"]);
    let server = Server::start(&place, &["--metrics-open", "true"]);
    assert_eq!(server.get("/metrics").status, 200);
    server.get("/v1/queues").is_problem(401, "unauthenticated");
}

#[test]
fn a_token_for_some_queues_sees_no_others() {
    let place = place();
    for queue in ["mail", "mail-eu", "pay"] {
        place.enqueue(&["k", "{}", "--queue", queue]);
    }
    let secret = token(&place, &["--scope", "read", "--queue", "mail*", "mailer"]);
    let server = Server::start(&place, &[]);
    let answer = with_token(&server, "/v1/queues", &secret).json();
    let names: Vec<_> = answer["queues"].as_array().unwrap().iter().map(|queue| &queue["name"]).collect();
    assert_eq!(names, [&json!("mail"), &json!("mail-eu")]);
    with_token(&server, "/metrics", &secret).is_problem(403, "forbidden");
}

/// Asks until the token is refused.
#[track_caller]
fn refused_at_last(server: &Server, secret: &str) {
    #[expect(clippy::disallowed_methods, reason = "a process of its own goes by real time")]
    let began = Instant::now();
    while with_token(server, "/v1/queues", secret).status != 401 {
        assert!(began.elapsed() < PATIENCE, "the token is still accepted");
        #[expect(clippy::disallowed_methods, reason = "a process of its own goes by real time")]
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_token_that_is_revoked_or_expired_is_refused_and_the_server_stays_closed() {
    let place = place();
    let first = token(&place, &["--scope", "read", "first"]);
    let short = token(&place, &["--scope", "read", "--expires", "1s", "short"]);
    let server = Server::start(&place, &[]);
    assert_eq!(with_token(&server, "/v1/queues", &first).status, 200);
    refused_at_last(&server, &short);
    place.run(["tokens", "revoke", "first"]).succeeded();
    refused_at_last(&server, &first);
    server.get("/v1/queues").is_problem(401, "unauthenticated");
}

#[test]
fn the_first_token_closes_a_server_that_runs() {
    let place = place();
    let server = Server::start(&place, &[]);
    assert_eq!(server.get("/v1/queues").status, 200);
    let secret = token(&place, &["--scope", "read", "first"]);
    #[expect(clippy::disallowed_methods, reason = "a process of its own goes by real time")]
    let began = Instant::now();
    while server.get("/v1/queues").status != 401 {
        assert!(began.elapsed() < PATIENCE, "the server is still open");
    }
    assert_eq!(with_token(&server, "/v1/queues", &secret).status, 200);
}

#[test]
fn a_secret_is_in_no_log_no_answer_and_no_metric() {
    let place = place();
    let secret = token(&place, &["--scope", "admin", "root"]);
    let mut command = place.command();
    command.env("BACKROOM_LOG", "trace").args(["serve", "--listen", "127.0.0.1:0"]);
    let server = Server::spawn(command);
    let mut answers = String::new();
    for path in ["/v1/queues", "/v1/none", "/metrics", "/livez"] {
        answers += &format!("{:?}", with_token(&server, path, &secret));
        answers += &with_token(&server, path, &secret).text();
        // A secret with a slip in it is a secret, too.
        answers += &format!("{:?}", with_token(&server, path, &secret[..46]));
    }
    let log = server.stop();
    assert!(log.contains("answered a request"), "the log says nothing of the requests: {log}");
    let secret = &secret[4..40];
    assert!(!answers.contains(secret) && !log.contains(secret), "the secret was given away:\n{log}");
}

#[test]
fn a_page_of_another_origin_changes_nothing_on_a_server_without_tokens() {
    let place = place();
    place.enqueue(&["send_mail", "-q", "mail"]);
    let server = Server::start(&place, &["--cors-origins", "https://admin.example"]);
    let pause = |origin: &str| server.call("POST", "/v1/queues/mail/pause", &[("origin", origin)], b"");
    for foreign in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        pause(foreign).is_problem(403, "forbidden");
    }
    let queues = server.get("/v1/queues").json();
    assert!(queues["queues"][0]["paused_at"].is_null(), "{queues}");
    assert_eq!(pause("https://admin.example").status, 200);
    assert_eq!(pause(&format!("http://{}", server.address)).status, 200);
    server.stop();
}
