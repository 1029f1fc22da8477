//! Tokens and the audit log, in processes of their own.

use serde_json::json;

use crate::cli_support::Place;

#[test]
fn a_token_is_made_listed_and_revoked() {
    let place = Place::new();
    let said =
        place.run(["tokens", "create", "--scope", "enqueue", "--queue", "mail*", "--expires", "90d", "shop"]);
    let secret = said.succeeded().out.trim_end();
    assert!(secret.starts_with("brm_") && secret.len() == 47, "{said:?}");
    let listed = place.json(["tokens"]);
    let token = &listed["tokens"][0];
    assert_eq!((&token["name"], &token["scopes"]), (&json!("shop"), &json!(["enqueue"])));
    assert_eq!((&token["queues"], &token["revoked_at"]), (&json!(["mail*"]), &json!(null)));
    assert!(!listed.to_string().contains(&secret[4..]), "{listed}");
    assert!(
        !std::fs::read(place.path("backroom.db"))
            .unwrap()
            .windows(43)
            .any(|part| part == &secret.as_bytes()[4..])
    );
    assert!(place.run(["tokens"]).succeeded().out.contains("expires in"));
    place.run(["tokens", "revoke", "shop"]).succeeded();
    assert!(place.json(["tokens", "list"])["tokens"][0]["revoked_at"].is_string());
    place.run(["tokens", "revoke", "shop"]).failed_naming("shop");
    let acts = place.json(["audit"]);
    let acts: Vec<_> = acts["entries"].as_array().unwrap().iter().map(|entry| entry["act"].clone()).collect();
    assert_eq!(acts, ["token.revoke", "token.create"]);
}

#[test]
fn a_token_needs_a_scope_that_there_is() {
    let place = Place::new();
    place.run(["tokens", "create", "shop"]).refused_naming("--scope");
    place.run(["tokens", "create", "--scope", "everything", "shop"]).refused_naming("everything");
    place.run(["tokens", "create", "--scope", "read", "--queue", "", "shop"]).refused_naming("queue pattern");
    assert!(!place.path("backroom.db").exists());
}

#[test]
fn of_two_tokens_with_one_name_neither_is_revoked_by_it() {
    let place = Place::new();
    let make =
        || place.json(["tokens", "create", "--scope", "read", "ci"])["id"].as_str().unwrap().to_owned();
    let (one, _) = (make(), make());
    place.run(["tokens", "revoke", "ci"]).failed_naming("2 tokens");
    place.run(["tokens", "revoke", &one]).succeeded();
    place.run(["tokens", "revoke", "ci"]).succeeded();
}

#[test]
fn a_queue_with_a_limit_refuses_what_exceeds_it() {
    let place = Place::new();
    place.enqueue(&["k", "--queue", "other"]);
    assert_eq!(
        place.run(["queues", "limit", "mail", "1"]).succeeded().out,
        "at most 1 jobs may wait in queue mail\n"
    );
    place.enqueue(&["k", "--queue", "mail"]);
    place.run(["enqueue", "k", "--queue", "mail"]).failed_naming("queue \"mail\" is full");
    assert_eq!(place.json(["queues"])["queues"][0]["depth_max"], 1);
    place.run(["queues", "limit", "mail", "none"]).succeeded();
    place.enqueue(&["k", "--queue", "mail"]);
    place.run(["queues", "limit", "backroom.callbacks", "1"]).failed_naming("belongs to Backroom");
}
