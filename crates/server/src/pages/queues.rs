//! `/queues`: what waits where; pause, resume and limit a queue.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{OriginalUri, Path, State},
    response::IntoResponse as _,
    routing::{get, post},
};
use backroom::{
    DisplayState, Queue, Retention, Scope,
    core::{bounds::span_until, sample::Grain},
};
use maud::{Markup, html};

use super::{
    Answer, Fields, Page, Posted, Section, Trouble, Visitor, charts, counted::Snapshot, fields::escaped,
    frame, kit,
};
use crate::{
    api::{codes::Code, problem::Problem},
    serve::AppState,
    terminal::parse,
    views::StateCounts,
};

/// Queues on one page.
const LIMIT: usize = 40;
/// Queues whose oldest job is looked for, on one page.
const LOADS_MAX: usize = 40;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/queues", get(page))
        .route("/queues/{name}", get(one))
        .route("/queues/{name}/pause", post(pause))
        .route("/queues/{name}/resume", post(resume))
        .route("/queues/{name}/depth", post(depth))
        .route("/queues/{name}/retention", post(retention))
}

async fn page(State(state): State<AppState>, visitor: Visitor, OriginalUri(uri): OriginalUri) -> Answer {
    let query = Fields::parse(uri.query().unwrap_or_default());
    let parts = parts(&state, &visitor, &query).await?;
    let path = query.only(&["after"]).link("/queues");
    Ok(Page::new("Queues", Section::Queues, &visitor, parts).said(&query).live(path).into_response())
}

pub(super) async fn parts(state: &AppState, visitor: &Visitor, query: &Fields) -> Result<Markup, Trouble> {
    visitor.require_read()?;
    let seen = state.pages.counted.get(&state.backroom).await;
    let after = query.get("after").unwrap_or_default();
    // By name.
    let mut queues = state.backroom.queues().await?;
    queues.retain(|queue| queue.name.as_str() > after && visitor.caller.sees(&queue.name));
    let next = (queues.len() > LIMIT)
        .then(|| Fields::default().with("after", &queues[LIMIT - 1].name).link("/queues"));
    Ok(kit::live(
        "list",
        html! {
            (table(state, visitor, queues.iter().take(LIMIT), seen.as_deref(), true).await?)
            (kit::next(next.as_deref()))
        },
    ))
}

/// Queues as a table.
pub(super) async fn table(
    state: &AppState,
    visitor: &Visitor,
    queues: impl Iterator<Item = &Queue>,
    seen: Option<&Snapshot>,
    has_acts: bool,
) -> Result<Markup, Trouble> {
    let mut rows = Vec::new();
    let samples = state.backroom.samples(Grain::Minute, Duration::from_secs(600)).await?;
    for (number, queue) in queues.enumerate() {
        let oldest = if number < LOADS_MAX { oldest(state, &queue.name).await? } else { None };
        let due =
            |count: &&backroom::Count| count.queue == queue.name && count.state == DisplayState::Available;
        let due = seen.and_then(|seen| seen.counts.iter().find(due)).map_or(0, |count| count.jobs);
        rows.push((queue, oldest, charts::time_to_empty(&samples, &queue.name, due)));
    }
    if rows.is_empty() {
        return Ok(html! { p { "There is no queue yet: the first job, or the first setting, makes one." } });
    }
    let counts = |queue: &Queue| -> Option<StateCounts> {
        seen.map(|seen| seen.counts.iter().filter(|count| count.queue == queue.name).collect())
    };
    let number = |queue: &Queue, state: DisplayState| match counts(queue) {
        Some(counts) => html! {
            a href=(format!("/jobs?queue={}&state={}", escaped(&queue.name), state.as_str())) { (kit::number(counts.get(state))) }
        },
        None => html! { "…" },
    };
    let body = html! {
        @for (queue, oldest, empty) in &rows {
            tr {
                th scope="row" { a href=(format!("/queues/{}", escaped(&queue.name))) { (kit::shown(&queue.name)) } }
                td { @match queue.paused_at {
                    Some(at) => { "paused " (kit::moment(at, visitor)) }
                    None => "open",
                } }
                @for state in [DisplayState::Available, DisplayState::Running, DisplayState::Scheduled, DisplayState::Retrying, DisplayState::Discarded] {
                    td.num { (number(queue, state)) }
                }
                td { @match oldest { Some(age) => (kit::span(*age)), None => "–" } }
                td { @match empty { Some(span) => (kit::span(*span)), None => "–" } }
                @if has_acts { td { (toggle(visitor, queue)) } }
            }
        }
    };
    let mut head = vec![
        "Queue",
        "State",
        "Available",
        "Running",
        "Scheduled",
        "Retrying",
        "Discarded",
        "Oldest due",
        "Empty in",
    ];
    if has_acts {
        head.push("Act");
    }
    Ok(kit::table("Queues", &head, body))
}

