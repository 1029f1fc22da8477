//! Keys and sets of keys, as JWK Sets (RFC 7517).
//!
//! The id of a key is its name, a point and a number, such as `payroll.2`. Of the keys of one name, that with the highest number seals;
//! all of them open. The key `payroll.hash` makes unique keys. Secret bytes are zeroed when the last owner drops them, and no `Debug`
//! shows them.

use std::{collections::HashSet, fmt, sync::Arc};

use backroom_core::bounds::check_name;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{Error, ErrorKind, ids::Ids};

/// Largest text of a set.
pub(crate) const SET_BYTES_MAX: usize = 1024 * 1024;
/// Most keys of a set.
const KEYS_MAX: usize = 1000;
/// What the id of a key for unique keys ends with.
const HASH: &str = "hash";

/// How a key wraps the keys of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// `A256KW`: the same 256 bits seal and open.
    Symmetric,
    /// `ECDH-ES+A256KW` with X25519: the public part seals, and only the private part opens.
    PublicPrivate,
}

impl KeyAlgorithm {
    /// Its name in the header of a JWE.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Symmetric => "A256KW",
            Self::PublicPrivate => "ECDH-ES+A256KW",
        }
    }
}

/// One key.
#[derive(Clone)]
pub struct Key {
    id: String,
    /// How long its name is, and its number.
    name_len: usize,
    number: u64,
    pub(super) material: Arc<Material>,
    /// The protected header of what it seals, where that is always the same.
    pub(super) header: Option<String>,
}

/// What is secret in a key.
pub(super) enum Material {
    Symmetric(Zeroizing<[u8; 32]>),
    Private(StaticSecret, PublicKey),
    Public(PublicKey),
}

/// A key that makes unique keys.
#[derive(Clone)]
pub(super) struct HashKey {
    name: String,
    pub(super) bytes: Arc<Zeroizing<[u8; 32]>>,
}

/// A set of keys.
#[derive(Clone, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    hashes: Vec<HashKey>,
}

/// A key of a JWK Set. Members that are not known are ignored, as RFC 7517 asks for.
#[derive(Deserialize)]
struct Jwk<'a> {
    kty: &'a str,
    #[serde(default)]
    kid: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    alg: Option<&'a str>,
    #[serde(default)]
    crv: Option<&'a str>,
    #[serde(default)]
    k: Option<&'a str>,
    #[serde(default)]
    x: Option<&'a str>,
    #[serde(default)]
    d: Option<&'a str>,
}

#[derive(Deserialize)]
struct JwkSet<'a> {
    #[serde(borrow)]
    keys: Vec<Jwk<'a>>,
}

impl Key {
    fn new(id: &str, material: Material) -> Result<Self, Error> {
        let (name_len, number) = parts(id)?;
        let header = match &material {
            Material::Symmetric(_) => Some(super::jwe::header(KeyAlgorithm::Symmetric, id, None)),
            Material::Private(..) | Material::Public(_) => None,
        };
        Ok(Self { id: id.to_owned(), name_len, number, material: Arc::new(material), header })
    }

    /// Its id, such as `payroll.2`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its name, such as `payroll`: what kinds are sealed with.
    pub fn name(&self) -> &str {
        &self.id[..self.name_len]
    }

    /// How it wraps the keys of values.
    pub fn algorithm(&self) -> KeyAlgorithm {
        match *self.material {
            Material::Symmetric(_) => KeyAlgorithm::Symmetric,
            Material::Private(..) | Material::Public(_) => KeyAlgorithm::PublicPrivate,
        }
    }

    /// Whether it opens what is sealed with it. A public key only seals.
    pub fn opens(&self) -> bool {
        !matches!(*self.material, Material::Public(_))
    }

