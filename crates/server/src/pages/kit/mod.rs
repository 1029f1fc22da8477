//! The pieces that pages are made of.

mod chart;
mod json;
mod text;

use backroom::{DisplayState, JobId};
use maud::{Markup, html};

pub(super) use self::{
    chart::{Series, chart},
    json::json,
    text::{ago, moment, number, shown, span},
};
use super::{Visitor, posted::KEY};

/// The key of a form.
pub(super) fn key(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name=(KEY) value=(visitor.key); }
}

/// A button that does something: a form of its own, with the command that does the same.
pub(super) fn button(visitor: &Visitor, path: &str, name: &str, command: Option<&str>) -> Markup {
    html! {
        form.act method="post" action=(path) {
            (key(visitor))
            button type="submit" { (name) }
            @if let Some(command) = command { (cli(command)) }
        }
    }
}

/// An act that cannot be undone, or that needs words: it opens first, and is done with the button inside.
pub(super) fn opened(name: &str, inside: Markup) -> Markup {
    html! {
        details.act { summary { (name) "…" } (inside) }
    }
}

/// The command that does the same.
pub(super) fn cli(command: &str) -> Markup {
    html! { code.cli { (shown(command)) } }
}

/// A word of a command line: in quotes, if a shell would read it otherwise.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The state of a job: a word with a colour and a sign of its own.
pub(super) fn state(state: DisplayState) -> Markup {
    let sign = match state {
        DisplayState::Scheduled => "◷",
        DisplayState::Retrying => "↻",
        DisplayState::Available => "●",
        DisplayState::Running => "▶",
        DisplayState::Waiting => "‖",
        DisplayState::Completed => "✓",
        DisplayState::Cancelled => "⊘",
        DisplayState::Discarded => "✕",
    };
    html! { span class=(format!("state {}", state.as_str())) { span aria-hidden="true" { (sign) } " " (state.as_str()) } }
}

/// A link to a job, by the end of its id, which differs where the beginning is only the time.
pub(super) fn job_link(id: JobId) -> Markup {
    let id = id.to_string();
    let end = &id[id.len() - 12..];
    html! { a.id href={ "/jobs/" (id) } { "…" (end) } }
}

/// A table that scrolls by itself on a narrow screen.
pub(super) fn table(name: &str, head: &[&str], rows: Markup) -> Markup {
    html! {
        div.scroll role="region" aria-label=(name) tabindex="0" {
            table {
                thead { tr { @for column in head { th scope="col" { (column) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// A part of a page that the script refreshes: it needs an id.
pub(super) fn live(id: &str, inside: Markup) -> Markup {
    html! { section id=(id) data-part { (inside) } }
}

/// The way to the next page of a list.
pub(super) fn next(link: Option<&str>) -> Markup {
    html! { @if let Some(link) = link { p.pages { a rel="next" href=(link) { "Next page" } } } }
}

/// How far something is, in percent.
pub(super) fn bar(name: &str, percent: u64) -> Markup {
    html! { progress max="100" value=(percent.min(100)) aria-label=(name) { (percent) " %" } }
}

/// What was done, by the word that a redirect carries. A word that is none of ours says nothing.
pub(super) fn said(word: &str) -> Option<&'static str> {
    Some(match word {
        "retried" => "The job gets another attempt.",
        "cancelled" => "The job was asked to stop. If it had not begun, it is cancelled.",
        "deleted" => "The job is deleted.",
        "changed" => "The change is stored.",
        "moved" => "The job waits in the other queue.",
        "enqueued" => "The job is stored.",
        "held" => "An earlier job holds the unique key; this is it.",
        "paused" => "It is paused.",
        "resumed" => "It goes on.",
        "triggered" => "A run has begun.",
        "backfilling" => "The backfill has begun.",
        "stopped" => "The backfill is stopped.",
        "signalled" => "The signal is stored.",
        "replayed" => "The message was delivered again.",
        "refused" => "The message is still refused; it stays here.",
        "forgotten" => "It is deleted.",
        "enabled" => "Callbacks to this URL are sent again.",
        "batch-closed" => "The batch is closed: it ends with the last of its members.",
        "batch-reopened" => "The batch is open again, and takes members.",
        "batch-cancelled" => "The batch is cancelled. Members that run were asked to stop.",
        "batch-retried" => "The members that failed get another attempt.",
        "revoked" => "The token is revoked, and its sessions are ended.",
        _ => return None,
    })
}
