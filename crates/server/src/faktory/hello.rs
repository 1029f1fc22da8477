//! The handshake: what the server says first, and what it checks of the answer.

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The rounds that the server asks for lie from here on.
pub(crate) const ROUNDS_MIN: u32 = 4000;
/// How many numbers of rounds there are.
pub(crate) const ROUNDS_SPREAD: u32 = 4096;
/// What the first line of a client begins with.
const BEGIN: &str = "HELLO ";

/// What a password is hashed with, fresh for each connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// Hex digits.
    pub(crate) salt: String,
    /// How often SHA-256 is applied.
    pub(crate) rounds: u32,
}

/// What a client says about itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Hello {
    /// The version of the protocol that the client speaks. Old clients say none.
    v: i64,
    pub(crate) hostname: Option<String>,
    /// The worker that the connection belongs to; none for a producer.
    pub(crate) wid: Option<String>,
    pwdhash: Option<String>,
}

/// Why a connection is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoHello {
    /// It speaks something else. It gets no answer.
    NotFaktory,
    /// Its password is wrong, or missing.
    WrongPassword,
    /// A bound is broken.
    Invalid(String),
}

impl Challenge {
    /// Of sixteen random bytes.
    pub(crate) fn of(random: [u8; 16]) -> Self {
        let mut number = [0; 8];
        number.copy_from_slice(&random[..8]);
        // A positive number of 63 bits, as other servers send it.
        let salt = u64::from_be_bytes(number) >> 1;
        let spread = u32::from(u16::from_be_bytes([random[8], random[9]])) % ROUNDS_SPREAD;
        Self { salt: format!("{salt:x}"), rounds: ROUNDS_MIN + spread }
    }
}

/// The first line of the server.
pub(crate) fn hi(challenge: Option<&Challenge>) -> String {
    match challenge {
        Some(Challenge { salt, rounds }) => format!("+HI {{\"v\":2,\"i\":{rounds},\"s\":\"{salt}\"}}\r\n"),
        None => "+HI {\"v\":2}\r\n".into(),
    }
}

/// Reads the first line of a client.
pub(crate) fn read(line: &str) -> Result<Hello, NoHello> {
    let json = line.strip_prefix(BEGIN).filter(|json| json.starts_with('{')).ok_or(NoHello::NotFaktory)?;
    let hello: Hello = serde_json::from_str(json).map_err(|_| NoHello::NotFaktory)?;
    if let Some(wid) = hello.wid.as_deref().filter(|wid| !wid.is_empty()) {
        super::jid::check("wid", wid).map_err(NoHello::Invalid)?;
    }
    Ok(hello)
}

impl Hello {
    /// The worker that the connection belongs to.
    pub(crate) fn worker(&self) -> Option<&str> {
        self.wid.as_deref().filter(|wid| !wid.is_empty())
    }

    /// Whether the client knows the password. Clients before version 2 of the protocol hash it once.
    pub(crate) fn check(&self, password: &str, challenge: &Challenge) -> Result<(), NoHello> {
        let rounds = if self.v < 2 { 1 } else { challenge.rounds };
        let right = hashed(password, &challenge.salt, rounds);
        let said = self.pwdhash.as_deref().unwrap_or_default();
        if bool::from(said.as_bytes().ct_eq(right.as_bytes())) { Ok(()) } else { Err(NoHello::WrongPassword) }
    }
}

/// The hash of a password that crosses the network.
fn hashed(password: &str, salt: &str, rounds: u32) -> String {
    let mut hash = Sha256::digest(format!("{password}{salt}"));
    for _ in 1..rounds {
        hash = Sha256::digest(hash);
    }
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_hashed_as_every_client_does_it() {
        let vectors = [
            (
                "foobar",
                "55104dc76695721d",
                1545,
                "6d877f8e5544b1f2598768f817413ab8a357afffa924dedae99eb91472d4ec30",
            ),
            ("abcde123", "123", 3, "ef646abadf4ffba660d9bbb8de8e45576970de917b4c9da8cad96b49e64636d9"),
        ];
        for (password, salt, rounds, hash) in vectors {
            assert_eq!(hashed(password, salt, rounds), hash);
            let challenge = Challenge { salt: salt.into(), rounds };
            let says = |v, hash: &str| Hello { v, pwdhash: Some(hash.into()), ..Hello::default() };
            assert_eq!(says(2, hash).check(password, &challenge), Ok(()));
            assert_eq!(says(2, hash).check("other", &challenge), Err(NoHello::WrongPassword));
            assert_eq!(says(2, &hash[1..]).check(password, &challenge), Err(NoHello::WrongPassword));
            assert_eq!(Hello::default().check(password, &challenge), Err(NoHello::WrongPassword));
            // A client that says no version hashes once, and only such a client may.
            let once = hashed(password, salt, 1);
            assert_eq!(says(0, &once).check(password, &challenge), Ok(()));
            assert_eq!(says(2, &once).check(password, &challenge), Err(NoHello::WrongPassword));
        }
    }

    #[test]
    fn a_challenge_has_the_form_that_clients_expect() {
        let least = Challenge::of([0; 16]);
        assert_eq!((least.salt.as_str(), least.rounds), ("0", 4000));
        let most = Challenge::of([255; 16]);
        assert_eq!((most.salt.as_str(), most.rounds), ("7fffffffffffffff", 8095));
        assert_eq!(hi(Some(&least)), "+HI {\"v\":2,\"i\":4000,\"s\":\"0\"}\r\n");
        assert_eq!(hi(None), "+HI {\"v\":2}\r\n");
    }

    #[test]
    fn only_a_hello_with_json_is_taken() {
        let hello =
            read(r#"HELLO {"hostname":"a","wid":"w-1","pid":1,"labels":["x"],"v":2,"new":{}}"#).unwrap();
        assert_eq!((hello.worker(), hello.hostname.as_deref()), (Some("w-1"), Some("a")));
        assert_eq!(read(r#"HELLO {"wid":""}"#).unwrap().worker(), None);
        for line in
            ["", "HELLO", "HELLO x", "hello {}", "HELLO  {}", "HELLO {", "PUSH {}", "INFO", "GET / HTTP/1.1"]
        {
            assert_eq!(read(line).err(), Some(NoHello::NotFaktory), "{line}");
        }
        let long = format!(r#"HELLO {{"wid":"{}"}}"#, "w".repeat(101));
        assert!(matches!(read(&long), Err(NoHello::Invalid(_))));
    }
}
