//! Which addresses at a broker may get replies.

/// Patterns of addresses. An address must fit one of them.
#[derive(Debug)]
pub(super) struct Addresses(Vec<String>);

impl Addresses {
    pub(super) fn new(patterns: Vec<String>) -> Self {
        Self(patterns)
    }

    pub(super) fn permit(&self, address: &str) -> bool {
        self.0.iter().any(|pattern| fits(pattern, address))
    }
}

/// Whether a text fits a pattern, in which `*` stands for any characters.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, mut pattern)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    // Each part where it comes first: that leaves the most for those behind it.
    while let Some((part, after)) = pattern.split_once('*') {
        let Some((_, rest)) = text.split_once(part) else { return false };
        (pattern, text) = (after, rest);
    }
    text.ends_with(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters_and_all_else_for_itself() {
        for (pattern, address, fit) in [
            ("*", "anything", true),
            ("*", "$JS.API.INFO", true),
            ("answers.*", "answers.a.b", true),
            ("answers.*", "answers.", true),
            ("answers.*", "answers", false),
            ("answers.*", "other.answers.a", false),
            ("*.done", "a.done", true),
            ("*.done", "a.done.b", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-bb-cc", true),
            ("a*b*c", "acb", false),
            ("a**c", "ac", true),
            ("ab*ba", "aba", false),
            ("queue", "queue", true),
            ("queue", "queues", false),
            ("", "a", false),
        ] {
            assert_eq!(fits(pattern, address), fit, "{pattern} {address}");
        }
    }

    #[test]
    fn one_pattern_must_fit_and_none_permits_nothing() {
        let addresses =
            |patterns: &[&str]| Addresses::new(patterns.iter().map(|&text| text.into()).collect());
        assert!(addresses(&["a.*", "b"]).permit("b"));
        assert!(!addresses(&["a.*", "b"]).permit("c"));
        assert!(!addresses(&[]).permit("a"));
    }
}
