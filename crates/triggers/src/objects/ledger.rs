//! What is remembered of each object: its key in the ledger, and what shows that it changed. Pure.

use std::borrow::Cow;

use jiff::Timestamp;

use super::listing::Object;

/// What keys of objects begin with.
pub(super) const PREFIX: &str = "o/";

/// What shows that an object changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Print {
    pub(super) etag: String,
    pub(super) size: u64,
    pub(super) modified_ms: i64,
}

impl Print {
    pub(super) fn of(object: &Object) -> Self {
        let modified_ms = object.modified_at.map_or(0, Timestamp::as_millisecond);
        Self { etag: object.etag.clone(), size: object.size, modified_ms }
    }

    /// Whether the content is the same: the same tag, or, where there is none, the same size and time.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        if self.etag.is_empty() || other.etag.is_empty() {
            return (self.size, self.modified_ms) == (other.size, other.modified_ms);
        }
        self.etag == other.etag
    }

    pub(super) fn modified_at(&self) -> Option<Timestamp> {
        (self.modified_ms != 0).then(|| Timestamp::from_millisecond(self.modified_ms).ok()).flatten()
    }

    /// As the ledger has it.
    pub(super) fn text(&self) -> String {
        let Self { etag, size, modified_ms } = self;
        format!("{size} {modified_ms} {etag}")
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ' ');
        let (size, modified_ms) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { size, modified_ms, etag: parts.next()?.to_owned() })
    }
}

/// The key of an object in the ledger, without [`PREFIX`]. PostgreSQL cannot store the sign NUL, so that one and the sign after it are
/// written as two. The order stays that of the keys.
pub(super) fn encode(key: &str) -> Cow<'_, str> {
    if !key.contains(['\0', '\x01']) {
        return Cow::Borrowed(key);
    }
    Cow::Owned(key.replace('\x01', "\x01\x02").replace('\0', "\x01\x01"))
}

/// The key of an object, from that in the ledger.
pub(super) fn decode(key: &str) -> Cow<'_, str> {
    if !key.contains('\x01') {
        return Cow::Borrowed(key);
    }
    Cow::Owned(key.replace("\x01\x01", "\0").replace("\x01\x02", "\x01"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_comes_back_and_the_order_stays() {
        let mut keys = [
            "", "\0", "\0\0", "\0\x01", "\x01", "\x01\0", "\x01\x01", "\x01\x02", "a", "a\0", "a\x01b", "ä",
            "😀",
        ];
        keys.sort_unstable();
        let encoded: Vec<_> = keys.iter().map(|key| encode(key).into_owned()).collect();
        assert!(encoded.is_sorted(), "{encoded:?}");
        for (key, encoded) in keys.iter().zip(&encoded) {
            assert_eq!(decode(encoded), *key);
            assert!(!encoded.contains('\0'));
        }
    }

    #[test]
    fn a_print_comes_back_from_the_ledger() {
        for etag in ["", "9dd4e461", "a b \" c"] {
            let print = Print { etag: etag.into(), size: 2, modified_ms: -3 };
            assert_eq!(Print::parse(&print.text()), Some(print));
        }
        assert_eq!(Print::parse("1 2"), None);
    }

    #[test]
    fn an_object_changed_if_its_tag_did_or_without_a_tag_its_size_or_time() {
        let print = |etag: &str, size, modified_ms| Print { etag: etag.into(), size, modified_ms };
        assert!(print("a", 1, 1).is_same(&print("a", 1, 2)));
        assert!(!print("a", 1, 1).is_same(&print("b", 1, 1)));
        assert!(print("", 1, 1).is_same(&print("b", 1, 1)));
        assert!(!print("", 1, 1).is_same(&print("", 1, 2)));
    }
}
