//! JSON without white space.

use std::borrow::Cow;

/// The same JSON without white space outside of strings. The text is JSON already.
pub(super) fn compact(json: &str) -> Cow<'_, str> {
    let is_space = |byte: u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    // Most clients send none. Strings may hold spaces, too, so this does not yet decide.
    if !json.bytes().any(is_space) {
        return Cow::Borrowed(json);
    }
    let (mut out, mut in_string, mut is_escaped) = (String::with_capacity(json.len()), false, false);
    let mut copied = 0;
    for (at, byte) in json.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            byte if !in_string && is_space(byte) => {
                out.push_str(&json[copied..at]);
                copied = at + 1;
            }
            _ => {}
        }
    }
    if copied == 0 && out.is_empty() {
        return Cow::Borrowed(json);
    }
    out.push_str(&json[copied..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_outside_of_strings_goes() {
        let cases = [
            ("[1,2]", "[1,2]"),
            (" [1,\t2]\r\n", "[1,2]"),
            (r#"["a b",  "c\" d"]"#, r#"["a b","c\" d"]"#),
            (r#"{"a \\" : 1}"#, r#"{"a \\":1}"#),
            (r#"["é ü" ]"#, r#"["é ü"]"#),
            (" ", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(compact(text), expected, "{text:?}");
        }
        assert!(matches!(compact(r#"["a b"]"#), Cow::Borrowed(_)));
    }
}
