//! `/schedules/{name}`: one schedule: its runs, the next ones, and what can be done.

use axum::{
    Router,
    extract::{OriginalUri, Path, State},
    response::IntoResponse as _,
    routing::{get, post},
};
use backroom::{Json, Scope, TriggerOptions};
use maud::{Markup, html};

use super::{
    Answer, Fields, Page, Posted, Section, Trouble, Visitor, fields::escaped, frame, kit,
    schedules::condition, selection,
};
use crate::{
    api::schedules::find_to,
    bodies::schedule::{BACKFILL_MAX, BackfillBody},
    schedules::own,
    serve::AppState,
    views::schedule::{EntryView, WholeSchedule},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/schedules/{name}", get(page))
        .route("/schedules/{name}/pause", post(pause))
        .route("/schedules/{name}/resume", post(resume))
        .route("/schedules/{name}/trigger", post(trigger))
        .route("/schedules/{name}/backfill", post(backfill))
        .route("/schedules/{name}/stop-backfill", post(stop_backfill))
}

async fn page(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(name): Path<String>,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let query = Fields::parse(uri.query().unwrap_or_default());
    let body = html! {
        (parts(&state, &visitor, &name).await?)
        // A form that is sent twice starts one run. Live parts are the same for several visitors.
        @if visitor.may(Scope::Enqueue) {
            div.acts {
                form.act method="post" action=(format!("/schedules/{}/trigger", escaped(&name))) {
                    (kit::key(&visitor))
                    input type="hidden" name="once" value=(visitor.now.as_nanosecond());
                    button type="submit" { "Run now" }
                    (kit::cli(&format!("backroom trigger {}", kit::quoted(&name))))
                }
            }
        }
    };
    let title = format!("Schedule {}", kit::shown(&name));
    let path = format!("/schedules/{}", escaped(&name));
    Ok(Page::new(title, Section::Schedules, &visitor, body).said(&query).live(path).into_response())
}

pub(super) async fn parts(state: &AppState, visitor: &Visitor, name: &str) -> Result<Markup, Trouble> {
    let whole = find_to(state, &visitor.caller, Scope::Read, name).await?;
    let schedule = &whole.schedule;
    Ok(kit::live(
        "schedule",
        html! {
            p { (condition(schedule)) ": " (kit::shown(schedule.description.as_deref().unwrap_or("it cannot be read"))) }
            @if let Some(failing) = &schedule.failing { p.notice.bad { "It fails since " (kit::moment(failing.since, visitor)) ": " (kit::shown(&failing.why)) } }
            @if let Some(since) = schedule.overdue_since { p.notice.bad { "A success is overdue since " (kit::moment(since, visitor)) } }
            dl.facts {
                dt { "From" } dd { (schedule.origin.as_str()) }
                dt { "Last run by the clock" } dd { (kit::ago(schedule.last_fired, visitor)) }
                dt { "Last success" } dd { (kit::ago(schedule.last_success.as_ref().map(|success| success.at), visitor)) }
                dt { "Fired / skipped / missed" } dd {
                    (kit::number(schedule.counters.fired)) " / " (kit::number(schedule.counters.skipped)) " / " (kit::number(schedule.counters.missed))
                }
                @if let Some(backfill) = &schedule.backfill {
                    dt { "Backfill" } dd { (backfill.done) " of " (backfill.total) @if backfill.ended_at.is_some() { ", ended" } }
                }
            }
            (next_runs(&whole))
            (runs("Runs that are going", visitor, &whole.going))
            (runs("Last runs", visitor, &whole.last))
            @if let Some(definition) = schedule.definition.as_ref().and_then(|definition| Json::encode(definition).ok()) {
                (kit::json("Definition", &definition, &format!("/v1/schedules/{}", escaped(name))))
            }
            (acts(visitor, &whole))
        },
    ))
}

fn next_runs(whole: &WholeSchedule) -> Markup {
    html! {
        h2 { "Next runs" }
        @if whole.next.is_empty() { p { "None." } }
        ol { @for next in &whole.next {
            li { time datetime=(next.at) data-fixed { (next.local) } @if let Some(clocks) = &next.clocks { " " span.retrying { (clocks.words) } } }
        } }
    }
}

fn runs(title: &str, visitor: &Visitor, entries: &[EntryView]) -> Markup {
    let rows = html! {
        @for entry in entries {
            tr {
                td { (entry.first.strftime("%Y-%m-%d %H:%M:%S")) @if entry.count > 1 { " and " (entry.count - 1) " more" } }
                td { (kit::shown(&entry.words)) }
                td { @match entry.job { Some(job) => (kit::job_link(job)), None => "–" } }
                td { @match &entry.end {
                    Some(end) => { (end.became.as_str()) " " (kit::moment(end.at, visitor)) @if let Some(reason) = &end.reason { ": " (kit::shown(reason)) } }
                    None => "–",
                } }
            }
        }
    };
    html! {
        h2 { (title) }
        @if entries.is_empty() { p { "None." } }
        @else { (kit::table(title, &["Nominal time", "What", "Job", "End"], rows)) }
    }
}

