//! `/bulk`: the same for every job that matches a filter. The jobs are counted first, and nothing changes before that is confirmed.

use std::time::Duration;

use axum::{
    Router,
    extract::{OriginalUri, State},
    response::IntoResponse as _,
    routing::get,
};
use backroom::{Acted, Action, JobId, Scope};
use maud::{Markup, html};

use super::{Answer, Fields, Page, Posted, Section, Trouble, Visitor, kit, selection};
use crate::serve::AppState;

/// What can be done to many jobs, and its name.
pub(super) const ACTIONS: [(&str, &str); 5] = [
    ("retry", "Retry"),
    ("cancel", "Cancel"),
    ("delete", "Delete"),
    ("move", "Move to a queue"),
    ("priority", "Change the priority"),
];
/// After so long an answer says how far the act came.
const TIME_MAX: Duration = Duration::from_secs(20);
/// So long jobs are counted; then the page says that there are more.
const COUNT_TIME_MAX: Duration = Duration::from_secs(2);
/// Jobs on one page of a count.
const COUNT_PAGE: usize = 1000;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/bulk", get(confirm).post(act))
}

fn name_of(action: &str) -> Result<&'static str, Trouble> {
    let found = ACTIONS.iter().find(|(word, _)| *word == action);
    found
        .map(|(_, name)| *name)
        .ok_or_else(|| Trouble::invalid("the action is none that can be done to many jobs"))
}

/// Counts the jobs and asks.
async fn confirm(State(state): State<AppState>, visitor: Visitor, OriginalUri(uri): OriginalUri) -> Answer {
    visitor.caller.require(Scope::Operate)?;
    let query = Fields::parse(uri.query().unwrap_or_default());
    let action = query.get("action").unwrap_or_default();
    let name = name_of(action)?;
    let filter = selection::filter(&state, &visitor, &query).await?;
    let clock = state.backroom.clock();
    let until = clock.monotonic().saturating_add(COUNT_TIME_MAX);
    let (mut matched, mut before, mut is_all) = (0u64, None, true);
    loop {
        let page = state.backroom.list(filter.clone(), before, COUNT_PAGE).await?;
        matched += page.jobs.len() as u64;
        before = page.next;
        if before.is_none() {
            break;
        }
        if clock.monotonic() >= until {
            is_all = false;
            break;
        }
    }
    let asked = query.only(&selection::NAMES);
    let body = html! {
        p.notice.warn {
            strong { @if !is_all { "More than " } (kit::number(matched)) " jobs match" } " "
            (conditions(&asked)) "."
        }
        @if matched > 0 {
            form.stack method="post" action="/bulk" {
                (kit::key(&visitor))
                input type="hidden" name="action" value=(action);
                @for (name, value) in asked.pairs() { input type="hidden" name=(name) value=(value); }
                (inputs(action))
                button.danger type="submit" { (name) ": " @if is_all { (kit::number(matched)) " jobs" } @else { "all of them" } }
            }
        }
        p { a href=(asked.link("/jobs")) { "Back to the jobs" } }
        p { (kit::cli(&command(action, &asked))) }
    };
    Ok(Page::new(format!("{name}: jobs that match"), Section::Jobs, &visitor, body).into_response())
}

/// The further fields that an action needs.
pub(super) fn inputs(action: &str) -> Markup {
    html! {
        @match action {
            "cancel" => {
                label for="reason" { "Why" }
                input #reason name="reason" maxlength="200" placeholder="cancelled by hand";
            }
            "move" => {
                label for="to" { "To the queue" }
                input #to name="to" required maxlength="128";
            }
            "priority" => { (inputs_of_priority(NEW_PRIORITY, 5)) }
            _ => {}
        }
    }
}

/// The field of the priority that jobs get. The filter has a field for the one that they have.
pub(super) const NEW_PRIORITY: &str = "new_priority";

/// The field of a priority.
pub(super) fn inputs_of_priority(name: &str, value: u8) -> Markup {
    html! {
        label for="priority" { "Priority, 0 (first) to 9 (last)" }
        input #priority name=(name) type="number" min="0" max="9" value=(value) required;
    }
}

fn conditions(asked: &Fields) -> Markup {
    html! {
        @if asked.pairs().is_empty() { "(there is no filter: every job)" }
        @for (name, value) in asked.pairs() { (name) " = " code { (kit::shown(value)) } " " }
    }
}

