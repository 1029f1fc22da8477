//! Tokens, the audit log, and requests that are carried out once.

use std::sync::Arc;

use backroom_core::{
    AuditEntry, QueuePattern, Scope, SecretHash, Timestamp, Token, TokenId,
    audit::AUDIT_RETENTION,
    bounds::later,
    idempotency::{Begun, IdempotencyAnswer, IdempotencyRecord, RequestEnd},
    token::ENDED_TOKENS_RETAINED,
};
use uuid::Uuid;

use super::env::{Env, json};

fn token(env: &Env, name: &str, expires_at: Option<Timestamp>) -> Token {
    Token {
        id: TokenId(env.ids.job(env.now).0),
        name: name.into(),
        scopes: vec![Scope::Enqueue, Scope::Read],
        queues: vec![QueuePattern::new("mail*").expect("a pattern")],
        created_at: env.now,
        expires_at,
        revoked_at: None,
        last_used_at: None,
        parent: None,
        barred_from: Vec::new(),
    }
}

async fn put(env: &Env, token: &Token, hash: u8) {
    let token = Arc::new(token.clone());
    env.store.put_token(token, SecretHash([hash; 32]), env.now).await.expect("put a token");
}

async fn found(env: &Env, hash: u8) -> Option<Token> {
    env.store.token_of(SecretHash([hash; 32])).await.expect("find a token")
}

pub(super) async fn a_token_is_found_by_the_hash_of_its_secret(env: Env) {
    let (one, other) = (token(&env, "one", None), token(&env, "other", Some(env.at(60))));
    put(&env, &one, 1).await;
    put(&env, &other, 2).await;
    assert_eq!(found(&env, 1).await, Some(one.clone()));
    assert_eq!(found(&env, 2).await, Some(other.clone()));
    assert_eq!(found(&env, 3).await, None);
    assert_eq!(env.store.tokens().await.expect("tokens"), [other, one]);
}

pub(super) async fn a_revoked_token_stays_revoked_since_its_first_moment(env: Env) {
    let token = token(&env, "one", None);
    put(&env, &token, 1).await;
    let revoke = |at| env.store.revoke_token(token.id, at);
    let revoked = revoke(env.at(1)).await.expect("revoke").expect("the token");
    assert_eq!(revoked.revoked_at, Some(env.at(1)));
    assert_eq!(revoke(env.at(2)).await.expect("revoke"), Some(revoked.clone()));
    assert_eq!(found(&env, 1).await, Some(revoked));
    let unknown = TokenId(env.ids.job(env.now).0);
    assert_eq!(env.store.revoke_token(unknown, env.now).await.expect("revoke"), None);
}

pub(super) async fn the_sessions_of_a_token_are_revoked_with_it(env: Env) {
    let (one, other) = (token(&env, "one", None), token(&env, "other", None));
    let session =
        |name: &str, parent: &Token| Token { parent: Some(parent.id), ..token(&env, name, Some(env.at(60))) };
    let sessions = [session("first", &one), session("second", &one), session("of-other", &other)];
    for (hash, token) in (1..).zip([&one, &other].into_iter().chain(&sessions)) {
        put(&env, token, hash).await;
    }
    env.store.revoke_token(sessions[0].id, env.at(1)).await.expect("revoke");
    let revoked = env.store.revoke_token(one.id, env.at(2)).await.expect("revoke").expect("the token");
    assert_eq!((revoked.id, revoked.revoked_at), (one.id, Some(env.at(2))));
    let mut revoked_at = Vec::new();
    for hash in 1..=5 {
        revoked_at.push(found(&env, hash).await.expect("a token").revoked_at);
    }
    assert_eq!(revoked_at, [Some(env.at(2)), None, Some(env.at(1)), Some(env.at(2)), None]);
}

pub(super) async fn the_last_use_of_a_token_never_goes_back(env: Env) {
    let token = token(&env, "one", None);
    put(&env, &token, 1).await;
    for secs in [5, 9, 7] {
        env.store.token_used(token.id, env.at(secs)).await.expect("token used");
    }
    assert_eq!(found(&env, 1).await.and_then(|token| token.last_used_at), Some(env.at(9)));
}

pub(super) async fn tokens_that_ended_long_ago_are_forgotten(env: Env) {
    let (expired, live, last) =
        (token(&env, "expired", Some(env.at(1))), token(&env, "live", None), token(&env, "last", None));
    put(&env, &expired, 1).await;
    put(&env, &live, 2).await;
    let now = later(env.at(2), ENDED_TOKENS_RETAINED);
    env.store.put_token(Arc::new(last.clone()), SecretHash([3; 32]), now).await.expect("put a token");
    assert_eq!(env.store.tokens().await.expect("tokens"), [last, live]);
}

