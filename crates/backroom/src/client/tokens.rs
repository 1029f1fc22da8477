//! Tokens for the server, and the audit log.

use std::{fmt, sync::Arc, time::Duration};

use backroom_core::{
    AuditEntry, Json, QueuePattern, Scope, SecretHash, Token, TokenId,
    bounds::{check_span, later, whole_micros},
    token::SESSION_MAX,
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Backroom;
use crate::{Error, ErrorKind};

/// How every secret begins, so that scanners of source code can find one that leaked.
pub const SECRET_PREFIX: &str = "brm_";
/// Most entries in one answer of the audit log.
const AUDIT_PAGE_MAX: usize = 1000;

impl Backroom {
    /// The tokens of this store: they say who may call `backroom serve`, for what.
    pub fn tokens(&self) -> Tokens<'_> {
        Tokens { backroom: self }
    }

    /// The audit log of this store.
    pub fn audit(&self) -> Audit<'_> {
        Audit { backroom: self }
    }
}

/// Manages tokens. Made by [`Backroom::tokens`].
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'a> {
    backroom: &'a Backroom,
}

/// What a new token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// What people call it.
    pub name: String,
    /// What it allows; at least one.
    pub scopes: Vec<Scope>,
    /// The queues on which it allows that; empty for every queue.
    pub queues: Vec<QueuePattern>,
    /// For how long; none for ever.
    pub expires_in: Option<Duration>,
}

/// What the holder of a token sends: `brm_` and 256 random bits. It is readable once, when the token is made.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Its text, to hand to its holder.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Tokens<'_> {
    /// Makes a token. Its secret is not stored and cannot be read again.
    ///
    /// Fails as [`Invalid`](ErrorKind::Invalid) if the name breaks a bound, if no scope is given, or if it would have
    /// expired.
    pub async fn create(&self, new: NewToken) -> Result<(Token, Secret), Error> {
        let engine = self.backroom.engine();
        let now = whole_micros(engine.clock.now());
        new.expires_in.map_or(Ok(()), |span| check_span("expiry", span))?;
        let mut scopes = new.scopes;
        scopes.sort_unstable();
        scopes.dedup();
        let token = Token {
            id: TokenId(engine.ids.job(now).0),
            name: new.name,
            scopes,
            queues: new.queues,
            created_at: now,
            expires_at: new.expires_in.map(|span| later(now, span)),
            revoked_at: None,
            last_used_at: None,
            parent: None,
            barred_from: Vec::new(),
        };
        token.check()?;
        let secret = self.put(&token).await?;
        Ok((token, secret))
    }

    /// Stores a token under a new secret.
    async fn put(&self, token: &Token) -> Result<Secret, Error> {
        let engine = self.backroom.engine();
        let secret = Secret(format!("{SECRET_PREFIX}{}", letters(&engine.ids.secret())));
        engine.store.put_token(Arc::new(token.clone()), hash_of(&secret.0), token.created_at).await?;
        Ok(secret)
    }

    /// Opens a session with the secret of a token: what a browser holds in place of the token. It has a secret of its own, permits
    /// what the token permits, and ends with it, at the latest after [`SESSION_MAX`]. None if the secret is that of no valid
    /// token. A session opens no further ones.
    pub async fn open_session(&self, secret: &str) -> Result<Option<(Token, Secret)>, Error> {
        let Some(parent) = self.find(secret).await?.filter(|found| found.parent.is_none()) else {
            return Ok(None);
        };
        let engine = self.backroom.engine();
        let now = whole_micros(engine.clock.now());
        let most = later(now, SESSION_MAX);
        let session = Token {
            id: TokenId(engine.ids.job(now).0),
            created_at: now,
            expires_at: Some(parent.expires_at.map_or(most, |at| at.min(most))),
            last_used_at: None,
            parent: Some(parent.id),
            ..parent
        };
        session.check()?;
        let of_session = self.put(&session).await?;
        // The token may have been revoked since it was found, and its sessions with it, before this one was there.
        if self.find(secret).await?.is_none() {
            self.revoke(session.id).await?;
            return Ok(None);
        }
        Ok(Some((session, of_session)))
    }

    /// All tokens, the newest first, without sessions. Those that expired or were revoked stay in the list for 90 days.
    pub async fn list(&self) -> Result<Vec<Token>, Error> {
        let mut tokens = self.backroom.engine().store.tokens().await?;
        tokens.retain(|token| token.parent.is_none());
        Ok(tokens)
    }

    /// The token or session of a secret; none if it is unknown, revoked or expired.
    pub async fn find(&self, secret: &str) -> Result<Option<Token>, Error> {
        if !secret.starts_with(SECRET_PREFIX) || secret.len() > 200 {
            return Ok(None);
        }
        let engine = self.backroom.engine();
        let found = engine.store.token_of(hash_of(secret)).await?;
        Ok(found.filter(|token| token.is_valid(engine.clock.now())))
    }

    /// Refuses a token from now on, everywhere, and the sessions that were opened with it. A server that has seen it lately may accept
    /// it for some seconds more.
    /// [`NotFound`](ErrorKind::NotFound) if there is no such token.
    pub async fn revoke(&self, id: TokenId) -> Result<Token, Error> {
        let engine = self.backroom.engine();
        let now = whole_micros(engine.clock.now());
        engine.store.revoke_token(id, now).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("find token {id}: it does not exist or was forgotten"))
        })
    }

    /// Writes that a token is used now. Call it about once a minute, not for each use.
    pub async fn used(&self, id: TokenId) -> Result<(), Error> {
        let engine = self.backroom.engine();
        engine.store.token_used(id, whole_micros(engine.clock.now())).await
    }
}

