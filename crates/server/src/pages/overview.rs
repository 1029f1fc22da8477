//! `/`: whether all is well, and what needs attention first.

use axum::{
    Router,
    extract::{OriginalUri, State},
    response::IntoResponse as _,
    routing::get,
};
use backroom::{DisplayState, Queue, Scope, WorkerRow};
use maud::{Markup, html};

use super::{
    Answer, Fields, Page, Section, Trouble, Visitor, charts,
    counted::{Discarded, POISON, Snapshot},
    fields::escaped,
    kit, queues, workers,
};
use crate::{serve::AppState, views::StateCounts};

/// Workers that stand here; all of them have a page of their own.
const WORKERS_MAX: usize = 20;
/// The same of queues.
const QUEUES_MAX: usize = 30;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/", get(page))
}

async fn page(State(state): State<AppState>, visitor: Visitor, OriginalUri(uri): OriginalUri) -> Answer {
    let query = Fields::parse(uri.query().unwrap_or_default());
    let parts = parts(&state, &visitor, &query).await?;
    let path = query.only(&["span"]).link("/");
    Ok(Page::new("Overview", Section::Overview, &visitor, parts).said(&query).live(path).into_response())
}

pub(super) async fn parts(state: &AppState, visitor: &Visitor, query: &Fields) -> Result<Markup, Trouble> {
    visitor.require_read()?;
    let seen = state.pages.counted.get(&state.backroom).await;
    let mut queues = state.backroom.queues().await?;
    queues.retain(|queue| visitor.caller.sees(&queue.name));
    let workers =
        if visitor.may_everywhere(Scope::Read) { state.backroom.workers().await? } else { Vec::new() };
    Ok(html! {
        (kit::live("attention", attention(visitor, seen.as_deref(), &queues, &workers)))
        (kit::live("counts", counts(visitor, seen.as_deref())))
        @if visitor.may_everywhere(Scope::Read) { (kit::live("charts", charts::of(state, query).await?)) }
        (kit::live("queues", html! {
            h2 { "Queues" }
            (queues::table(state, visitor, queues.iter().take(QUEUES_MAX), seen.as_deref(), false).await?)
            @if queues.len() > QUEUES_MAX { p { a href="/queues" { "All " (queues.len()) " queues" } } }
        }))
        @if visitor.may_everywhere(Scope::Read) {
            (kit::live("workers", html! {
                h2 { "Workers" }
                (workers::table(visitor, &workers[..workers.len().min(WORKERS_MAX)]))
                @if workers.len() > WORKERS_MAX { p { a href="/workers" { "All " (workers.len()) " workers" } } }
            }))
        }
    })
}

/// What needs attention, each with what mends it.
fn attention(visitor: &Visitor, seen: Option<&Snapshot>, queues: &[Queue], workers: &[WorkerRow]) -> Markup {
    let counts = |queue: &Queue, state| {
        let counts = seen.map(|seen| seen.counts.as_slice()).unwrap_or_default();
        counts
            .iter()
            .find(|count| count.queue == queue.name && count.state == state)
            .map_or(0, |count| count.jobs)
    };
    let may_operate = |queue: &str| visitor.may_in(Scope::Operate, queue);
    let sees_all = visitor.may_everywhere(Scope::Read);
    let served = |queue: &Queue| {
        workers.iter().any(|worker| worker.queues.iter().any(|(name, _)| *name == queue.name))
    };
    let mut items = Vec::new();
    for queue in queues {
        let due = counts(queue, DisplayState::Available);
        let (name, path) = (kit::shown(&queue.name), format!("/queues/{}", escaped(&queue.name)));
        if queue.paused_at.is_some() && due > 0 {
            items.push(html! { li {
                span { "Queue " a href=(path) { (name) } " is paused, and " (kit::number(due)) " jobs are due." }
                @if may_operate(&queue.name) { (kit::button(visitor, &format!("{path}/resume"), "Resume", None)) }
            } });
        } else if sees_all && due > 0 && !served(queue) {
            items.push(html! { li.bad {
                span { "No worker serves queue " a href=(path) { (name) } ", and " (kit::number(due)) " jobs are due. Start a worker for it." }
                a.button href=(format!("/jobs?state=available&queue={}", escaped(&queue.name))) { "Show them" }
            } });
        }
        let waiting: u64 = [DisplayState::Available, DisplayState::Scheduled, DisplayState::Retrying]
            .into_iter()
            .map(|state| counts(queue, state))
            .sum();
        if queue.depth_max.is_some_and(|most| waiting >= most) {
            items.push(html! { li.bad {
                span { "Queue " a href=(path) { (name) } " is full: " (kit::number(waiting)) " jobs wait, and it takes no more." }
                @if may_operate(&queue.name) { a.button href=(path) { "Change its limit" } }
            } });
        }
        if let Some(discarded) = seen.and_then(|seen| seen.discarded.get(&queue.name)) {
            items.extend(given_up(&queue.name, discarded, may_operate(&queue.name)));
        }
    }
    for worker in workers {
        let stuck =
            (worker.stuck > 0).then(|| format!("{} handlers run on after a stop request", worker.stuck));
        let blocked = worker.details.blocked.as_ref().filter(|blocked| blocked.now).map(ToString::to_string);
        for why in worker.trouble.clone().into_iter().chain(stuck).chain(blocked) {
            items.push(html! { li.bad {
                span { "Worker " a href="/workers" { (kit::shown(&worker.name)) } ": " (kit::shown(&why)) }
                @if worker.running > 0 {
                    a.button href=(format!("/jobs?state=running&worker={}", escaped(&worker.name))) { "What it runs" }
                }
            } });
        }
    }
    if let Some(seen) = seen.filter(|_| sees_all) {
        items.extend(elsewhere(visitor, seen));
    }
    html! {
        h2 { "Needs attention" }
        @if items.is_empty() { p.notice.good { "Nothing. All is well." } }
        ul.attention { @for item in items.iter().take(50) { (item) } }
        @if items.len() > 50 { p { "And " (items.len() - 50) " more." } }
    }
}

