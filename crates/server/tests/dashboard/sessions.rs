//! Sessions: how they begin and end, and what their cookie is good for.

use crate::{
    cli_support::Place,
    filled::Filled,
    serve_support::{Server, eventually},
    visitor::{Visitor, login},
};

#[test]
fn a_session_begins_with_a_login_and_ends_with_its_end_or_that_of_its_token() {
    let filled = Filled::start(Place::new());
    let (server, place) = (&filled.server, &filled.place);
    let unknown = Visitor::unknown(server);
    let led = unknown.get("/jobs?state=running");
    assert_eq!((led.status, led.header("location")), (303, Some("/login?to=%2Fjobs%3Fstate%3Drunning")));
    assert_eq!(login(server, "brm_guess", &[]).status, 403);
    assert_eq!(login(server, "", &[]).status, 403);

    let visitor = Visitor::new(server, &filled.token);
    assert_eq!(visitor.get("/queues").status, 200);
    let cookie = visitor.cookie.clone().unwrap();
    assert!(!cookie.contains(&filled.token[4..]), "the token itself is not in the cookie");
    let bearer = format!("Bearer {}", cookie.split('=').nth(1).unwrap());
    server.call("GET", "/v1/jobs", &[("authorization", &bearer)], b"").is_problem(401, "unauthenticated");
    server.call("GET", "/v1/jobs", &[("cookie", &cookie)], b"").is_problem(401, "unauthenticated");
    let token_as_cookie = Visitor { server, cookie: Some(format!("backroom={}", filled.token)) };
    assert_eq!(token_as_cookie.get("/queues").status, 303, "a token is no session");

    let signed_out = visitor.post("/logout", &[]);
    assert!(signed_out.header("set-cookie").unwrap().contains("Max-Age=0"), "{signed_out:?}");
    assert_eq!(visitor.get("/queues").status, 303, "its session is over for every copy of the cookie");

    let said = place.run(["tokens", "create", "--scope", "read", "guest"]);
    let guest = Visitor::new(server, said.succeeded().out.trim_end());
    assert_eq!(guest.get("/queues").status, 200);
    place.run(["tokens", "revoke", "guest"]).succeeded();
    eventually("the session ends with its token", || guest.get("/queues").status == 303);
}

#[test]
fn a_login_makes_a_session_of_its_own_and_ends_the_one_that_was_there() {
    let filled = Filled::start(Place::new());
    let server = &filled.server;
    // A cookie that another site planted is not taken over.
    let planted = login(server, &filled.token, &[("cookie", "backroom=brm_planted")]);
    let cookie = planted.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains("planted"));
    let first = Visitor { server, cookie: Some(cookie.split(';').next().unwrap().to_owned()) };
    assert_eq!(first.get("/queues").status, 200);
    let again = login(server, &filled.token, &[("cookie", first.cookie.as_deref().unwrap())]);
    assert_ne!(again.header("set-cookie").unwrap(), cookie, "each login has a new secret");
    assert_eq!(first.get("/queues").status, 303, "the session before is over");
}

#[test]
fn a_session_outlives_a_restart_of_the_server() {
    let filled = Filled::start(Place::new());
    let visitor = Visitor::new(&filled.server, &filled.token);
    let (cookie, key) = (visitor.cookie.clone(), visitor.key());
    let Filled { place, server, .. } = filled;
    server.stop();
    let server = Server::start(&place, &[]);
    let visitor = Visitor { server: &server, cookie };
    assert_eq!(visitor.get("/queues").status, 200);
    assert_eq!(visitor.key(), key, "a form that was open is still good");
    server.stop();
}

#[test]
fn the_secret_of_a_session_is_not_in_the_store() {
    let filled = Filled::start(Place::new());
    let visitor = Visitor::new(&filled.server, &filled.token);
    let secret = visitor.cookie.unwrap().split('=').nth(1).unwrap()[4..].to_owned();
    for file in ["backroom.db", "backroom.db-wal"] {
        let bytes = std::fs::read(filled.place.path(file)).unwrap();
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{file}");
    }
}

#[test]
fn a_user_of_a_reverse_proxy_needs_no_token_and_the_header_alone_proves_nothing() {
    let place = Place::new();
    let settings = ["--proxy-user-header", "x-forwarded-user", "--proxy-users", "ann=operate,*=read"];
    let server = Server::start(&place, &[&settings[..], &["--proxy-secret", "0123456789abcdef"]].concat());
    let secret = ("x-backroom-proxy-secret", "0123456789abcdef");
    let get = |headers: &[(&str, &str)], path: &str| server.call("GET", path, headers, b"");
    // The server has no token, but not every caller is a program of this machine any more.
    assert_eq!(get(&[], "/queues").header("location"), Some("/login?to=%2Fqueues"));
    assert_eq!(get(&[("x-forwarded-user", "ann")], "/queues").status, 303, "anyone can send the name");
    let wrong = [("x-backroom-proxy-secret", "0123456789abcdeg"), ("x-forwarded-user", "ann")];
    assert_eq!(get(&wrong, "/queues").status, 403);
    get(&[secret, ("x-forwarded-user", "ann")], "/v1/jobs").is_problem(401, "unauthenticated");
    let page = get(&[secret, ("x-forwarded-user", "ann")], "/queues");
    let text = page.text();
    assert!(
        page.status == 200 && text.contains("<strong>ann</strong>") && !text.contains("Sign out"),
        "{text}"
    );
    let enqueue = get(&[secret, ("x-forwarded-user", "ann")], "/enqueue").text();
    let at = enqueue.find("name=\"form_key\" value=\"").unwrap();
    let key = enqueue[at..].split('"').nth(3).unwrap();
    let pause = |user: &str, key: &str| {
        let headers = [
            secret,
            ("x-forwarded-user", user),
            ("sec-fetch-site", "same-origin"),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let body = crate::visitor::form(&[("form_key", key)]);
        server.call("POST", "/queues/mails/pause", &headers, body.as_bytes()).status
    };
    assert_eq!((pause("ann", "guess"), pause("bob", key), pause("ann", key)), (403, 403, 303));
    assert_eq!(get(&[secret, ("x-forwarded-user", "ann")], "/tokens").status, 403, "she is no admin");
    assert_eq!(get(&[secret, ("x-forwarded-user", "bob")], "/queues").status, 200);
    server.stop();
    let log = place.run(["audit", "--json"]);
    assert!(log.succeeded().out.contains("user ann of the proxy, on the pages"), "{log:?}");
}