/// The SHA-256 of a secret. A secret has 256 random bits, so no slower hash is needed.
fn hash_of(secret: &str) -> SecretHash {
    SecretHash(Sha256::digest(secret.as_bytes()).into())
}

/// The bytes in 43 letters: the alphabet of base64 for URLs, without padding.
fn letters(bytes: &[u8; 32]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(43);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().chain(&[0, 0]).take(3).fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        for place in 0..=chunk.len() {
            text.push(char::from(LETTERS[(word >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}

/// Reads and writes the audit log. Made by [`Backroom::audit`].
#[derive(Debug, Clone, Copy)]
pub struct Audit<'a> {
    backroom: &'a Backroom,
}

impl Audit<'_> {
    /// Appends an act. The library itself writes none: who acts is known only to the program that offers the act.
    ///
    /// Fails as [`Invalid`](ErrorKind::Invalid) if a text breaks a bound.
    pub async fn append(
        &self,
        who: impl Into<String>,
        act: impl Into<String>,
        target: impl Into<String>,
        detail: Option<Json>,
    ) -> Result<AuditEntry, Error> {
        let engine = self.backroom.engine();
        let at = whole_micros(engine.clock.now());
        let (who, act, target) = (who.into(), act.into(), target.into());
        let entry = AuditEntry { id: engine.ids.job(at).0, at, who, act, target, detail };
        entry.check()?;
        engine.store.append_audit(Arc::new(entry.clone())).await?;
        Ok(entry)
    }

    /// Up to `limit` (at most 1000) entries, the newest first, continuing below `before`. Entries stay for 400 days, and at
    /// most 100,000 of them.
    pub async fn list(&self, before: Option<Uuid>, limit: usize) -> Result<Vec<AuditEntry>, Error> {
        if limit == 0 || limit > AUDIT_PAGE_MAX {
            let why =
                format!("list the audit log: a page of {limit} is out of range; use 1 to {AUDIT_PAGE_MAX}");
            return Err(Error::new(ErrorKind::Invalid, why));
        }
        self.backroom.engine().store.audit(before, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_all_its_bits_in_letters() {
        assert_eq!(letters(&[0; 32]), "A".repeat(43));
        assert_eq!(letters(&[255; 32]), format!("{}8", "_".repeat(42)));
        let bytes: [u8; 32] = std::array::from_fn(|place| u8::try_from(place).unwrap());
        assert_eq!(letters(&bytes), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
    }

    #[tokio::test]
    async fn a_token_is_found_by_its_secret_until_it_is_revoked() {
        let backroom = Backroom::open("memory:").await.unwrap();
        let new = NewToken { name: "ci".into(), scopes: vec![Scope::Read], queues: vec![], expires_in: None };
        let (token, secret) = backroom.tokens().create(new).await.unwrap();
        assert!(secret.expose().starts_with("brm_") && secret.expose().len() == 47);
        assert!(!format!("{secret:?} {token:?}").contains(&secret.expose()[4..]));
        assert_eq!(backroom.tokens().find(secret.expose()).await.unwrap(), Some(token.clone()));
        assert_eq!(backroom.tokens().find("brm_guess").await.unwrap(), None);
        backroom.tokens().revoke(token.id).await.unwrap();
        assert_eq!(backroom.tokens().find(secret.expose()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_session_permits_what_its_token_permits_and_ends_with_it() {
        let backroom = Backroom::open("memory:").await.unwrap();
        let tokens = backroom.tokens();
        let new =
            NewToken { name: "ops".into(), scopes: vec![Scope::Read], queues: vec![], expires_in: None };
        let (token, secret) = tokens.create(new).await.unwrap();
        assert_eq!(tokens.open_session("brm_guess").await.unwrap(), None);
        let (session, of_session) = tokens.open_session(secret.expose()).await.unwrap().unwrap();
        assert_eq!((session.parent, &session.scopes), (Some(token.id), &token.scopes));
        assert_eq!(session.expires_at, Some(later(session.created_at, SESSION_MAX)));
        assert_ne!(of_session, secret);
        assert_eq!(tokens.find(of_session.expose()).await.unwrap(), Some(session.clone()));
        assert_eq!(tokens.open_session(of_session.expose()).await.unwrap(), None, "a session opens none");
        assert_eq!(tokens.list().await.unwrap(), std::slice::from_ref(&token), "a session is not listed");
        let (other, of_other) = tokens.open_session(secret.expose()).await.unwrap().unwrap();
        tokens.revoke(other.id).await.unwrap();
        assert_eq!(tokens.find(of_other.expose()).await.unwrap(), None);
        assert!(tokens.find(of_session.expose()).await.unwrap().is_some(), "another session stays");
        tokens.revoke(token.id).await.unwrap();
        assert_eq!(tokens.find(of_session.expose()).await.unwrap(), None, "it ends with its token");
    }
}
