//! Which jobs a page is about: the filters of the API, as the fields of a form and as a link.

use backroom::{Filter, Timestamp};
use maud::{Markup, html};

use super::{Fields, Trouble, Visitor, kit};
use crate::{api::jobs::filter, bodies::Select, serve::AppState, terminal::parse};

/// The names of the fields.
pub(super) const NAMES: [&str; 13] = [
    "state", "queue", "kind", "tag", "lane", "worker", "priority", "error", "batch", NOT_POISON, "since",
    "until", "ended",
];
/// The field that leaves out jobs that took workers down with them.
pub(super) const NOT_POISON: &str = "not_poison";

/// The filter that the fields ask for, among the queues that the visitor sees.
pub(super) async fn filter(state: &AppState, visitor: &Visitor, fields: &Fields) -> Result<Filter, Trouble> {
    Ok(filter::of(&select(fields, visitor.now)?, state, &visitor.caller).await?)
}

/// The same as the API takes it.
pub(super) fn select(fields: &Fields, now: Timestamp) -> Result<Select, Trouble> {
    let text = |name| fields.get(name).map(str::to_owned);
    let moment = |name| fields.get(name).map(|text| moment(name, text, now)).transpose();
    Ok(Select {
        state: text("state"),
        queue: text("queue"),
        kind: text("kind"),
        tag: text("tag"),
        lane: text("lane"),
        worker: text("worker"),
        priority: fields.get("priority").map(|_| super::bulk::priority(fields, "priority")).transpose()?,
        error: text("error"),
        batch: fields.get("batch").map(str::parse).transpose()?,
        not_poison: fields.get(NOT_POISON).is_some_and(|value| value == "true"),
        since: moment("since")?,
        until: moment("until")?,
        ended: moment("ended")?,
    })
}

/// A moment as a form sends it: a date and a time without a zone are UTC, as the pages show them; a bare span means that long ago.
pub(super) fn moment(name: &str, text: &str, now: Timestamp) -> Result<Timestamp, Trouble> {
    read(name, text, |moment| moment.past(now))
}

/// The same where a bare span means from now on.
pub(super) fn moment_ahead(name: &str, text: &str, now: Timestamp) -> Result<Timestamp, Trouble> {
    read(name, text, |moment| moment.ahead(now))
}

/// A moment as the command line reads it: one without a zone gets that of the pages.
pub(super) fn in_utc(text: &str) -> String {
    match parse::moment(text) {
        Ok(parse::MomentText::Local(local)) => {
            jiff::tz::Offset::UTC.to_timestamp(local).map_or_else(|_| text.to_owned(), |at| at.to_string())
        }
        Ok(_) | Err(_) => text.to_owned(),
    }
}

fn read(
    name: &str,
    text: &str,
    of: impl FnOnce(parse::MomentText) -> Result<Timestamp, String>,
) -> Result<Timestamp, Trouble> {
    let said = |why: String| Trouble::invalid(format!("{name} {why}"));
    match parse::moment(text).map_err(|why| said(why.replace("(local time)", "(UTC)")))? {
        parse::MomentText::Local(local) => {
            jiff::tz::Offset::UTC.to_timestamp(local).map_err(|error| said(error.to_string()))
        }
        other => of(other).map_err(said),
    }
}

/// The form that changes the filter.
pub(super) fn form(fields: &Fields) -> Markup {
    let states = [
        "queued",
        "available",
        "scheduled",
        "retrying",
        "running",
        "waiting",
        "completed",
        "cancelled",
        "discarded",
    ];
    let chosen = fields.get("state").unwrap_or_default();
    html! {
        form.filters method="get" action="/jobs" role="search" aria-label="Filter the jobs" {
            div {
                label for="f-state" { "State" }
                select #f-state name="state" {
                    option value="" selected[chosen.is_empty()] { "any" }
                    @for state in states { option value=(state) selected[state == chosen] { (state) } }
                    @if !chosen.is_empty() && !states.contains(&chosen) { option value=(chosen) selected { (kit::shown(chosen)) } }
                }
            }
            @for (name, words, example) in [
                ("queue", "Queue", ""), ("kind", "Kind", ""), ("tag", "Tag", ""),
                ("lane", "Lane", ""), ("worker", "Worker", ""), ("priority", "Priority", "0 to 9"),
                ("error", "Text of the error", ""), ("batch", "Batch", ""),
                ("since", "Enqueued since", "2h or 2026-01-31 09:00"), ("until", "Enqueued before", "30m"),
                ("ended", "Ended since", "1d"),
            ] {
                div {
                    label for={ "f-" (name) } { (words) }
                    input id={ "f-" (name) } name=(name) value=[fields.get(name)] placeholder=(example);
                }
            }
            label { input type="checkbox" name=(NOT_POISON) value="true" checked[fields.get(NOT_POISON).is_some()]; " Not those that took workers down" }
            button.primary type="submit" { "Filter" }
            a href="/jobs" { "All jobs" }
        }
    }
}
