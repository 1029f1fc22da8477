//! Seals and opens one value: flattened JWE (RFC 7516) with A256GCM, and a fresh key per value that A256KW or ECDH-ES+A256KW wraps.
//!
//! Nothing else is read or written: no other algorithm, no compression, no header outside of the protected one.

use std::fmt;

use aes_gcm::{
    Aes256Gcm, Tag,
    aead::{AeadInOut as _, KeyInit as _, inout::InOutBuf},
};
use aes_kw::KwAes256;
use backroom_core::sealed::{Header, Sealed, SenderKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::jwk::{Key, KeyAlgorithm, KeySet, Material};
use crate::ids::Ids;

/// How values are encrypted.
const ENC: &str = "A256GCM";
const KEY_BYTES: usize = 32;
const WRAPPED_BYTES: usize = KEY_BYTES + 8;
const IV_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// Why a value could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The value is not sealed, or has another form than Backroom's.
    NotSealed,
    /// It is sealed with this key, which the set does not have, or has only the public part of.
    NoKey(String),
    /// The key of this id does not fit: the value was sealed with another key of the same id.
    WrongKey(String),
    /// It is sealed with a key of this id, which has another name than the kind's key.
    NotOfKind(String),
    /// Its header asks for an algorithm that its key is not for.
    Algorithm,
    /// It was sealed for another job, or for another field of the job.
    Misplaced,
    /// It was changed after it was sealed.
    Damaged,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSealed => f.write_str("it is not sealed"),
            Self::NoKey(key) => write!(f, "it is sealed with key {key}, which is missing here"),
            Self::WrongKey(key) => {
                write!(f, "it is sealed with another key of the id {key} than the one that is here")
            }
            Self::NotOfKind(key) => write!(f, "it is sealed with key {key}, which is not for its kind"),
            Self::Algorithm => f.write_str("its header names an algorithm that its key is not for"),
            Self::Misplaced => f.write_str("it was sealed for another job or another field"),
            Self::Damaged => f.write_str("it was changed after it was sealed"),
        }
    }
}

impl std::error::Error for OpenError {}

impl OpenError {
    /// The id of the key that is missing, if that is the reason.
    pub fn missing_key(&self) -> Option<&str> {
        match self {
            Self::NoKey(key) | Self::WrongKey(key) => Some(key),
            Self::NotSealed | Self::NotOfKind(_) | Self::Algorithm | Self::Misplaced | Self::Damaged => None,
        }
    }
}

