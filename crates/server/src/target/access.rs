//! Tokens and the audit log.

use backroom::{Backroom, NewToken, TokenId};
use hyper::Method;
use uuid::Uuid;

use super::Target;
use crate::{
    bodies::TokenWanted,
    terminal::Problem,
    views::{AuditPage, NewTokenView, TokenList},
};

impl Target {
    /// All tokens, the newest first.
    pub(crate) async fn tokens(&self) -> Result<TokenList, Problem> {
        match self {
            Self::Store(backroom) => Ok(TokenList { tokens: backroom.tokens().list().await? }),
            Self::Server(remote) => remote.get("/v1/tokens").await,
        }
    }

    /// Makes a token; answers with its secret.
    pub(crate) async fn create_token(&self, new: NewToken) -> Result<NewTokenView, Problem> {
        match self {
            Self::Store(backroom) => {
                let (token, secret) = backroom.tokens().create(new).await?;
                append(backroom, "token.create", &token.id.to_string()).await?;
                Ok(NewTokenView { token, secret: secret.expose().to_owned() })
            }
            Self::Server(remote) => {
                let wanted = TokenWanted {
                    name: new.name,
                    scopes: new.scopes,
                    queues: new.queues.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
                    expires_in_secs: new.expires_in.map(|span| span.as_secs()),
                };
                remote.send(Method::POST, "/v1/tokens", &wanted).await
            }
        }
    }

    /// Refuses a token from now on.
    pub(crate) async fn revoke_token(&self, id: TokenId) -> Result<(), Problem> {
        match self {
            Self::Store(backroom) => {
                let token = backroom.tokens().revoke(id).await?;
                append(backroom, "token.revoke", &token.id.to_string()).await
            }
            Self::Server(remote) => remote.send(Method::DELETE, &format!("/v1/tokens/{id}"), &()).await,
        }
    }

    /// A page of the audit log, the newest entries first.
    pub(crate) async fn audit(&self, before: Option<Uuid>, limit: usize) -> Result<AuditPage, Problem> {
        match self {
            Self::Store(backroom) => Ok(AuditPage::new(backroom.audit().list(before, limit).await?, limit)),
            Self::Server(remote) => {
                let before = before.map(|id| format!("&before={id}")).unwrap_or_default();
                remote.get(&format!("/v1/audit?limit={limit}{before}")).await
            }
        }
    }
}

/// Writes that the user of this machine did something.
pub(super) async fn append(backroom: &Backroom, act: &str, target: &str) -> Result<(), Problem> {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let user = user.filter(|user| !user.is_empty() && user.len() <= 100 && !user.contains(char::is_control));
    let who = format!("command line, user {}", user.as_deref().unwrap_or("unknown"));
    backroom.audit().append(who, act, target, None).await?;
    Ok(())
}