/// For how long the oldest due job of a queue has been due.
async fn oldest(state: &AppState, queue: &str) -> Result<Option<Duration>, Trouble> {
    let now = state.backroom.clock().now();
    let load = state.backroom.store().load(queue, 1, now).await?;
    Ok(load.oldest_at.map(|at| span_until(at, now)))
}

fn toggle(visitor: &Visitor, queue: &Queue) -> Markup {
    let (path, name) = (format!("/queues/{}", escaped(&queue.name)), kit::quoted(&queue.name));
    html! {
        @if visitor.may_in(Scope::Operate, &queue.name) {
            @if queue.paused_at.is_some() {
                (kit::button(visitor, &format!("{path}/resume"), "Resume", Some(&format!("backroom queues resume {name}"))))
            } @else {
                (kit::button(visitor, &format!("{path}/pause"), "Pause", Some(&format!("backroom queues pause {name}"))))
            }
        }
    }
}

async fn find(state: &AppState, visitor: &Visitor, name: &str) -> Result<Queue, Trouble> {
    let queues = state.backroom.queues().await?;
    let found = queues.into_iter().find(|queue| queue.name == name && visitor.caller.sees(name));
    found.ok_or_else(|| {
        Problem::new(Code::NotFound, format!("there is no queue {name:?} that this token reaches")).into()
    })
}

async fn one(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(name): Path<String>,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let query = Fields::parse(uri.query().unwrap_or_default());
    let parts = one_parts(&state, &visitor, &name).await?;
    let title = format!("Queue {}", kit::shown(&name));
    let path = format!("/queues/{}", escaped(&name));
    Ok(Page::new(title, Section::Queues, &visitor, parts).said(&query).live(path).into_response())
}

pub(super) async fn one_parts(state: &AppState, visitor: &Visitor, name: &str) -> Result<Markup, Trouble> {
    visitor.require_read()?;
    let queue = find(state, visitor, name).await?;
    let seen: Option<Arc<Snapshot>> = state.pages.counted.get(&state.backroom).await;
    let counts: Option<StateCounts> =
        seen.map(|seen| seen.counts.iter().filter(|count| count.queue == name).collect());
    let (path, of_queue) = (format!("/queues/{}", escaped(name)), escaped(name).to_string());
    let oldest = oldest(state, name).await?;
    Ok(kit::live(
        "queue",
        html! {
            ul.cards {
                @for shown in DisplayState::ALL {
                    li { a href=(format!("/jobs?queue={of_queue}&state={}", shown.as_str())) {
                        span.value { @match &counts { Some(counts) => (kit::number(counts.get(shown))), None => "…" } }
                        span.name { (kit::state(shown)) }
                    } }
                }
            }
            dl.facts {
                dt { "State" } dd { @match queue.paused_at { Some(at) => { "paused " (kit::moment(at, visitor)) } None => "open" } }
                dt { "Oldest due job" } dd { @match oldest { Some(age) => { "due for " (kit::span(age)) } None => "none" } }
                dt { "Most jobs that may wait" } dd { @match queue.depth_max { Some(most) => (kit::number(most)), None => "any number" } }
                dt { "Retention of completed jobs" } dd { (retained(queue.retention.completed)) }
                dt { "Retention of cancelled jobs" } dd { (retained(queue.retention.cancelled)) }
                dt { "Retention of discarded jobs" } dd { (retained(queue.retention.discarded)) }
            }
            @if visitor.may_in(Scope::Operate, name) {
                h2 { "What can be done" }
                div.acts {
                    (toggle(visitor, &queue))
                    (kit::opened("Limit the depth", html! {
                        form method="post" action=(format!("{path}/depth")) {
                            (kit::key(visitor))
                            label for="most" { "Most jobs that may wait; empty for any number" }
                            input #most name="most" type="number" min="0" value=[queue.depth_max];
                            button type="submit" { "Set the limit" }
                            (kit::cli(&format!("backroom queues limit {} 10000", kit::quoted(name))))
                        }
                    }))
                    (kit::opened("Change the retention", html! {
                        form method="post" action=(format!("{path}/retention")) {
                            (kit::key(visitor))
                            @for (field, words) in [("completed", "Completed jobs"), ("cancelled", "Cancelled jobs"), ("discarded", "Discarded jobs")] {
                                label for={ "r-" (field) } { (words) ": a span such as 7d; empty leaves it" }
                                input id={ "r-" (field) } name=(field);
                            }
                            button type="submit" { "Set the retention" }
                            (kit::cli(&format!("backroom queues retain {} --completed 7d", kit::quoted(name))))
                        }
                    }))
                }
            }
        },
    ))
}