/// The protected header in base64url.
pub(super) fn header(algorithm: KeyAlgorithm, kid: &str, sender: Option<&PublicKey>) -> String {
    let kid = serde_json::Value::from(kid);
    let epk = sender.map_or_else(String::new, |public| {
        format!(
            r#","epk":{{"kty":"OKP","crv":"X25519","x":"{}"}}"#,
            URL_SAFE_NO_PAD.encode(public.as_bytes())
        )
    });
    let text = format!(r#"{{"alg":"{}","enc":"{ENC}","kid":{kid}{epk}}}"#, algorithm.name());
    URL_SAFE_NO_PAD.encode(text)
}

/// Seals `plain` with `key` for the place that `aad` names.
pub(crate) fn seal(key: &Key, plain: &[u8], aad: &str, ids: &Ids) -> String {
    let content_key = Zeroizing::new(ids.secret());
    let iv: [u8; IV_BYTES] = first(&ids.secret());
    let mut wrapped = [0; WRAPPED_BYTES];
    let made;
    let protected: &str = match (&*key.material, &key.header) {
        (Material::Symmetric(wrapping), Some(header)) => {
            wrap(wrapping, &content_key, &mut wrapped);
            header
        }
        (Material::Symmetric(_), None) => unreachable!("invariant: a symmetric key has its header"),
        (Material::Private(_, public) | Material::Public(public), _) => {
            let sender = StaticSecret::from(*Zeroizing::new(ids.secret()));
            let shared = Zeroizing::new(sender.diffie_hellman(public).to_bytes());
            wrap(&derived(&shared), &content_key, &mut wrapped);
            made = header(KeyAlgorithm::PublicPrivate, key.id(), Some(&PublicKey::from(&sender)));
            &made
        }
    };
    let aad = URL_SAFE_NO_PAD.encode(aad);
    let mut ciphertext = plain.to_vec();
    let cipher = Aes256Gcm::new((&*content_key).into());
    let authenticated = format!("{protected}.{aad}");
    let tag = cipher
        .encrypt_inout_detached(
            (&iv).into(),
            authenticated.as_bytes(),
            InOutBuf::from(ciphertext.as_mut_slice()),
        )
        .expect("invariant: a value is far below the bound of AES-GCM");
    let mut text = String::with_capacity(ciphertext.len() * 4 / 3 + protected.len() + aad.len() + 200);
    text.push_str(r#"{"protected":""#);
    text.push_str(protected);
    text.push_str(r#"","encrypted_key":""#);
    URL_SAFE_NO_PAD.encode_string(wrapped, &mut text);
    text.push_str(r#"","iv":""#);
    URL_SAFE_NO_PAD.encode_string(iv, &mut text);
    text.push_str(r#"","ciphertext":""#);
    URL_SAFE_NO_PAD.encode_string(&ciphertext, &mut text);
    text.push_str(r#"","tag":""#);
    URL_SAFE_NO_PAD.encode_string(tag, &mut text);
    text.push_str(r#"","aad":""#);
    text.push_str(&aad);
    text.push_str("\"}");
    text
}

/// Opens a value that was sealed with a key of this name for the place that `aad` names.
pub(crate) fn open(
    keys: &KeySet,
    name: &str,
    text: &str,
    aad: &str,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let sealed = Sealed::of(text).ok_or(OpenError::NotSealed)?;
    let usual = keys.keys().iter().find(|key| key.header.as_deref() == Some(sealed.protected));
    let (key, sender) = match usual {
        Some(key) => (key, None),
        None => named(keys, &sealed)?,
    };
    if key.name() != name {
        return Err(OpenError::NotOfKind(key.id().into()));
    }
    let no_key = || OpenError::NoKey(key.id().into());
    let wrong_key = || OpenError::WrongKey(key.id().into());
    let wrapped: [u8; WRAPPED_BYTES] = decoded(sealed.encrypted_key)?;
    let content_key = match (&*key.material, sender) {
        (Material::Symmetric(wrapping), None) => unwrap(wrapping, &wrapped),
        (Material::Private(private, _), Some(sender)) => {
            let shared = private.diffie_hellman(&sender);
            if !shared.was_contributory() {
                return Err(OpenError::Damaged);
            }
            unwrap(&derived(&Zeroizing::new(shared.to_bytes())), &wrapped)
        }
        (Material::Public(_), Some(_)) => return Err(no_key()),
        (Material::Symmetric(_), Some(_)) | (Material::Private(..) | Material::Public(_), None) => {
            return Err(OpenError::Algorithm);
        }
    };
    let content_key = content_key.ok_or_else(wrong_key)?;
    // Whether it is in its place is said apart from whether it was changed, because the ways to mend it differ.
    let is_in_place = sealed.aad == URL_SAFE_NO_PAD.encode(aad);
    let iv: [u8; IV_BYTES] = decoded(sealed.iv)?;
    let tag: [u8; TAG_BYTES] = decoded(sealed.tag)?;
    let plain = URL_SAFE_NO_PAD.decode(sealed.ciphertext).map_err(|_| OpenError::Damaged)?;
    let mut plain = Zeroizing::new(plain);
    let authenticated = format!("{}.{}", sealed.protected, sealed.aad);
    let cipher = Aes256Gcm::new((&*content_key).into());
    cipher
        .decrypt_inout_detached(
            (&iv).into(),
            authenticated.as_bytes(),
            InOutBuf::from(plain.as_mut_slice()),
            &Tag::from(tag),
        )
        .map_err(|_| OpenError::Damaged)?;
    if is_in_place { Ok(plain) } else { Err(OpenError::Misplaced) }
}

/// The key that a header names, and the sender's public key.
fn named<'a>(keys: &'a KeySet, sealed: &Sealed<'_>) -> Result<(&'a Key, Option<PublicKey>), OpenError> {
    let Header { alg, enc, kid, epk } = sealed.header().ok_or(OpenError::NotSealed)?;
    if enc != ENC || ![KeyAlgorithm::Symmetric, KeyAlgorithm::PublicPrivate].iter().any(|a| a.name() == alg) {
        return Err(OpenError::Algorithm);
    }
    let key = keys.get(&kid).ok_or(OpenError::NoKey(kid))?;
    if key.algorithm().name() != alg {
        return Err(OpenError::Algorithm);
    }
    let sender = match epk {
        None => None,
        Some(SenderKey { kty, crv, x }) if kty == "OKP" && crv == "X25519" => {
            Some(PublicKey::from(decoded::<32>(&x)?))
        }
        Some(_) => return Err(OpenError::Algorithm),
    };
    Ok((key, sender))
}

fn wrap(wrapping: &[u8; KEY_BYTES], key: &[u8; KEY_BYTES], wrapped: &mut [u8; WRAPPED_BYTES]) {
    let cipher = KwAes256::new(wrapping.into());
    cipher.wrap_key(key, wrapped).expect("invariant: the sizes are those of A256KW");
}

/// None if the key was not wrapped with this one.
fn unwrap(wrapping: &[u8; KEY_BYTES], wrapped: &[u8; WRAPPED_BYTES]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    KwAes256::new(wrapping.into()).unwrap_key(wrapped, &mut *key).ok()?;
    Some(key)
}

/// The Concat KDF of RFC 7518, section 4.6.2, for 256 bits, without names of the parties. One round of SHA-256 is enough.
fn derived(shared: &[u8; 32]) -> Zeroizing<[u8; KEY_BYTES]> {
    let algorithm = KeyAlgorithm::PublicPrivate.name().as_bytes();
    let mut hash = Sha256::new();
    hash.update(1u32.to_be_bytes());
    hash.update(shared);
    let length = u32::try_from(algorithm.len()).expect("invariant: the name is short");
    hash.update(length.to_be_bytes());
    hash.update(algorithm);
    // Neither party is named.
    hash.update([0; 8]);
    hash.update(256u32.to_be_bytes());
    Zeroizing::new(hash.finalize().into())
}

/// Exactly so many bytes in base64url.
fn decoded<const N: usize>(text: &str) -> Result<[u8; N], OpenError> {
    let mut bytes = [0; N];
    // The decoder may ask for a buffer that is larger than the text needs.
    if text.len() != (N * 4).div_ceil(3) {
        return Err(OpenError::Damaged);
    }
    match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
        Ok(length) if length == N => Ok(bytes),
        Ok(_) | Err(_) => Err(OpenError::Damaged),
    }
}

fn first<const N: usize>(bytes: &[u8; 32]) -> [u8; N] {
    let mut first = [0; N];
    first.copy_from_slice(&bytes[..N]);
    first
}