    /// A fresh key.
    fn generate(id: &str, algorithm: KeyAlgorithm, ids: &Ids) -> Result<Self, Error> {
        let mut secret = ids.secret();
        let material = match algorithm {
            KeyAlgorithm::Symmetric => Material::Symmetric(Zeroizing::new(secret)),
            KeyAlgorithm::PublicPrivate => {
                let private = StaticSecret::from(secret);
                let public = PublicKey::from(&private);
                Material::Private(private, public)
            }
        };
        secret.zeroize();
        Self::new(id, material)
    }

    fn write(&self, text: &mut String) {
        let encode = |bytes: &[u8]| Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes));
        let (id, alg) = (escaped(&self.id), self.algorithm().name());
        match &*self.material {
            Material::Symmetric(bytes) => {
                text.push_str(&format!(r#"{{"kty":"oct","kid":{id},"alg":"{alg}","k":""#));
                text.push_str(&encode(&**bytes));
            }
            Material::Private(private, public) => {
                let x = encode(public.as_bytes());
                text.push_str(&format!(
                    r#"{{"kty":"OKP","crv":"X25519","kid":{id},"alg":"{alg}","x":"{}","d":""#,
                    *x
                ));
                text.push_str(&encode(private.as_bytes()));
            }
            Material::Public(public) => {
                let x = encode(public.as_bytes());
                text.push_str(&format!(
                    r#"{{"kty":"OKP","crv":"X25519","kid":{id},"alg":"{alg}","x":"{}"#,
                    *x
                ));
            }
        }
        text.push_str("\"}");
    }
}

