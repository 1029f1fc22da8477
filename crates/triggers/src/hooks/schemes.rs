//! How senders prove who they are: one table, one row per scheme.

use std::{fmt, time::Duration};

use backroom::{Invalid, Timestamp};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::Headers;

/// How far the time of a signature may lie from now, by default: as Standard Webhooks, Stripe and Slack advise.
pub const TOLERANCE_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// Most signatures of one request that are compared.
const SIGNATURES_MAX: usize = 16;

/// A scheme: how a request proves that its sender has the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Standard Webhooks 1.0.
    StandardWebhooks,
    /// GitHub, also Gitea and Forgejo.
    GitHub,
    /// Stripe.
    Stripe,
    /// Slack.
    Slack,
    /// Shopify.
    Shopify,
    /// The secret itself, as a bearer token or in `X-Webhook-Secret`.
    Secret,
    /// HTTP Basic; the secret is `USER:PASSWORD`.
    Basic,
    /// Nothing: every request is accepted.
    None,
}

/// A row of the table.
struct Row {
    scheme: Scheme,
    name: &'static str,
    /// What it is, for people.
    described: &'static str,
    proof: Proof,
    /// Headers that name the delivery, the first that is there.
    identities: &'static [&'static str],
    /// Where the body names it, where no header does.
    identity_pointers: &'static [&'static str],
    /// Headers that say what a delivery is, where the sender says it nowhere else, although it does not sign them.
    event_headers: &'static [&'static str],
}

/// What a request must show.
enum Proof {
    /// A message authentication code (HMAC-SHA256) over the body and more.
    Code {
        /// The header with the signatures.
        header: &'static str,
        /// Finds the signatures in it, and the time if it stands there.
        read: for<'a> fn(&'a str) -> Signatures<'a>,
        is_base64: bool,
        /// The header with the time, where there is one.
        timestamp: Option<&'static str>,
        /// What is signed before the body.
        before: fn(id: &str, timestamp: &str) -> String,
    },
    Bearer,
    Basic,
    Nothing,
}

/// What a signature header has.
struct Signatures<'a> {
    timestamp: Option<&'a str>,
    codes: Vec<&'a str>,
}

static TABLE: &[Row] = &[
    Row {
        scheme: Scheme::StandardWebhooks,
        name: "standard-webhooks",
        described: "Standard Webhooks 1.0 (www.standardwebhooks.com)",
        proof: Proof::Code {
            header: "webhook-signature",
            read: |text| Signatures {
                timestamp: None,
                codes: text.split(' ').filter_map(|part| part.strip_prefix("v1,")).collect(),
            },
            is_base64: true,
            timestamp: Some("webhook-timestamp"),
            before: |id, timestamp| format!("{id}.{timestamp}."),
        },
        identities: &["webhook-id"],
        identity_pointers: &[],
        event_headers: &[],
    },
    Row {
        scheme: Scheme::GitHub,
        name: "github",
        described: "GitHub: X-Hub-Signature-256",
        proof: Proof::Code {
            header: "x-hub-signature-256",
            read: |text| Signatures {
                timestamp: None,
                codes: text.strip_prefix("sha256=").into_iter().collect(),
            },
            is_base64: false,
            timestamp: None,
            before: |_, _| String::new(),
        },
        identities: &["x-github-delivery", "x-gitea-delivery"],
        identity_pointers: &[],
        event_headers: &["x-github-event", "x-gitea-event", "x-forgejo-event", "x-gogs-event"],
    },
    Row {
        scheme: Scheme::Stripe,
        name: "stripe",
        described: "Stripe: Stripe-Signature",
        proof: Proof::Code {
            header: "stripe-signature",
            read: |text| {
                let value = |name: &'static str| {
                    text.split(',').filter_map(move |part| part.trim().strip_prefix(name)?.strip_prefix('='))
                };
                Signatures { timestamp: value("t").next(), codes: value("v1").collect() }
            },
            is_base64: false,
            timestamp: None,
            before: |_, timestamp| format!("{timestamp}."),
        },
        identities: &[],
        identity_pointers: &["/id"],
        event_headers: &[],
    },
    Row {
        scheme: Scheme::Slack,
        name: "slack",
        described: "Slack: X-Slack-Signature",
        proof: Proof::Code {
            header: "x-slack-signature",
            read: |text| Signatures {
                timestamp: None,
                codes: text.strip_prefix("v0=").into_iter().collect(),
            },
            is_base64: false,
            timestamp: Some("x-slack-request-timestamp"),
            before: |_, timestamp| format!("v0:{timestamp}:"),
        },
        identities: &[],
        identity_pointers: &["/event_id", "/trigger_id"],
        event_headers: &[],
    },
    Row {
        scheme: Scheme::Shopify,
        name: "shopify",
        described: "Shopify: X-Shopify-Hmac-Sha256",
        proof: Proof::Code {
            header: "x-shopify-hmac-sha256",
            read: |text| Signatures { timestamp: None, codes: vec![text] },
            is_base64: true,
            timestamp: None,
            before: |_, _| String::new(),
        },
        identities: &["x-shopify-webhook-id", "x-shopify-event-id"],
        identity_pointers: &[],
        event_headers: &["x-shopify-topic"],
    },
    Row {
        scheme: Scheme::Secret,
        name: "secret",
        described: "the secret itself, as a bearer token or in X-Webhook-Secret",
        proof: Proof::Bearer,
        identities: &["webhook-id", "idempotency-key", "x-request-id"],
        identity_pointers: &[],
        event_headers: &[],
    },
    Row {
        scheme: Scheme::Basic,
        name: "basic",
        described: "HTTP Basic with USER:PASSWORD",
        proof: Proof::Basic,
        identities: &["webhook-id", "idempotency-key", "x-request-id"],
        identity_pointers: &[],
        event_headers: &[],
    },
    Row {
        scheme: Scheme::None,
        name: "none",
        described: "nothing: every request is accepted",
        proof: Proof::Nothing,
        identities: &["webhook-id", "idempotency-key", "x-request-id"],
        identity_pointers: &[],
        event_headers: &[],
    },
];

