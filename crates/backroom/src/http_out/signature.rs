//! Signatures by Standard Webhooks 1.0.0 (<https://www.standardwebhooks.com>): HMAC-SHA256 with a shared secret, `v1`.

use std::{fmt, str::FromStr};

use backroom_core::{Invalid, Timestamp};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What secrets begin with.
const PREFIX: &str = "whsec_";
/// The sizes that the standard recommends, in bytes.
const BYTES_MIN: usize = 24;
const BYTES_MAX: usize = 64;

/// A secret that sender and receiver share: `whsec_` and 24 to 64 random bytes in base64. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Vec<u8>);

impl SigningSecret {
    /// A fresh secret of 32 bytes, and its text for the receiver.
    pub fn generate() -> (Self, String) {
        let ids = crate::ids::Ids::from_entropy();
        // Each lease id has 122 random bits.
        let random = (0..3).flat_map(|_| ids.lease().0.into_bytes());
        let bytes: Vec<u8> = <Sha256 as sha2::Digest>::digest(random.collect::<Vec<u8>>()).to_vec();
        let text = format!("{PREFIX}{}", STANDARD.encode(&bytes));
        (Self(bytes), text)
    }
}

impl FromStr for SigningSecret {
    type Err = Invalid;

    /// The error does not repeat the text.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = |why: String| Invalid::new("secret", why);
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            return Err(invalid(format!(
                "does not begin with {PREFIX}; Standard Webhooks writes secrets so"
            )));
        };
        let Ok(bytes) = STANDARD.decode(encoded) else {
            return Err(invalid(format!("is no base64 behind {PREFIX}")));
        };
        if !(BYTES_MIN..=BYTES_MAX).contains(&bytes.len()) {
            let why = format!("has {} bytes; use {BYTES_MIN} to {BYTES_MAX} random ones", bytes.len());
            return Err(invalid(why));
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

/// The header `webhook-signature`: a signature with each secret, separated by spaces. A receiver accepts any of them, so a
/// secret can be replaced while both sides run.
pub(crate) fn sign(secrets: &[SigningSecret], id: &str, at: Timestamp, body: &[u8]) -> String {
    let signatures: Vec<String> = secrets.iter().map(|secret| sign_with(secret, id, at, body)).collect();
    signatures.join(" ")
}

fn sign_with(secret: &SigningSecret, id: &str, at: Timestamp, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(&secret.0).expect("invariant: HMAC takes keys of any length");
    mac.update(format!("{id}.{}.", at.as_second()).as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the standard's own libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_signature_of_the_standards_example_is_the_same() {
        let at = Timestamp::from_second(1_614_265_330).unwrap();
        let signed =
            sign(&[SECRET.parse().unwrap()], "msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn each_secret_gives_a_signature() {
        let (fresh, text) = SigningSecret::generate();
        assert_eq!(text.parse::<SigningSecret>().unwrap(), fresh);
        let at = Timestamp::UNIX_EPOCH;
        let old: SigningSecret = SECRET.parse().unwrap();
        let both = sign(&[fresh.clone(), old.clone()], "id", at, b"{}");
        assert_eq!(both, format!("{} {}", sign(&[fresh], "id", at, b"{}"), sign(&[old], "id", at, b"{}")));
    }

    #[test]
    fn a_secret_is_checked_and_never_shown() {
        for wrong in
            ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_short", "whsec_***", "whsec_c2hvcnQ="]
        {
            let error = wrong.parse::<SigningSecret>().unwrap_err().to_string();
            assert!(wrong.len() < 12 || !error.contains(&wrong[6..]), "{error}");
        }
        let too_long = format!("whsec_{}", STANDARD.encode([7; 65]));
        assert!(too_long.parse::<SigningSecret>().unwrap_err().to_string().contains("65 bytes"));
        assert_eq!(format!("{:?}", SECRET.parse::<SigningSecret>().unwrap()), "SigningSecret(…)");
    }
}
