//! What is remembered of each file: its key in the ledger, and what shows that it changed.

use std::{
    ffi::{OsStr, OsString},
    fs::Metadata,
    path::{Path, PathBuf},
};

/// What keys of files begin with.
pub(super) const PREFIX: &str = "f/";

/// What shows that a file changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Print {
    /// The time of its last change, in nanoseconds since 1970.
    pub(super) modified_ns: i128,
    pub(super) size: u64,
    pub(super) inode: u64,
    /// The time of the last change of its name, owner or mode. It makes identities: a file that is moved away and back is delivered
    /// again. It does not count as a change.
    pub(super) touched_ns: i128,
}

impl Print {
    #[cfg(unix)]
    pub(super) fn of(found: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let nanos = |secs: i64, nanos: i64| i128::from(secs) * 1_000_000_000 + i128::from(nanos);
        Self {
            modified_ns: nanos(found.mtime(), found.mtime_nsec()),
            size: found.len(),
            inode: found.ino(),
            touched_ns: nanos(found.ctime(), found.ctime_nsec()),
        }
    }

    #[cfg(not(unix))]
    pub(super) fn of(found: &Metadata) -> Self {
        let since = |at: std::io::Result<std::time::SystemTime>| {
            let since = at.ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
            since.map_or(0, |since| i128::try_from(since.as_nanos()).unwrap_or(i128::MAX))
        };
        Self {
            modified_ns: since(found.modified()),
            size: found.len(),
            inode: 0,
            touched_ns: since(found.created()),
        }
    }

    /// Whether the content is the same, as far as can be seen without reading it.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.modified_ns, self.size, self.inode) == (other.modified_ns, other.size, other.inode)
    }

    /// As the ledger has it.
    pub(super) fn text(&self) -> String {
        let Self { modified_ns, size, inode, touched_ns } = self;
        format!("{modified_ns} {size} {inode} {touched_ns}")
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let print = Self {
            modified_ns: parts.next()?.parse().ok()?,
            size: parts.next()?.parse().ok()?,
            inode: parts.next()?.parse().ok()?,
            touched_ns: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(print)
    }
}

/// A name as it stands in a key. `%`, control characters and what is no UTF-8 are written as `%XX`, so that every name has one key.
pub(super) fn encode(name: &OsStr) -> String {
    use std::fmt::Write as _;
    let bytes = name.as_encoded_bytes();
    let plain = |byte: &u8| *byte >= b' ' && *byte != b'%' && *byte != 0x7f;
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.iter().all(plain) => text.to_owned(),
        _ => {
            let mut key = String::with_capacity(bytes.len() + 8);
            for chunk in bytes.utf8_chunks() {
                for sign in chunk.valid().chars() {
                    if sign.is_ascii() && !plain(&(sign as u8)) {
                        // Writing to a String cannot fail.
                        let _ = write!(key, "%{:02X}", sign as u8);
                    } else {
                        key.push(sign);
                    }
                }
                for byte in chunk.invalid() {
                    let _ = write!(key, "%{byte:02X}");
                }
            }
            key
        }
    }
}

/// The path of a key below the folder.
pub(super) fn path_of(root: &Path, key: &str) -> PathBuf {
    if key.is_empty() { root.to_owned() } else { root.join(decode(key)) }
}

#[cfg(unix)]
fn decode(key: &str) -> OsString {
    use std::os::unix::ffi::OsStringExt as _;
    if !key.contains('%') {
        return key.into();
    }
    let (bytes, mut decoded, mut at) = (key.as_bytes(), Vec::with_capacity(key.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let hex = (*byte == b'%').then(|| key.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    OsString::from_vec(decoded)
}

#[cfg(not(unix))]
fn decode(key: &str) -> OsString {
    // Names are Unicode there; only `%` and control characters were written otherwise.
    let mut decoded = String::with_capacity(key.len());
    let mut rest = key;
    while let Some(at) = rest.find('%') {
        decoded.push_str(&rest[..at]);
        match rest.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) => decoded.push(char::from(value)),
            None => decoded.push('%'),
        }
        rest = rest.get(at + 3..).unwrap_or("");
    }
    decoded.push_str(rest);
    decoded.into()
}

/// The key of a path below the folder; none if it does not lie below it.
pub(super) fn key_of(root: &Path, path: &Path) -> Option<String> {
    let below = path.strip_prefix(root).ok()?;
    let names: Vec<String> = below.iter().map(encode).collect();
    Some(names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn every_name_has_a_key_and_comes_back() {
        use std::os::unix::ffi::OsStrExt as _;
        let mut keys = std::collections::BTreeSet::new();
        for name in [
            b"a".as_slice(),
            b"100%",
            b"%25",
            b"\xc3\xa4\xff",
            b"\xff",
            b"a\nb",
            "ü €".as_bytes(),
            b"\x7f",
            b"%FF",
        ] {
            let name = OsStr::from_bytes(name);
            let key = encode(name);
            assert_eq!(path_of(Path::new("/in"), &key), Path::new("/in").join(name));
            assert!(!key.chars().any(char::is_control), "{key:?}");
            assert!(keys.insert(key));
        }
        assert_eq!(key_of(Path::new("/in"), Path::new("/in/a/100%")), Some("a/100%25".into()));
        assert_eq!(key_of(Path::new("/in"), Path::new("/out/a")), None);
    }

    #[test]
    fn a_print_comes_back_from_the_ledger() {
        let print = Print { modified_ns: -1, size: 2, inode: 3, touched_ns: 4 };
        assert_eq!(Print::parse(&print.text()), Some(print));
        assert_eq!(Print::parse("1 2 3"), None);
        assert!(print.is_same(&Print { touched_ns: 9, ..print }));
        assert!(!print.is_same(&Print { size: 9, ..print }));
    }
}
