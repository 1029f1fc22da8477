//! Visitors whom a reverse proxy has authenticated: it names each in a header, and proves itself with a secret.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};
use backroom::{Timestamp, Token, TokenId, core::bounds::check_name};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Trouble, shared::form_key};
use crate::{
    api::{caller::Identity, codes::Code, problem::Problem},
    config::{ProxySettings, proxy::scopes_of},
};

/// The header in which the proxy proves itself.
static SECRET_HEADER: HeaderName = HeaderName::from_static("x-backroom-proxy-secret");

/// The visitor that the proxy names, with the key of their forms. None for a request that did not come through the proxy. Secure queues are
/// for the tokens that the settings name, so no visitor sees one.
pub(super) fn user(
    headers: &HeaderMap,
    settings: &ProxySettings,
    secure_queues: impl FnOnce() -> Vec<String>,
) -> Result<Option<(Identity, String)>, Trouble> {
    let (Some(header), Some(secret)) = (&settings.user_header, &settings.secret) else { return Ok(None) };
    let Some(shown) = headers.get(&SECRET_HEADER) else { return Ok(None) };
    // Equal lengths are compared in constant time; the length of a secret is no secret.
    if !bool::from(shown.as_bytes().ct_eq(secret.0.as_bytes())) {
        return Err(refused("the secret of the proxy is not that of the setting proxy.secret"));
    }
    let mut named = headers.get_all(header).into_iter();
    let name = match (named.next(), named.next()) {
        (Some(name), None) => {
            std::str::from_utf8(name.as_bytes()).ok().filter(|name| check_name("user", name).is_ok())
        }
        (Some(_), Some(_)) => return Err(refused("the proxy names two users")),
        (None, _) => None,
    };
    let Some(name) = name else { return Err(refused("the proxy names no user")) };
    let Some(scopes) = scopes_of(settings, name) else {
        return Err(refused("this user has no role here: an operator adds one to the setting proxy.users"));
    };
    let key = key_of(&secret.0, name);
    let token = Token {
        id: id_of(name),
        name: name.to_owned(),
        scopes: scopes.to_vec(),
        queues: Vec::new(),
        barred_from: secure_queues(),
        created_at: Timestamp::UNIX_EPOCH,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
        parent: None,
    };
    Ok(Some((Identity::User(Arc::new(token)), key)))
}

fn refused(why: &str) -> Trouble {
    Problem::new(Code::Forbidden, why).into()
}

/// Whether a user still has the role that they came with, and the proxy still proves itself with the same secret: both can change while a
/// page is open.
pub(super) fn is_still(settings: &ProxySettings, user: &Token, key: &str) -> bool {
    let (Some(_), Some(secret)) = (&settings.user_header, &settings.secret) else { return false };
    scopes_of(settings, &user.name).is_some_and(|scopes| scopes == user.scopes)
        && key_of(&secret.0, &user.name) == key
}

/// The key of the forms of a user.
fn key_of(secret: &str, name: &str) -> String {
    form_key(format!("{secret}\n{name}").as_bytes())
}

/// The same for each request of a user.
fn id_of(name: &str) -> TokenId {
    let hash = Sha256::digest(format!("user of the proxy\n{name}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    TokenId(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::{api::caller::Caller, config::Secret};

    fn settings() -> ProxySettings {
        ProxySettings {
            user_header: Some("x-user".into()),
            secret: Some(Secret("0123456789abcdef".into())),
            users: vec!["ann=admin".into()],
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    const RIGHT: (&str, &str) = ("x-backroom-proxy-secret", "0123456789abcdef");

    #[test]
    fn the_header_counts_only_with_the_secret() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            user(&headers(pairs), &settings(), || vec!["secret".into()])
        };
        let (identity, key) = of(&[RIGHT, ("x-user", "ann")]).unwrap().unwrap();
        let caller = Caller { identity, from: None };
        assert_eq!((caller.said().as_str(), key.len()), ("user ann of the proxy", 32));
        assert!(caller.sees("mail") && !caller.sees("secret"), "a secure queue is for tokens that are named");
        assert!(of(&[("x-user", "ann")]).unwrap().is_none(), "then it is an ordinary visitor");
        assert!(of(&[("x-backroom-proxy-secret", "0123456789abcdeg"), ("x-user", "ann")]).is_err());
        assert!(of(&[RIGHT]).is_err() && of(&[RIGHT, ("x-user", "")]).is_err());
        assert!(of(&[RIGHT, ("x-user", "bob")]).is_err(), "no role");
        assert!(of(&[RIGHT, ("x-user", "ann"), ("x-user", "bob")]).is_err());
        let off = ProxySettings { user_header: None, secret: None, users: Vec::new() };
        assert!(user(&headers(&[RIGHT, ("x-user", "ann")]), &off, Vec::new).unwrap().is_none());
    }

    #[test]
    fn a_page_that_is_open_ends_when_the_role_or_the_secret_changes() {
        let came = user(&headers(&[RIGHT, ("x-user", "ann")]), &settings(), Vec::new).unwrap().unwrap();
        let (Identity::User(ann), key) = came else { panic!("the proxy names users") };
        assert!(is_still(&settings(), &ann, &key));
        let users = |users: &[&str]| users.iter().map(|&user| user.to_owned()).collect::<Vec<_>>();
        let reader = ProxySettings { users: users(&["ann=read"]), ..settings() };
        let gone = ProxySettings { users: users(&["bob=admin"]), ..settings() };
        let renewed = ProxySettings { secret: Some(Secret("fedcba9876543210".into())), ..settings() };
        let off = ProxySettings { user_header: None, ..settings() };
        for changed in [reader, gone, renewed, off] {
            assert!(!is_still(&changed, &ann, &key), "{changed:?}");
        }
    }
}