fn entry(env: &Env, at: Timestamp, target: &str) -> AuditEntry {
    AuditEntry {
        id: env.ids.job(at).0,
        at,
        who: "ada".into(),
        act: "queue.pause".into(),
        target: target.into(),
        detail: Some(json(r#"{"jobs":3}"#)),
    }
}

async fn append(env: &Env, entry: &AuditEntry) {
    env.store.append_audit(Arc::new(entry.clone())).await.expect("append to the audit log");
}

pub(super) async fn entries_of_the_audit_log_come_newest_first_and_page_by_page(env: Env) {
    let entries: Vec<_> = (0..5).map(|n| entry(&env, env.at(n), &format!("q{n}"))).collect();
    for entry in &entries {
        append(&env, entry).await;
        append(&env, entry).await;
    }
    let newest = |count: usize| entries.iter().rev().take(count).cloned().collect::<Vec<_>>();
    assert_eq!(env.store.audit(None, 10).await.expect("audit"), newest(5));
    let page = env.store.audit(None, 2).await.expect("audit");
    assert_eq!(page, newest(2));
    let rest = env.store.audit(Some(page[1].id), 10).await.expect("audit");
    assert_eq!(rest, newest(5)[2..]);
}

pub(super) async fn entries_of_the_audit_log_go_by_age(env: Env) {
    let (old, new) = (entry(&env, env.now, "old"), entry(&env, later(env.at(1), AUDIT_RETENTION), "new"));
    append(&env, &old).await;
    append(&env, &new).await;
    assert_eq!(env.store.audit(None, 10).await.expect("audit"), [new]);
}

fn request(env: &Env, body: &str) -> IdempotencyRecord {
    IdempotencyRecord {
        key: "a-key".into(),
        body: body.into(),
        first_id: env.ids.job(env.now),
        begun_at: env.now,
        holder: env.ids.lease().0,
        held_until: env.at(60),
        expires_at: env.at(3600),
        answer: None,
    }
}

async fn begin(env: &Env, request: &IdempotencyRecord, secs: i64) -> Begun {
    let begun = env.store.begin_request(Arc::new(request.clone()), env.at(secs)).await;
    begun.expect("begin a request")
}

async fn end(env: &Env, holder: Uuid, end: RequestEnd) {
    env.store.end_request("a-key", holder, Arc::new(end)).await.expect("end a request");
}

fn answer() -> IdempotencyAnswer {
    IdempotencyAnswer { status: 202, location: Some("/v1/jobs/1".into()), body: "{\"id\":1}".into() }
}

pub(super) async fn a_request_is_carried_out_by_one_caller_at_a_time(env: Env) {
    let (one, other) = (request(&env, "body"), request(&env, "body"));
    assert_eq!(begin(&env, &one, 0).await, Begun::Yours(one.clone()));
    assert_eq!(begin(&env, &one, 0).await, Begun::Yours(one.clone()));
    assert_eq!(begin(&env, &other, 1).await, Begun::InFlight);
    assert_eq!(begin(&env, &request(&env, "another"), 1).await, Begun::OtherBody);
    let elsewhere = IdempotencyRecord { key: "another key".into(), ..other };
    assert_eq!(begin(&env, &elsewhere, 1).await, Begun::Yours(elsewhere));
}

pub(super) async fn a_request_whose_caller_died_goes_on_under_the_same_ids(env: Env) {
    let (one, other) = (request(&env, "body"), request(&env, "body"));
    begin(&env, &one, 0).await;
    let Begun::Yours(taken) = begin(&env, &other, 60).await else { panic!("it is free to be taken over") };
    assert_eq!((taken.first_id, taken.holder), (one.first_id, other.holder));
    // The first caller lives after all, too late.
    end(&env, one.holder, RequestEnd::Undone).await;
    assert_eq!(begin(&env, &other, 61).await, Begun::Yours(taken));
}

pub(super) async fn a_request_that_was_answered_is_answered_again(env: Env) {
    let (one, other) = (request(&env, "body"), request(&env, "body"));
    begin(&env, &one, 0).await;
    end(&env, one.holder, RequestEnd::Answered(answer())).await;
    assert_eq!(begin(&env, &other, 100).await, Begun::Answered(answer()));
    end(&env, one.holder, RequestEnd::Undone).await;
    assert_eq!(begin(&env, &other, 100).await, Begun::Answered(answer()));
    assert_eq!(begin(&env, &request(&env, "another"), 100).await, Begun::OtherBody);
}

pub(super) async fn a_request_that_stored_nothing_frees_its_key(env: Env) {
    let (one, other) = (request(&env, "body"), request(&env, "another"));
    begin(&env, &one, 0).await;
    end(&env, one.holder, RequestEnd::Undone).await;
    assert_eq!(begin(&env, &other, 1).await, Begun::Yours(other));
}

pub(super) async fn a_request_whose_outcome_is_unknown_is_carried_out_again(env: Env) {
    let (one, other) = (request(&env, "body"), request(&env, "body"));
    begin(&env, &one, 0).await;
    end(&env, one.holder, RequestEnd::Unknown).await;
    let Begun::Yours(taken) = begin(&env, &other, 1).await else { panic!("it is free to be taken over") };
    assert_eq!(taken.first_id, one.first_id);
}

pub(super) async fn a_key_is_free_again_after_its_time(env: Env) {
    let (one, other) = (request(&env, "body"), request(&env, "another"));
    begin(&env, &one, 0).await;
    end(&env, one.holder, RequestEnd::Answered(answer())).await;
    let late = IdempotencyRecord { expires_at: env.at(9000), ..other };
    assert_eq!(begin(&env, &late, 3600).await, Begun::Yours(late));
}
