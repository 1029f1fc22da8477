//! What a form or a query says: names and values, as browsers send them.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Names and values in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads `application/x-www-form-urlencoded`. Bytes that are no UTF-8 become a replacement character.
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decoded(name), decoded(value))
                })
                .collect(),
        )
    }

    /// The value of a field, without spaces around it; none if it is missing or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.raw(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// The value as it was sent.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a field that may stand there several times.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The same with one field set to another value; with an empty one it is left out.
    #[must_use]
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let mut pairs: Vec<_> = self.0.iter().filter(|(found, _)| found != name).cloned().collect();
        if !value.is_empty() {
            pairs.push((name.to_owned(), value.to_owned()));
        }
        Self(pairs)
    }

    /// The same with these fields only, and without empty ones.
    #[must_use]
    pub(super) fn only(&self, names: &[&str]) -> Self {
        let is_wanted =
            |(name, value): &&(String, String)| names.contains(&name.as_str()) && !value.trim().is_empty();
        Self(self.0.iter().filter(is_wanted).cloned().collect())
    }

    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// As a query, without the question mark.
    pub(super) fn query(&self) -> String {
        let pairs = self.0.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
        pairs.collect::<Vec<_>>().join("&")
    }

    /// A path with this query.
    pub(super) fn link(&self, path: &str) -> String {
        if self.0.is_empty() { path.to_owned() } else { format!("{path}?{}", self.query()) }
    }
}

/// A part of a path or of a query, with everything escaped that would not stand for itself.
pub(super) fn escaped(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

fn decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_a_browser_writes_it() {
        let fields = Fields::parse("a=1+2&b=%3Cx%3E%26&&c&a=3&bad=%ff");
        assert_eq!(fields.get("a"), Some("1 2"));
        assert_eq!(fields.all("a").collect::<Vec<_>>(), ["1 2", "3"]);
        assert_eq!(fields.get("b"), Some("<x>&"));
        assert_eq!((fields.get("c"), fields.raw("c")), (None, Some("")));
        assert_eq!(fields.get("bad"), Some("\u{fffd}"));
    }

    #[test]
    fn a_query_says_the_same_when_it_is_read_again() {
        let fields = Fields::parse("q=%C3%A9%20%3D%26&tag=a%2Bb");
        assert_eq!(Fields::parse(&fields.query()), fields);
        assert_eq!(fields.with("tag", "").with("n", "1").link("/jobs"), "/jobs?q=%C3%A9%20%3D%26&n=1");
        assert_eq!(fields.only(&["tag"]).query(), "tag=a%2Bb");
    }
}
