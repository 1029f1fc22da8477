//! Text as it may be written to a terminal: characters that a terminal obeys, or that are invisible, are spelt out.
//!
//! A job's args, its error, a file name or a worker's name can hold any character. Written as they are, some of them
//! move the cursor, change colours, or turn the order of the text round, so that a line seems to say something else.
//! [`out`](super::out) passes all that it writes through this module, and so do table cells, progress bars and log lines.

use std::{borrow::Cow, fmt::Write as _};

/// Whether a terminal would obey this character, or would show nothing for it.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Soft hyphen, and marks that set the direction of the text.
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            // Zero width: space, joiners, marks.
            | '\u{200b}'..='\u{200f}'
            // Separators of lines and paragraphs; embedding and override of the direction.
            | '\u{2028}'..='\u{202e}'
            // Word joiner, invisible operators; isolates of the direction.
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            // Tags.
            | '\u{e0000}'..='\u{e007f}')
}

/// Escapes all but line breaks and tabs: for a text of several lines.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_unseen(c) && c != '\n' && c != '\t')
}

/// Escapes all: for what must stay on one line, a cell or the message of a bar.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_unseen)
}

/// A message for people. Its further lines are indented, so that none of them can pass for a message of its own.
pub(crate) fn message(message: &str) -> String {
    text(message).trim_end_matches('\n').replace('\n', "\n  ")
}

/// JSON text, which stays JSON of the same value: the characters are escaped in JSON's own way.
pub(crate) fn json(json: &str) -> Cow<'_, str> {
    // Below U+0020 JSON allows line breaks and tabs only, and only between its parts, where no escape may stand.
    if !json.chars().any(|c| c == '\r' || (is_unseen(c) && c >= ' ')) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\r' => escaped.push(' '),
            c if is_unseen(c) && c >= ' ' => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

fn escaped(text: &str, is_meant: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_meant) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' if is_meant(c) => escaped.extend(c.escape_default()),
            c if is_meant(c) => escaped.extend(c.escape_unicode()),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelt_out() {
        assert_eq!(text("a\u{1b}[31mb\r\n\tc\0"), "a\\u{1b}[31mb\\r\n\tc\\u{0}");
        assert_eq!(text("\u{7f}\u{9b}31m"), "\\u{7f}\\u{9b}31m");
        assert_eq!(line("a\nb\tc"), "a\\nb\\tc");
    }

    #[test]
    fn characters_that_turn_the_text_round_or_are_not_seen_are_spelt_out() {
        for c in [
            '\u{202a}',
            '\u{202e}',
            '\u{2066}',
            '\u{2069}',
            '\u{200b}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{feff}',
            '\u{ad}',
            '\u{61c}',
            '\u{e0041}',
        ] {
            let shown = text(&format!("a{c}b")).into_owned();
            assert_eq!(shown, format!("a\\u{{{:x}}}b", u32::from(c)));
            // What is escaped once stays as it is.
            assert_eq!(text(&shown), shown);
        }
        assert_eq!(text("größer 日本 שלום"), "größer 日本 שלום", "text in any language stays");
    }

    #[test]
    fn json_stays_json_of_the_same_value() {
        let value = serde_json::json!({"a\u{202e}b": "\u{7f}\u{9b}\u{200b}\u{e0041}\n\"é"});
        let raw = serde_json::to_string(&value).expect("JSON") + "\r\n";
        let safe = json(&raw);
        assert!(safe.trim_end().chars().all(|c| !is_unseen(c)), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).expect("JSON"), value);
        assert_eq!(json("{\n\t\"a\": 1 }"), "{\n\t\"a\": 1 }");
    }

    #[test]
    fn a_message_of_several_lines_cannot_pass_for_several_messages() {
        assert_eq!(message("bad\nerror: worse\n"), "bad\n  error: worse");
    }
}