/// Jobs of a queue that were discarded since yesterday, those that took workers down apart.
fn given_up(queue: &str, discarded: &Discarded, may_operate: bool) -> Vec<Markup> {
    let asked = Fields::default().with("state", "discarded").with("queue", queue).with("ended", "1d");
    let poison = asked.with("error", POISON);
    let item = |jobs: u64, what: &str, asked: &Fields, action: &str, name: &str| {
        html! { li.bad[jobs == discarded.poison] {
            span {
                a href=(asked.link("/jobs")) { @if discarded.is_more { "More than " } (kit::number(jobs)) " jobs" }
                " of queue " (kit::shown(queue)) " " (what) " since yesterday."
            }
            @if may_operate { a.button href=(asked.with("action", action).link("/bulk")) { (name) "…" } }
        } }
    };
    let mut items = Vec::new();
    if discarded.poison > 0 {
        items.push(item(
            discarded.poison,
            "took workers down with them and were given up",
            &poison,
            "delete",
            "Delete them",
        ));
    }
    if discarded.jobs > discarded.poison {
        items.push(item(discarded.jobs, "were given up", &asked, "retry", "Retry them"));
    }
    items
}

/// What needs attention beside queues and workers.
fn elsewhere(visitor: &Visitor, seen: &Snapshot) -> Vec<Markup> {
    let mut items = Vec::new();
    for schedule in &seen.schedules {
        let path = format!("/schedules/{}", escaped(&schedule.name));
        let why =
            schedule.failing.as_ref().map(|failing| failing.why.as_str()).unwrap_or("a success is overdue");
        items.push(html! { li.bad {
            span { "Schedule " a href=(path) { (kit::shown(&schedule.name)) } ": " (kit::shown(why)) }
            @if visitor.may(Scope::Enqueue) { (kit::button(visitor, &format!("{path}/trigger"), "Run now", None)) }
        } });
    }
    #[cfg(feature = "triggers")]
    for trigger in &seen.triggers {
        let path = format!("/triggers/{}", escaped(&trigger.name));
        items.push(html! { li.bad {
            span {
                "Trigger " a href=(path) { (kit::shown(&trigger.name)) }
                @if let Some(error) = trigger.error() { ": " (kit::shown(error)) }
                @if trigger.dead_letters > 0 { " has " (kit::number(trigger.dead_letters)) " dead letters" }
            }
            @if trigger.paused_at.is_some() && visitor.may_everywhere(Scope::Operate) {
                (kit::button(visitor, &format!("{path}/resume"), "Resume", None))
            }
            @if trigger.dead_letters > 0 { a.button href=(format!("/dead-letters?trigger={}", escaped(&trigger.name))) { "Dead letters" } }
        } });
    }
    for endpoint in &seen.endpoints {
        items.push(html! { li {
            span { "Callbacks to " (kit::shown(&endpoint.url)) " have ended: " (kit::shown(&endpoint.reason)) }
            a.button href="/callbacks" { "Callbacks" }
        } });
    }
    items
}

/// Jobs by state, each number a link to the list.
fn counts(visitor: &Visitor, seen: Option<&Snapshot>) -> Markup {
    let all: Option<StateCounts> =
        seen.map(|seen| seen.counts.iter().filter(|count| visitor.caller.sees(&count.queue)).collect());
    html! {
        h2 { "Jobs" }
        ul.cards {
            @for state in DisplayState::ALL {
                li { a href=(format!("/jobs?state={}", state.as_str())) {
                    span.value { @match &all { Some(all) => (kit::number(all.get(state))), None => "…" } }
                    span.name { (kit::state(state)) }
                } }
            }
        }
    }
}
