//! Text, moments, spans and numbers as people read them.

use std::{borrow::Cow, time::Duration};

use backroom::Timestamp;
use maud::{Markup, html};

use crate::{
    pages::Visitor,
    terminal::{visible, words},
};

/// Text from elsewhere. What would turn its direction round, or would not be seen, is spelt out, and a sealed text is named as such; the markup is escaped by the template.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    match backroom::core::sealed::shown(text) {
        Cow::Borrowed(text) => visible::text(text),
        Cow::Owned(sealed) => visible::text(&sealed).into_owned().into(),
    }
}

/// A moment, with how far it is.
pub(crate) fn moment(at: Timestamp, visitor: &Visitor) -> Markup {
    let full = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let plain = at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    html! {
        time datetime=(full) title=(plain) {
            @if visitor.is_live { (plain) } @else { (words::from_now(at, visitor.now)) }
        }
    }
}

/// A moment that may be missing.
pub(crate) fn ago(at: Option<Timestamp>, visitor: &Visitor) -> Markup {
    html! { @match at { Some(at) => (moment(at, visitor)), None => span.muted { "–" } } }
}

/// A span.
pub(crate) fn span(span: Duration) -> String {
    words::span(span)
}

/// A number with its thousands apart.
pub(crate) fn number(number: u64) -> String {
    words::thousands(number)
}
