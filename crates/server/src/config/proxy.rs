//! A reverse proxy that authenticates visitors of the dashboard.

use axum::http::HeaderName;
use backroom::{Scope, core::bounds::check_name};

use super::ProxySettings;

/// Stands for every user without a role of its own.
const OTHERS: &str = "*";
/// Shortest secret of a proxy.
const SECRET_BYTES_MIN: usize = 16;

/// What a user of a role may do.
fn scopes(role: &str) -> Option<&'static [Scope]> {
    Some(match role {
        "read" => &[Scope::Read],
        "operate" => &[Scope::Enqueue, Scope::Operate],
        "admin" => &[Scope::Admin],
        _ => return None,
    })
}

/// What a user may do; none if the settings give them no role.
pub(crate) fn scopes_of(settings: &ProxySettings, user: &str) -> Option<&'static [Scope]> {
    let role = |wanted: &str| {
        let mut roles = settings.users.iter().filter_map(|entry| entry.rsplit_once('='));
        roles.find(|(name, _)| *name == wanted).and_then(|(_, role)| scopes(role))
    };
    role(user).or_else(|| role(OTHERS))
}

/// What is wrong, each with its setting.
pub(super) fn wrong(settings: &ProxySettings) -> Vec<(&'static str, String)> {
    let mut wrong = Vec::new();
    let Some(header) = &settings.user_header else {
        if settings.secret.is_some() || !settings.users.is_empty() {
            wrong.push(("proxy.user_header", "is not set, but other settings of the proxy are".into()));
        }
        return wrong;
    };
    if HeaderName::try_from(header).is_err() {
        wrong.push(("proxy.user_header", format!("is {header:?}, which is no name of a header")));
    }
    match &settings.secret {
        None => wrong.push((
            "proxy.user_header",
            "needs `proxy.secret`; without it everyone could name any user".into(),
        )),
        Some(secret) if secret.0.len() < SECRET_BYTES_MIN => {
            wrong.push(("proxy.secret", format!("is shorter than {SECRET_BYTES_MIN} characters")));
        }
        Some(_) => {}
    }
    if settings.users.is_empty() {
        wrong.push(("proxy.user_header", "needs `proxy.users`; write one such as \"*=read\"".into()));
    }
    for entry in &settings.users {
        let Some((name, role)) = entry.rsplit_once('=') else {
            wrong.push((
                "proxy.users",
                format!("has {entry:?}; write a user and a role, such as \"ann=read\""),
            ));
            continue;
        };
        if let Err(invalid) = check_name("user", name) {
            wrong.push(("proxy.users", format!("has a {invalid}")));
        }
        if scopes(role).is_none() {
            wrong.push(("proxy.users", format!("has the role {role:?}; use read, operate or admin")));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn settings(users: &[&str]) -> ProxySettings {
        ProxySettings {
            user_header: Some("x-user".into()),
            secret: Some(Secret("0123456789abcdef".into())),
            users: users.iter().map(|&user| user.to_owned()).collect(),
        }
    }

    #[test]
    fn a_user_has_the_role_of_the_settings_or_that_of_all_others() {
        let of = |users: &[&str], user: &str| scopes_of(&settings(users), user);
        assert_eq!(of(&["ann=admin", "*=read"], "ann"), Some(&[Scope::Admin][..]));
        assert_eq!(of(&["ann=admin", "*=read"], "bob"), Some(&[Scope::Read][..]));
        assert_eq!(of(&["ann=admin"], "bob"), None);
        assert_eq!(
            of(&["a=b@example.org=operate"], "a=b@example.org"),
            Some(&[Scope::Enqueue, Scope::Operate][..])
        );
        assert_eq!(wrong(&settings(&["ann=admin", "*=read"])), []);
    }

    #[test]
    fn a_proxy_without_a_secret_or_with_unknown_roles_is_refused() {
        let keys =
            |settings: &ProxySettings| wrong(settings).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        let whole = || settings(&["*=read"]);
        assert_eq!(keys(&ProxySettings { secret: None, ..whole() }), ["proxy.user_header"]);
        assert_eq!(
            keys(&ProxySettings { secret: Some(Secret("short".into())), ..whole() }),
            ["proxy.secret"]
        );
        assert_eq!(
            keys(&ProxySettings { user_header: Some("a b".into()), ..whole() }),
            ["proxy.user_header"]
        );
        assert_eq!(keys(&ProxySettings { user_header: None, ..whole() }), ["proxy.user_header"]);
        assert_eq!(keys(&settings(&["ann", "=read", "ann=root"])), ["proxy.users"; 3]);
        assert_eq!(keys(&settings(&[])), ["proxy.user_header"]);
    }
}
