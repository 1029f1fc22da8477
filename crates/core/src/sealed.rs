//! Sealed values: what a store, a server and a page may know of them.
//!
//! A sealed value is a flattened JWE (RFC 7516, section 7.2.2) as JSON text with the six members below, and no others. Here it is only
//! recognized. What seals and opens values is the module `sealed` of the library. A store, a server and a page have no keys.

use serde::Deserialize;

/// Most bytes that sealing adds beside the growth by a third.
const AROUND_BYTES_MAX: usize = 1024;
/// Longest header, in bytes of base64url.
const HEADER_BYTES_MAX: usize = 1024;

/// The members of a sealed value, each in base64url without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed<'a> {
    /// The protected header.
    #[serde(borrow)]
    pub protected: &'a str,
    /// The key of the value, wrapped.
    #[serde(borrow)]
    pub encrypted_key: &'a str,
    /// The initialization vector.
    #[serde(borrow)]
    pub iv: &'a str,
    /// The encrypted text.
    #[serde(borrow)]
    pub ciphertext: &'a str,
    /// The authentication tag.
    #[serde(borrow)]
    pub tag: &'a str,
    /// The place that the value belongs to: a job and a field of it.
    #[serde(borrow)]
    pub aad: &'a str,
}

/// The protected header. Members beside these are refused: they could ask for compression, or for algorithms that are not allowed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// How the key of the value is wrapped.
    pub alg: String,
    /// How the value is encrypted.
    pub enc: String,
    /// The id of the key that wraps the value's key.
    pub kid: String,
    /// The public key of the sender, made for this value; only where `alg` needs one.
    #[serde(default)]
    pub epk: Option<SenderKey>,
}

/// A public key of the curve X25519, as a JWK.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SenderKey {
    /// `OKP`.
    pub kty: String,
    /// `X25519`.
    pub crv: String,
    /// The key in base64url.
    pub x: String,
}

impl<'a> Sealed<'a> {
    /// The members of a text that is a sealed value; none if it is something else.
    pub fn of(text: &'a str) -> Option<Self> {
        // Nearly all values are not sealed, and end here, or at their first member.
        if !text.starts_with('{') {
            return None;
        }
        let sealed: Self = serde_json::from_str(text).ok()?;
        sealed.header().map(|_| sealed)
    }

    /// The protected header; none if it has another form.
    pub fn header(&self) -> Option<Header> {
        if self.protected.len() > HEADER_BYTES_MAX {
            return None;
        }
        serde_json::from_slice(&decode(self.protected)?).ok()
    }
}

/// The id of the key that a text is sealed with; none if it is not sealed.
pub fn key_id(text: &str) -> Option<String> {
    Some(Sealed::of(text)?.header()?.kid)
}

/// Cuts a text to `bytes_max` bytes. A sealed one may be longer by what sealing adds: cut, it could not be opened.
pub fn clip(text: &str, bytes_max: usize) -> String {
    if text.len() <= sealed_bytes_max(bytes_max) && Sealed::of(text).is_some() {
        return text.to_owned();
    }
    crate::bounds::clip(text, bytes_max)
}

/// Longest sealed text of a value with so many bytes.
pub const fn sealed_bytes_max(bytes_max: usize) -> usize {
    bytes_max.div_ceil(3) * 4 + AROUND_BYTES_MAX
}

/// What people see in place of a sealed text; the text itself if it is not sealed.
pub fn shown(text: &str) -> std::borrow::Cow<'_, str> {
    match key_id(text) {
        Some(key) => format!("(sealed with key {key})").into(),
        None => text.into(),
    }
}

/// Decodes base64url (RFC 4648, section 5) without padding. Each text that decodes is the only one for its bytes.
fn decode(text: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.as_bytes().chunks(4) {
        let mut bits = 0u32;
        for byte in chunk {
            bits = bits << 6 | u32::from(value(*byte)?);
        }
        let [_, first, second, third] = (bits << (6 * (4 - chunk.len()))).to_be_bytes();
        match chunk.len() {
            4 => bytes.extend([first, second, third]),
            3 if third == 0 => bytes.extend([first, second]),
            2 if second == 0 && third == 0 => bytes.push(first),
            _ => return None,
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"alg":"A256KW","enc":"A256GCM","kid":"k.1"}`
    const HEADER: &str = "eyJhbGciOiJBMjU2S1ciLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiay4xIn0";

    fn text(protected: &str, more: &str) -> String {
        format!(
            r#"{{"protected":"{protected}","encrypted_key":"AA","iv":"AA","ciphertext":"AA","tag":"AA","aad":"AA"{more}}}"#
        )
    }

    #[test]
    fn a_sealed_value_names_its_key() {
        assert_eq!(key_id(&text(HEADER, "")).as_deref(), Some("k.1"));
        assert_eq!(shown(&text(HEADER, "")), "(sealed with key k.1)");
    }

    #[test]
    fn what_has_another_form_is_not_sealed() {
        // {"alg":"A256KW","enc":"A256GCM","kid":"k.1","zip":"DEF"}
        let compressed = "eyJhbGciOiJBMjU2S1ciLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiay4xIiwiemlwIjoiREVGIn0";
        for other in [
            text(HEADER, r#","header":{}"#),
            text(HEADER, r#","unprotected":{}"#),
            text(compressed, ""),
            text("e30", ""),
            text("!", ""),
            r#"{"protected":"e30"}"#.into(),
            "null".into(),
            format!(" {}", text(HEADER, "")),
        ] {
            assert_eq!(key_id(&other), None, "{other}");
            assert_eq!(shown(&other), other);
        }
    }

    #[test]
    fn a_sealed_text_is_not_cut() {
        let sealed = text(HEADER, "");
        assert_eq!(clip(&sealed, 10), sealed);
        assert!(clip(&"x".repeat(2000), 10).len() <= 13);
        let long = sealed.replace(r#""ciphertext":"AA""#, &format!(r#""ciphertext":"{}""#, "A".repeat(4000)));
        assert!(clip(&long, 10).len() <= 13, "longer than a sealed text of ten bytes can be");
    }

    #[test]
    fn base64url_has_one_text_for_each_value() {
        assert_eq!(decode("AAEC"), Some(vec![0, 1, 2]));
        assert_eq!(decode("_-8"), Some(vec![0xff, 0xef]));
        for wrong in ["A", "AB=", "AB==", "A+", "A/", "AB C", "_-9"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
