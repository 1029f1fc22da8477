//! JSON for people: indented, folded where it is long, with a link to the whole text where it is large.

use backroom::Json;
use maud::{Markup, html};

use super::text::shown;
use crate::terminal::{visible, words};

/// So many bytes stand on the page; the rest is downloaded.
const SHOWN_BYTES_MAX: usize = 8 * 1024;
/// Text with more lines is folded.
const OPEN_LINES_MAX: usize = 20;

/// A value. `download` is where its text is.
pub(crate) fn json(name: &str, value: &Json, download: &str) -> Markup {
    let bytes = value.as_str().len();
    let text = if let Some(key) = backroom::core::sealed::key_id(value.as_str()) {
        format!("(sealed with key {key})")
    } else if bytes <= SHOWN_BYTES_MAX {
        pretty(value)
    } else {
        cut(value.as_str()).to_owned()
    };
    let is_open = bytes <= SHOWN_BYTES_MAX && text.lines().count() <= OPEN_LINES_MAX;
    html! {
        details.json open[is_open] {
            summary { (name) " " span.muted { (words::bytes(bytes as u64)) } }
            div.scroll role="region" aria-label=(name) tabindex="0" { pre data-copy { (shown(&text)) } }
            p {
                @if bytes > SHOWN_BYTES_MAX { "The beginning. " }
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

/// The beginning of a text, up to a whole character.
fn cut(text: &str) -> &str {
    let mut end = SHOWN_BYTES_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