impl Scheme {
    /// The scheme with this name.
    pub fn named(name: &str) -> Result<Self, Invalid> {
        match TABLE.iter().find(|row| row.name == name) {
            Some(row) => Ok(row.scheme),
            None => {
                let names: Vec<_> = TABLE.iter().map(|row| row.name).collect();
                Err(Invalid::new("scheme", format!("{name:?} is unknown; there are {}", names.join(", "))))
            }
        }
    }

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What it is, for people.
    pub fn described(self) -> &'static str {
        self.row().described
    }

    fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.scheme == self).unwrap_or(&TABLE[0])
    }

    /// Whether it signs the body, and of the headers at most an id and a time. So other headers may be another's.
    pub(super) fn signs_body_only(self) -> bool {
        matches!(self.row().proof, Proof::Code { .. })
    }

    /// Headers that say what a delivery is, although they are not signed.
    pub(super) fn event_headers(self) -> &'static [&'static str] {
        self.row().event_headers
    }

    /// Headers that name the delivery, the best first.
    pub(super) fn identities(self) -> &'static [&'static str] {
        self.row().identities
    }

    /// Where a JSON body names the delivery.
    pub(super) fn identity_pointers(self) -> &'static [&'static str] {
        self.row().identity_pointers
    }
}

/// A secret of a hook. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct HookSecret(Vec<u8>);

impl HookSecret {
    /// The secret as the sender shows it to its users. Standard Webhooks writes `whsec_` and base64. No error repeats it.
    pub fn new(scheme: Scheme, text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::new("secret", "is empty"));
        }
        if scheme == Scheme::StandardWebhooks {
            let encoded = text.strip_prefix("whsec_").unwrap_or(text);
            let bytes = STANDARD.decode(encoded).map_err(|_| {
                Invalid::new("secret", "is no base64 behind whsec_, as Standard Webhooks writes secrets")
            })?;
            return Ok(Self(bytes));
        }
        if scheme == Scheme::Basic && !text.contains(':') {
            return Err(Invalid::new("secret", "has no `:`; HTTP Basic needs USER:PASSWORD"));
        }
        Ok(Self(text.as_bytes().to_vec()))
    }
}

impl fmt::Debug for HookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookSecret(…)")
    }
}

