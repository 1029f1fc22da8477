//! JSON for people: indented, folded where it is long, with a link to the whole text where it is large.

use backroom::Json;
use maud::{Markup, html};

use super::text::shown;
use crate::terminal::{visible, words};

/// So many bytes of markup stand on the page; the rest is downloaded.
const SHOWN_BYTES_MAX: usize = 8 * 1024;
/// Longer text is not indented: its beginning would say little more.
const INDENTED_BYTES_MAX: usize = 64 * 1024;
/// Text with more lines is folded.
const OPEN_LINES_MAX: usize = 20;

/// A value. `download` is where its text is.
pub(crate) fn json(name: &str, value: &Json, download: &str) -> Markup {
    let bytes = value.as_str().len();
    let text = if let Some(key) = backroom::core::sealed::key_id(value.as_str()) {
        format!("(sealed with key {key})")
    } else if bytes <= INDENTED_BYTES_MAX {
        pretty(value)
    } else {
        cut(value.as_str()).to_owned()
    };
    let text = shown(&text);
    let beginning = cut(&text);
    let is_whole = beginning.len() == text.len() && bytes <= INDENTED_BYTES_MAX;
    let is_open = is_whole && text.lines().count() <= OPEN_LINES_MAX;
    html! {
        details.json open[is_open] {
            summary { (name) " " span.muted { (words::bytes(bytes as u64)) } }
            div.scroll role="region" aria-label=(name) tabindex="0" { pre data-copy { (beginning) } }
            p {
                @if !is_whole { "The beginning. " }
                a href=(download) download { "Download" }
            }
        }
    }
}

fn pretty(value: &Json) -> String {
    let read: Result<serde_json::Value, _> = serde_json::from_str(value.as_str());
    let pretty = read.and_then(|read| serde_json::to_string_pretty(&read));
    visible::json(&pretty.unwrap_or_else(|_| value.as_str().to_owned())).into_owned()
}

/// The beginning of a text, up to a whole character. Markup escapes some characters, and a text that is indented has more bytes than
/// before: what counts is what is sent.
fn cut(text: &str) -> &str {
    let mut bytes = 0;
    for (at, character) in text.char_indices() {
        bytes += match character {
            '"' => "&quot;".len(),
            '&' => "&amp;".len(),
            '<' | '>' => "&lt;".len(),
            _ => character.len_utf8(),
        };
        if bytes > SHOWN_BYTES_MAX {
            return &text[..at];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_small_however_it_is_nested_or_escaped() {
        let nested = format!("{}1{}", "[".repeat(50), "]".repeat(50));
        let quotes = format!("[{}\"\"]", "\"<>&\",".repeat(1000));
        let long = format!("\"{}\"", "é".repeat(100_000));
        let many = format!("[{}{nested}]", format!("{nested},").repeat(60));
        for text in [nested, quotes, long, many] {
            let markup = json("Args", &Json::parse(text).unwrap(), "/args.json").into_string();
            assert!(markup.len() < SHOWN_BYTES_MAX + 1024, "{} bytes", markup.len());
        }
        let small = json("Args", &Json::parse("{\"a\":1}").unwrap(), "/").into_string();
        assert!(small.contains("&quot;a&quot;: 1") && !small.contains("The beginning"), "{small}");
    }
}
