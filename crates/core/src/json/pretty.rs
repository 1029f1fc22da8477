//! A JSON value laid out for people.

use super::Json;

/// Spaces per level.
const INDENT: usize = 2;

impl Json {
    /// The same text with one field or item per line. Only the white space between the parts changes: digits, escapes
    /// and fields of one name are shown as they are stored.
    pub fn pretty(&self) -> String {
        let mut rest = self.as_str();
        let mut out = String::with_capacity(2 * rest.len());
        let mut level = 0usize;
        loop {
            rest = trimmed(rest);
            let Some(first) = rest.chars().next() else { return out };
            let length = if first == '"' { text_length(rest) } else { first.len_utf8() };
            let (part, after) = rest.split_at(length);
            rest = after;
            match first {
                '{' | '[' => {
                    out.push(first);
                    let inside = trimmed(rest);
                    if let Some(close @ ('}' | ']')) = inside.chars().next() {
                        out.push(close);
                        rest = &inside[1..];
                    } else {
                        level += 1;
                        break_line(&mut out, level);
                    }
                }
                '}' | ']' => {
                    level = level.saturating_sub(1);
                    break_line(&mut out, level);
                    out.push(first);
                }
                ',' => {
                    out.push(',');
                    break_line(&mut out, level);
                }
                ':' => out.push_str(": "),
                _ => out.push_str(part),
            }
        }
    }
}

fn break_line(out: &mut String, level: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', INDENT * level));
}

/// Without the white space at its beginning.
fn trimmed(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\r', '\n'])
}

/// How many bytes the quoted text takes that `text` begins with, its quotes included.
fn text_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}