/// Why a request was refused. No reason has the secret, or a signature that would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It has no signature, or no secret.
    Unsigned,
    /// Its signature or secret is wrong.
    WrongSignature,
    /// Its time is missing or no number.
    NoTimestamp,
    /// Its time is too far from now: an old request that was sent again, or a clock that is wrong.
    StaleTimestamp,
    /// It names no id, although the scheme signs one.
    NoId,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::Unsigned, Self::WrongSignature, Self::NoTimestamp, Self::StaleTimestamp, Self::NoId];

    /// Its name in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::WrongSignature => "wrong_signature",
            Self::NoTimestamp => "no_timestamp",
            Self::StaleTimestamp => "stale_timestamp",
            Self::NoId => "no_id",
        }
    }

    /// What it says to the sender.
    pub const fn described(self) -> &'static str {
        match self {
            Self::Unsigned => "the request has no signature or secret of this hook's scheme",
            Self::WrongSignature => "the signature or the secret is wrong",
            Self::NoTimestamp => "the request has no time, or one that is no number of seconds",
            Self::StaleTimestamp => {
                "the time of the request is too far from now; check the clocks of both machines"
            }
            Self::NoId => "the request has no id",
        }
    }
}

/// Checks that a request has the proof of a scheme, with one of the secrets.
pub(super) fn check(
    scheme: Scheme,
    secrets: &[HookSecret],
    tolerance: Duration,
    headers: &Headers<'_>,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Refusal> {
    let row = scheme.row();
    match &row.proof {
        Proof::Nothing => Ok(()),
        Proof::Bearer => {
            let bearer = headers.get("authorization").and_then(|text| scheme_of(text, "bearer"));
            let sent = bearer.or(headers.get("x-webhook-secret")).ok_or(Refusal::Unsigned)?;
            one_of(secrets, |secret| equal(&secret.0, sent.trim().as_bytes()))
        }
        Proof::Basic => {
            let sent = headers.get("authorization").and_then(|text| scheme_of(text, "basic"));
            let sent = sent.and_then(|sent| STANDARD.decode(sent.trim()).ok()).ok_or(Refusal::Unsigned)?;
            one_of(secrets, |secret| equal(&secret.0, &sent))
        }
        Proof::Code { header, read, is_base64, timestamp, before } => {
            let Signatures { timestamp: inside, codes } = read(headers.get(header).ok_or(Refusal::Unsigned)?);
            let id = row.identities.first().and_then(|name| headers.get(name)).unwrap_or_default();
            if scheme == Scheme::StandardWebhooks && id.is_empty() {
                return Err(Refusal::NoId);
            }
            let sent_at = timestamp.and_then(|name| headers.get(name)).or(inside);
            let is_timed = timestamp.is_some() || scheme == Scheme::Stripe;
            if is_timed {
                check_time(sent_at, tolerance, now)?;
            }
            let decoded = |code: &str| if *is_base64 { STANDARD.decode(code).ok() } else { unhex(code) };
            let codes: Vec<Vec<u8>> = codes.into_iter().take(SIGNATURES_MAX).filter_map(decoded).collect();
            if codes.is_empty() {
                return Err(Refusal::Unsigned);
            }
            let before = before(id, sent_at.unwrap_or_default());
            one_of(secrets, |secret| {
                let right = code(&secret.0, before.as_bytes(), body);
                codes.iter().fold(false, |found, sent| equal(&right, sent) | found)
            })
        }
    }
}

/// The code over both parts.
fn code(secret: &[u8], before: &[u8], body: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("invariant: HMAC takes keys of any length");
    mac.update(before);
    mac.update(body);
    mac.finalize().into_bytes().to_vec()
}

/// Tries every secret, so that the time of a refusal says nothing about which one was near.
fn one_of(secrets: &[HookSecret], is_right: impl Fn(&HookSecret) -> bool) -> Result<(), Refusal> {
    let found = secrets.iter().fold(false, |found, secret| is_right(secret) | found);
    if found { Ok(()) } else { Err(Refusal::WrongSignature) }
}

fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

fn check_time(sent_at: Option<&str>, tolerance: Duration, now: Timestamp) -> Result<(), Refusal> {
    let sent_at: i64 = sent_at.and_then(|text| text.trim().parse().ok()).ok_or(Refusal::NoTimestamp)?;
    let apart = now.as_second().saturating_sub(sent_at).unsigned_abs();
    if apart > tolerance.as_secs() { Err(Refusal::StaleTimestamp) } else { Ok(()) }
}

/// What follows the name of an authentication scheme.
fn scheme_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (scheme, rest) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case(name).then_some(rest)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests;