/// The command that does the same. It asks for the states, so that no filter is forgotten by mistake; and it reads moments without a zone
/// as local time, so they are written with one.
fn command(action: &str, asked: &Fields) -> String {
    let verb = match action {
        "move" => "reassign --to-queue NAME",
        "priority" => "reassign --to-priority N",
        verb => verb,
    };
    let flags = asked.pairs().iter().map(|(name, value)| match name.as_str() {
        selection::NOT_POISON => " --not-poison".to_owned(),
        "since" | "until" | "ended" => format!(" --{name} {}", kit::quoted(&selection::in_utc(value))),
        name => format!(" --{name} {}", kit::quoted(value)),
    });
    let states = if asked.get("state").is_none() { ALL_STATES } else { "" };
    format!("backroom {verb}{states}{}", flags.collect::<String>())
}

/// Every state, as the command line takes them.
const ALL_STATES: &str = " --state queued,running,waiting,completed,cancelled,discarded";

/// What to do, as the library takes it.
pub(super) fn action(fields: &Fields) -> Result<Action, Trouble> {
    Ok(match fields.get("action").unwrap_or_default() {
        "retry" => Action::Retry,
        "cancel" => {
            let reason = fields.get("reason").unwrap_or("cancelled by hand").to_owned();
            backroom::core::bounds::check_text("reason", &reason, backroom::core::bounds::MESSAGE_BYTES_MAX)?;
            Action::Cancel { reason }
        }
        "delete" => Action::Delete,
        "move" => {
            let queue = fields.get("to").unwrap_or_default();
            backroom::core::bounds::check_name("queue", queue)?;
            Action::Move { queue: queue.to_owned() }
        }
        "priority" => Action::Prioritize { priority: priority(fields, NEW_PRIORITY)? },
        _ => return Err(Trouble::invalid("the action is none that can be done to many jobs")),
    })
}

pub(super) fn priority(fields: &Fields, name: &str) -> Result<u8, Trouble> {
    let text = fields.get(name).unwrap_or_default();
    text.parse()
        .ok()
        .filter(|priority| *priority <= 9)
        .ok_or_else(|| Trouble::invalid(format!("the priority is {text:?}; use 0 (first) to 9 (last)")))
}

async fn act(State(state): State<AppState>, posted: Posted) -> Answer {
    let Posted { visitor, fields } = posted;
    visitor.caller.require(Scope::Operate)?;
    let what = action(&fields)?;
    if let Action::Move { queue } = &what {
        visitor.caller.require_in(Scope::Operate, queue)?;
    }
    let filter = selection::filter(&state, &visitor, &fields).await?;
    let word = fields.get("action").unwrap_or_default();
    let select = selection::select(&fields, visitor.now)?;
    visitor.record(&state, &format!("jobs.{word}"), "", Some(&select)).await?;
    let clock = state.backroom.clock();
    let until = clock.monotonic().saturating_add(TIME_MAX);
    let mut acted = Acted::default();
    acted.next = fields.get("before").map(str::parse::<JobId>).transpose()?;
    loop {
        acted.add(state.backroom.act_on_matching(&filter, &what, acted.next).await?);
        if acted.next.is_none() || clock.monotonic() >= until || state.stopping.is_cancelled() {
            break;
        }
    }
    state.pages.counted.changed();
    let body = html! {
        p.notice.good role="status" {
            (kit::number(acted.done)) " of " (kit::number(acted.matched)) " jobs: done."
        }
        dl.facts {
            dt { "Nothing to do" } dd { (kit::number(acted.unneeded)) }
            dt { "Changed meanwhile" } dd { (kit::number(acted.moved)) }
            dt { "Refused" } dd { (kit::number(acted.refused)) @if let Some(why) = &acted.refusal { ": " (kit::shown(why)) } }
        }
        @if let Some(next) = acted.next {
            form method="post" action="/bulk" {
                (kit::key(&visitor))
                @for (name, value) in fields.pairs().iter().filter(|(name, _)| name != super::posted::KEY && name != "before") {
                    input type="hidden" name=(name) value=(value);
                }
                input type="hidden" name="before" value=(next);
                button.primary type="submit" { "Go on with the rest" }
            }
        }
        p { a href=(fields.only(&selection::NAMES).link("/jobs")) { "Back to the jobs" } }
    };
    Ok(Page::new(name_of(word)?, Section::Jobs, &visitor, body).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_does_what_the_page_does() {
        let of = |action: &str, query: &str| command(action, &Fields::parse(query));
        assert_eq!(
            of("delete", ""),
            "backroom delete --state queued,running,waiting,completed,cancelled,discarded"
        );
        assert_eq!(
            of("retry", "state=discarded&not_poison=true&since=2026-01-31+09:00&ended=1d"),
            "backroom retry --state discarded --not-poison --since 2026-01-31T09:00:00Z --ended 1d"
        );
        assert_eq!(
            of("move", "state=queued&kind=a+b"),
            "backroom reassign --to-queue NAME --state queued --kind 'a b'"
        );
    }
}
