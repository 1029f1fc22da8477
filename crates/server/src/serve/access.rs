//! Who may call: the tokens of the store, remembered for some seconds.
//!
//! A secret is looked up by its SHA-256. The bytes that a guess compares are those of a hash that the caller cannot choose, so the
//! time of a lookup tells nothing about other secrets.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backroom::{Backroom, Error, Token, TokenId};
use sha2::{Digest as _, Sha256};

/// How long a token that was found is accepted without asking the store again. A token that is revoked is accepted for so long.
const REMEMBERED: Duration = Duration::from_secs(5);
/// How often a server without tokens asks the store whether it has one now.
const ASKED_AGAIN: Duration = Duration::from_secs(1);
/// How often the use of a token is written.
const USE_WRITTEN: Duration = Duration::from_secs(60);
/// Most tokens that are remembered at once.
const REMEMBERED_MAX: usize = 1000;

/// Why a request is refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It has no token, and needs one.
    NoToken,
    /// Its token is unknown, revoked or expired.
    UnknownToken,
    /// The store could not be asked.
    Store(Error),
}

/// Decides who may call.
pub(crate) struct Access {
    backroom: Backroom,
    /// Whether only programs of this machine reach the server. Others always need a token.
    is_local: bool,
    /// Queues for some tokens only.
    secure: HashMap<String, Vec<TokenId>>,
    known: Mutex<Known>,
}

/// What is remembered, with readings of the monotonic clock.
#[derive(Default)]
struct Known {
    tokens: HashMap<[u8; 32], Found>,
    /// Once the store has had a token, the server stays closed: if the last one disappears, it must not become open to all.
    has_tokens: bool,
    asked_at: Option<Duration>,
}

struct Found {
    token: Arc<Token>,
    found_at: Duration,
    use_written_at: Duration,
}

impl Access {
    /// `is_local`: whether the server listens on addresses of this machine only.
    pub(super) fn new(backroom: Backroom, is_local: bool, secure: HashMap<String, Vec<TokenId>>) -> Self {
        Self { backroom, is_local, secure, known: Mutex::default() }
    }

    /// Whether a queue is for some tokens only.
    pub(crate) fn is_secure(&self, queue: &str) -> bool {
        self.secure.contains_key(queue)
    }

    /// The queues that are for some tokens only.
    pub(crate) fn secure_queues(&self) -> Vec<String> {
        self.secure.keys().cloned().collect()
    }

    /// Whether requests without a token are answered.
    pub(crate) async fn is_open(&self) -> Result<bool, Refusal> {
        // A caller without a token has no credential for a secure queue, and could do everything else.
        if !self.is_local || !self.secure.is_empty() {
            return Ok(false);
        }
        let now = self.backroom.clock().monotonic();
        {
            let known = self.known();
            if known.has_tokens {
                return Ok(false);
            }
            if known.asked_at.is_some_and(|at| now.saturating_sub(at) < ASKED_AGAIN) {
                return Ok(true);
            }
        }
        let has_tokens = !self.backroom.tokens().list().await.map_err(Refusal::Store)?.is_empty();
        let mut known = self.known();
        known.has_tokens |= has_tokens;
        known.asked_at = Some(now);
        Ok(!known.has_tokens)
    }

    /// Accepts a request without a token, where that is allowed.
    pub(crate) async fn anonymous(&self) -> Result<(), Refusal> {
        if self.is_open().await? { Ok(()) } else { Err(Refusal::NoToken) }
    }

    /// The token of a secret. A session is none: a browser sends it to the pages, and nothing else accepts it.
    pub(crate) async fn token(&self, secret: &str) -> Result<Arc<Token>, Refusal> {
        let found = self.find(secret).await?;
        if found.parent.is_none() { Ok(found) } else { Err(Refusal::UnknownToken) }
    }

    /// The session of a secret.
    pub(crate) async fn session(&self, secret: &str) -> Result<Arc<Token>, Refusal> {
        let found = self.find(secret).await?;
        if found.parent.is_some() { Ok(found) } else { Err(Refusal::UnknownToken) }
    }

    /// Asks the store about this secret, or about all, at the next request.
    pub(crate) fn forget(&self, secret: Option<&str>) {
        let mut known = self.known();
        match secret {
            Some(secret) => drop(known.tokens.remove(&<[u8; 32]>::from(Sha256::digest(secret.as_bytes())))),
            None => known.tokens.clear(),
        }
    }

    async fn find(&self, secret: &str) -> Result<Arc<Token>, Refusal> {
        let hash: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        let now = self.backroom.clock().monotonic();
        let remembered = self.remembered(&hash, now);
        let (token, is_use_due) = match remembered {
            Some(found) => found,
            None => {
                let found = self.backroom.tokens().find(secret).await.map_err(Refusal::Store)?;
                let mut token = found.ok_or(Refusal::UnknownToken)?;
                // A session is for what its token is for.
                let id = token.parent.unwrap_or(token.id);
                let others = self.secure.iter().filter(|(_, tokens)| !tokens.contains(&id));
                token.barred_from = others.map(|(queue, _)| queue.clone()).collect();
                let token = Arc::new(token);
                (Arc::clone(&token), self.remember(hash, token, now))
            }
        };
        if !token.is_valid(self.backroom.clock().now()) {
            return Err(Refusal::UnknownToken);
        }
        if is_use_due {
            self.write_use(&token);
        }
        Ok(token)
    }

    /// The token, if it was found lately, and whether its use is to be written.
    fn remembered(&self, hash: &[u8; 32], now: Duration) -> Option<(Arc<Token>, bool)> {
        let mut known = self.known();
        let found =
            known.tokens.get_mut(hash).filter(|found| now.saturating_sub(found.found_at) < REMEMBERED)?;
        Some((Arc::clone(&found.token), found.is_use_due(now)))
    }

    /// Remembers a token; answers whether its use is to be written.
    fn remember(&self, hash: [u8; 32], token: Arc<Token>, now: Duration) -> bool {
        let mut known = self.known();
        if let Some(found) = known.tokens.get_mut(&hash) {
            (found.token, found.found_at) = (token, now);
            return found.is_use_due(now);
        }
        if known.tokens.len() >= REMEMBERED_MAX {
            known.tokens.clear();
        }
        known.tokens.insert(hash, Found { token, found_at: now, use_written_at: now });
        true
    }

    /// Writes that a token was used, beside the request: a lost write costs a minute in a list.
    fn write_use(&self, token: &Token) {
        let (backroom, id) = (self.backroom.clone(), token.id);
        tokio::spawn(async move {
            if let Err(error) = backroom.tokens().used(id).await {
                tracing::debug!(%error, "the use of a token was not written");
            }
        });
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    fn is_use_due(&mut self, now: Duration) -> bool {
        let is_due = now.saturating_sub(self.use_written_at) >= USE_WRITTEN;
        if is_due {
            self.use_written_at = now;
        }
        is_due
    }
}
