//! What people write on a command line, read. Each file reads one thing and knows how to say what was wrong with it.
//!
//! Bounds are not checked here (the library does that, for every way in), only that the text means something.

mod keep;
mod moment;
mod shown;
mod span;

pub(crate) use keep::{KeepText, keep};
pub(crate) use moment::{MomentText, moment};
pub(crate) use shown::{StateWord, state_word};
pub(crate) use span::span;

/// `KEY=VALUE`; the value may hold further equals signs.
pub(crate) fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.into(), value.into())),
        None => Err("write KEY=VALUE".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_equals_signs_and_be_empty() {
        assert_eq!(key_and_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(key_and_value("a="), Ok(("a".into(), String::new())));
        assert!(key_and_value("a").is_err());
    }
}