impl KeySet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a JWK Set. Keys of sorts that Backroom does not use are passed over. [`Invalid`](ErrorKind::Invalid) if the text is no set,
    /// if a key is malformed, or if two keys have one id. No error repeats the text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > SET_BYTES_MAX {
            return Err(invalid(format!("it has more than {SET_BYTES_MAX} bytes")));
        }
        // The error of the parser could repeat a part of the text.
        let set: JwkSet<'_> =
            serde_json::from_str(text).map_err(|_| invalid("it is no JWK Set (RFC 7517), or malformed"))?;
        if set.keys.len() > KEYS_MAX {
            return Err(invalid(format!("it has more than {KEYS_MAX} keys")));
        }
        let (mut read, mut ids) = (Self::default(), HashSet::new());
        for (place, jwk) in set.keys.iter().enumerate() {
            let Some(id) = &jwk.kid else {
                return Err(invalid(format!("its key {} has no id (`kid`)", place + 1)));
            };
            check_name("key id", id)?;
            if !ids.insert(id) {
                return Err(invalid(format!("two of its keys have the id {id:?}")));
            }
            read.take(id, jwk)?;
        }
        Ok(read)
    }

    fn take(&mut self, id: &str, jwk: &Jwk<'_>) -> Result<(), Error> {
        let material = match (jwk.kty, jwk.crv, jwk.alg) {
            ("oct", _, Some("HS256")) => {
                let Some(name) = id.strip_suffix(HASH).and_then(|name| name.strip_suffix('.')) else {
                    return Err(invalid(format!(
                        "its key {id:?} is one for unique keys (HS256), whose ids end with .{HASH}"
                    )));
                };
                let bytes = Arc::new(bytes(id, "k", jwk.k)?);
                self.hashes.push(HashKey { name: name.to_owned(), bytes });
                return Ok(());
            }
            ("oct", _, None | Some("A256KW")) => Material::Symmetric(bytes(id, "k", jwk.k)?),
            ("OKP", Some("X25519"), None | Some("ECDH-ES+A256KW")) => {
                let public = PublicKey::from(*bytes(id, "x", jwk.x)?);
                match jwk.d {
                    None => Material::Public(public),
                    Some(_) => {
                        let private = StaticSecret::from(*bytes(id, "d", jwk.d)?);
                        if PublicKey::from(&private) != public {
                            return Err(invalid(format!(
                                "the private and the public part of its key {id:?} do not belong together"
                            )));
                        }
                        Material::Private(private, public)
                    }
                }
            }
            _ => return Ok(()),
        };
        self.keys.push(Key::new(id, material)?);
        Ok(())
    }

    /// Its keys, in their order; those for unique keys are not among them.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The key of this id.
    pub fn get(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// The key of this name that seals: that with the highest number.
    pub fn current(&self, name: &str) -> Option<&Key> {
        self.keys.iter().filter(|key| key.name() == name).max_by_key(|key| key.number)
    }

    /// Whether a key of this name opens values.
    pub fn opens(&self, name: &str) -> bool {
        self.keys.iter().any(|key| key.opens() && key.name() == name)
    }

    pub(super) fn hash(&self, name: &str) -> Option<&HashKey> {
        self.hashes.iter().find(|hash| hash.name == name)
    }

    /// Whether the set has secrets: keys that open, or keys for unique keys.
    pub fn has_secrets(&self) -> bool {
        !self.hashes.is_empty() || self.keys.iter().any(Key::opens)
    }

    /// Adds a fresh key of a name, which seals from now on, and a key for unique keys if the name has none. Returns the id of the key.
    pub fn make(&mut self, name: &str, algorithm: KeyAlgorithm) -> Result<String, Error> {
        check_name("key name", name)?;
        let ids = Ids::from_entropy();
        let number = self.current(name).map_or(0, |key| key.number);
        let id = format!("{name}.{}", number.saturating_add(1));
        check_name("key id", &id)?;
        self.keys.push(Key::generate(&id, algorithm, &ids)?);
        if self.hash(name).is_none() {
            let bytes = Arc::new(Zeroizing::new(ids.secret()));
            self.hashes.push(HashKey { name: name.to_owned(), bytes });
        }
        Ok(id)
    }

    /// Takes a key away: what is sealed with it cannot be opened by this set any more. False if there is none of this id.
    pub fn remove(&mut self, id: &str) -> bool {
        let before = self.keys.len();
        self.keys.retain(|key| key.id != id);
        self.keys.len() < before
    }

    /// What a producer needs that may seal and must not open: the public parts of the keys of X25519, and the keys for unique keys.
    /// Symmetric keys are left out.
    #[must_use]
    pub fn for_producers(&self) -> Self {
        let public = |key: &Key| match &*key.material {
            Material::Private(_, public) | Material::Public(public) => {
                Some(Key { material: Arc::new(Material::Public(*public)), ..key.clone() })
            }
            Material::Symmetric(_) => None,
        };
        let keys: Vec<_> = self.keys.iter().filter_map(public).collect();
        let of_keys = |hash: &&HashKey| keys.iter().any(|key| key.name() == hash.name);
        let hashes = self.hashes.iter().filter(of_keys).cloned().collect();
        Self { keys, hashes }
    }

    /// The set as a JWK Set, with its secrets. It is zeroed when it is dropped.
    pub fn to_text(&self) -> Zeroizing<String> {
        // Enough for every key, so that it never moves and leaves a copy behind.
        let mut text =
            Zeroizing::new(String::with_capacity(64 + (self.keys.len() + self.hashes.len()) * 512));
        text.push_str("{\"keys\":[");
        for (place, key) in self.keys.iter().enumerate() {
            text.push_str(if place == 0 { "\n  " } else { ",\n  " });
            key.write(&mut text);
        }
        for (place, hash) in self.hashes.iter().enumerate() {
            text.push_str(if place + self.keys.len() == 0 { "\n  " } else { ",\n  " });
            let id = escaped(&format!("{}.{HASH}", hash.name));
            text.push_str(&format!(r#"{{"kty":"oct","kid":{id},"alg":"HS256","k":""#));
            text.push_str(&Zeroizing::new(URL_SAFE_NO_PAD.encode(**hash.bytes)));
            text.push_str("\"}");
        }
        text.push_str("\n]}\n");
        text
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm())
            .field("opens", &self.opens())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// How long the name of a key id is, and its number. An id without a number is a name, with the number 0.
fn parts(id: &str) -> Result<(usize, u64), Error> {
    check_name("key id", id)?;
    let number = id.rsplit_once('.').and_then(|(name, number)| Some((name.len(), number.parse().ok()?)));
    match number {
        Some((0, _)) => Err(invalid(format!("its key {id:?} has no name before its number"))),
        Some(parts) => Ok(parts),
        None => Ok((id.len(), 0)),
    }
}

/// 32 bytes in base64url.
fn bytes(id: &str, member: &str, text: Option<&str>) -> Result<Zeroizing<[u8; 32]>, Error> {
    let wrong =
        || invalid(format!("`{member}` of its key {id:?} is not 32 bytes in base64url without padding"));
    let mut bytes = Zeroizing::new([0; 32]);
    let text = text.filter(|text| text.len() == 43).ok_or_else(wrong)?;
    match URL_SAFE_NO_PAD.decode_slice(text, &mut *bytes) {
        Ok(32) => Ok(bytes),
        Ok(_) | Err(_) => Err(wrong()),
    }
}

/// A JSON string.
fn escaped(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn invalid(why: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Invalid, format!("read a set of keys: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_read_as_it_was_written() {
        let mut set = KeySet::new();
        assert_eq!(set.make("payroll", KeyAlgorithm::Symmetric).unwrap(), "payroll.1");
        assert_eq!(set.make("payroll", KeyAlgorithm::PublicPrivate).unwrap(), "payroll.2");
        let read = KeySet::parse(&set.to_text()).unwrap();
        assert_eq!(read.to_text(), set.to_text());
        assert_eq!(read.current("payroll").unwrap().id(), "payroll.2");
        assert!(read.opens("payroll") && !read.opens("pay"));
        let producers = KeySet::parse(&set.for_producers().to_text()).unwrap();
        assert!(!producers.opens("payroll") && producers.current("payroll").is_some());
        assert_eq!(producers.keys().len(), 1, "a symmetric key would open");
        assert!(producers.hash("payroll").is_some());
    }

    #[test]
    fn debug_and_errors_show_no_secret() {
        let mut set = KeySet::new();
        set.make("a", KeyAlgorithm::Symmetric).unwrap();
        let text = set.to_text();
        let secret = text.split("\"k\":\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(secret.len(), 43);
        assert!(!format!("{set:?}").contains(secret));
        for broken in [text.replace("]}", ""), text.replace(secret, &secret[1..]), text.replace("a.1", "")] {
            let error = KeySet::parse(&broken).unwrap_err().to_string();
            assert!(!error.contains(&secret[1..]), "{error}");
        }
    }

    #[test]
    fn malformed_keys_are_refused_and_foreign_ones_passed_over() {
        let oct = |kid: &str, k: &str| format!(r#"{{"kty":"oct","kid":"{kid}","k":"{k}"}}"#);
        let set = |keys: &str| KeySet::parse(&format!(r#"{{"keys":[{keys}]}}"#));
        let good = "A".repeat(43);
        assert!(set(&oct("a", &good)).unwrap().opens("a"));
        let foreign = r#"{"kty":"RSA","kid":"r","n":"AQ","e":"AQAB"},{"kty":"EC","kid":"e","crv":"P-256"}"#;
        assert!(set(foreign).unwrap().keys().is_empty());
        for wrong in [
            oct("a", &"A".repeat(42)),
            oct("a", &"A".repeat(44)),
            oct("a", &format!("{}B", "A".repeat(42))),
            oct(".1", &good),
            oct("", &good),
            format!("{},{}", oct("a", &good), oct("a", &good)),
            format!(r#"{{"kty":"oct","k":"{good}"}}"#),
            format!(r#"{{"kty":"oct","kid":"a","alg":"HS256","k":"{good}"}}"#),
            format!(r#"{{"kty":"OKP","crv":"X25519","kid":"a","x":"{good}","d":"{good}"}}"#),
        ] {
            assert_eq!(set(&wrong).unwrap_err().kind(), ErrorKind::Invalid, "{wrong}");
        }
    }
}