fn retained(limit: backroom::RetentionLimit) -> String {
    let age = limit.age_secs.map(|secs| kit::span(Duration::from_secs(secs)));
    let count = limit.count.map(|count| format!("the newest {}", kit::number(count)));
    match (age, count) {
        (None, None) => "for ever".into(),
        (age, count) => age.into_iter().chain(count).collect::<Vec<_>>().join(", "),
    }
}

async fn pause(State(state): State<AppState>, Path(name): Path<String>, posted: Posted) -> Answer {
    posted.visitor.caller.require_in(Scope::Operate, &name)?;
    backroom::core::bounds::check_name("queue", &name)?;
    posted.visitor.record(&state, "queue.pause", &name, None::<&()>).await?;
    state.backroom.pause(&name).await?;
    Ok(done(&state, &name, "paused"))
}

async fn resume(State(state): State<AppState>, Path(name): Path<String>, posted: Posted) -> Answer {
    posted.visitor.caller.require_in(Scope::Operate, &name)?;
    find(&state, &posted.visitor, &name).await?;
    posted.visitor.record(&state, "queue.resume", &name, None::<&()>).await?;
    state.backroom.resume(&name).await?;
    Ok(done(&state, &name, "resumed"))
}

async fn depth(State(state): State<AppState>, Path(name): Path<String>, posted: Posted) -> Answer {
    posted.visitor.caller.require_in(Scope::Operate, &name)?;
    let most = posted.fields.get("most").map(|text| {
        text.parse::<u64>()
            .map_err(|_| Trouble::invalid(format!("the limit is {text:?}; use a whole number")))
    });
    let most = most.transpose()?;
    posted.visitor.record(&state, "queue.set", &name, Some(&[("depth_max", most)])).await?;
    state.backroom.limit_depth(&name, most).await?;
    Ok(done(&state, &name, "changed"))
}

async fn retention(State(state): State<AppState>, Path(name): Path<String>, posted: Posted) -> Answer {
    posted.visitor.caller.require_in(Scope::Operate, &name)?;
    let mut retention: Retention = find(&state, &posted.visitor, &name).await?.retention;
    let limits = [
        ("completed", &mut retention.completed),
        ("cancelled", &mut retention.cancelled),
        ("discarded", &mut retention.discarded),
    ];
    for (field, limit) in limits {
        if let Some(text) = posted.fields.get(field) {
            let span = parse::span(text).map_err(|why| Trouble::invalid(format!("the retention {why}")))?;
            limit.age_secs = Some(span.as_secs());
        }
    }
    posted.visitor.record(&state, "queue.set", &name, Some(&retention)).await?;
    state.backroom.retain(&name, retention).await?;
    Ok(done(&state, &name, "changed"))
}

fn done(state: &AppState, name: &str, said: &str) -> axum::response::Response {
    state.pages.counted.changed();
    frame::done(&format!("/queues/{}", escaped(name)), said)
}