fn acts(visitor: &Visitor, whole: &WholeSchedule) -> Markup {
    let schedule = &whole.schedule;
    let (path, name) = (format!("/schedules/{}", escaped(&schedule.name)), kit::quoted(&schedule.name));
    let backfills = schedule.backfill.as_ref().is_some_and(|backfill| backfill.ended_at.is_none());
    html! {
            h2 { "What can be done" }
            div.acts {
                @if visitor.may(Scope::Operate) {
                    @if schedule.paused.is_some() {
                        (kit::button(visitor, &format!("{path}/resume"), "Resume", Some(&format!("backroom schedules resume {name}"))))
                    } @else {
                        (kit::button(visitor, &format!("{path}/pause"), "Pause", Some(&format!("backroom schedules pause {name}"))))
                    }
                    (kit::opened("Backfill", html! {
                        form method="post" action=(format!("{path}/backfill")) {
                            (kit::key(visitor))
                            label for="from" { "From: 7d ago, or 2026-01-31 09:00 (UTC)" }
                            input #from name="from" required;
                            label for="until" { "Until" }
                            input #until name="until" required value="1m ago";
                            label { input type="checkbox" name="count" value="1" checked; " Only count the occurrences" }
                            button type="submit" { "Backfill" }
                            (kit::cli(&format!("backroom schedules backfill {name} --from … --until …")))
                        }
                    }))
                    @if backfills {
                        (kit::button(visitor, &format!("{path}/stop-backfill"), "Stop the backfill", Some(&format!("backroom schedules backfill {name} --stop"))))
                    }
                }
            }
    }
}

async fn pause(State(state): State<AppState>, Path(name): Path<String>, posted: Posted) -> Answer {
    begin(&state, &posted, &name, "schedule.pause").await?;
    state.backroom.schedules().pause(&name).await?;
    Ok(done(&state, &name, "paused"))
}

async fn resume(State(state): State<AppState>, Path(name): Path<String>, posted: Posted) -> Answer {
    begin(&state, &posted, &name, "schedule.resume").await?;
    state.backroom.schedules().resume(&name).await?;
    Ok(done(&state, &name, "resumed"))
}

async fn stop_backfill(State(state): State<AppState>, Path(name): Path<String>, posted: Posted) -> Answer {
    begin(&state, &posted, &name, "schedule.stop_backfill").await?;
    state.backroom.schedules().stop_backfill(&name).await?;
    Ok(done(&state, &name, "stopped"))
}

async fn trigger(State(state): State<AppState>, Path(name): Path<String>, posted: Posted) -> Answer {
    let Posted { visitor, fields } = posted;
    find_to(&state, &visitor.caller, Scope::Enqueue, &name).await?;
    let key = fields.get("once").map(|once| format!("page {once}"));
    key.as_deref().map_or(Ok(()), |key| backroom::core::bounds::check_name("key", key))?;
    visitor.record(&state, "schedule.trigger", &name, None::<&()>).await?;
    let mut options = TriggerOptions::default();
    options.key = key;
    let schedules = state.backroom.schedules();
    let job = schedules.trigger(&name, options).await?;
    state.pages.counted.changed();
    Ok(frame::done(&format!("/jobs/{job}"), "triggered"))
}

async fn backfill(State(state): State<AppState>, Path(name): Path<String>, posted: Posted) -> Answer {
    let Posted { visitor, fields } = &posted;
    find_to(&state, &visitor.caller, Scope::Operate, &name).await?;
    let moment = |field: &str| selection::moment(field, fields.get(field).unwrap_or_default(), visitor.now);
    let body = BackfillBody {
        from: moment("from")?,
        until: moment("until")?,
        dry_run: fields.get("count").is_some(),
        // The number that the page has counted and the visitor has confirmed.
        allow: fields.get("allow").map(count).transpose()?,
        at_once: None,
    };
    if !body.dry_run {
        visitor.record(&state, "schedule.backfill", &name, Some(&body)).await?;
        own::backfill(&state.backroom.schedules(), &name, &body).await?;
        return Ok(done(&state, &name, "backfilling"));
    }
    let total = own::backfill(&state.backroom.schedules(), &name, &body).await?.total;
    let path = format!("/schedules/{}", escaped(&name));
    let page = html! {
        p.notice.warn { "The range has " strong { (kit::number(total)) " occurrences" } "." }
        @if total > BACKFILL_MAX {
            p { "One backfill has at most " (kit::number(BACKFILL_MAX)) ": choose a shorter range, and then the next one." }
        } @else if total > 0 {
            form method="post" action=(format!("{path}/backfill")) {
                (kit::key(visitor))
                input type="hidden" name="from" value=(body.from);
                input type="hidden" name="until" value=(body.until);
                input type="hidden" name="allow" value=(total);
                button.primary type="submit" { "Run all of them" }
                (kit::cli(&format!("backroom schedules backfill {} --from {} --until {} --confirm {total}", kit::quoted(&name), body.from, body.until)))
            }
        }
        p { a href=(path) { "Back to the schedule" } }
    };
    let title = format!("Backfill {}", kit::shown(&name));
    Ok(Page::new(title, Section::Schedules, visitor, page).into_response())
}

fn count(text: &str) -> Result<u64, Trouble> {
    text.parse()
        .map_err(|_| Trouble::invalid(format!("the number of occurrences is {text:?}; use a whole number")))
}

async fn begin(state: &AppState, posted: &Posted, name: &str, act: &str) -> Result<(), Trouble> {
    find_to(state, &posted.visitor.caller, Scope::Operate, name).await?;
    posted.visitor.record(state, act, name, None::<&()>).await
}

fn done(state: &AppState, name: &str, said: &str) -> axum::response::Response {
    state.pages.counted.changed();
    frame::done(&format!("/schedules/{}", escaped(name)), said)
}
