//! `/schedules`: what the clock starts, as a list and as a calendar of the next runs.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Router,
    extract::{OriginalUri, State},
    response::IntoResponse as _,
    routing::get,
};
use backroom::{Scope, Timestamp, core::bounds::later};
use jiff::{civil::Date, tz::Offset};
use maud::{Markup, html};

use super::{Answer, Fields, Page, Section, Trouble, Visitor, fields::escaped, kit};
use crate::{api::schedules::sees, serve::AppState, views::schedule::ScheduleView};

/// Schedules on one page.
const LIMIT: usize = 50;
/// Most schedules that one page reads to find those that the visitor sees.
const READ_MAX: usize = 5000;
/// Days of the calendar.
const DAYS: i64 = 14;
/// Runs of one schedule that stand in the calendar; one that runs more often stands above it.
const RUNS_MAX: usize = 14 * 24;
/// Schedules that one day shows.
const DAY_LINES_MAX: usize = 12;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/schedules", get(page)).route("/calendar", get(calendar))
}

async fn page(State(state): State<AppState>, visitor: Visitor, OriginalUri(uri): OriginalUri) -> Answer {
    let query = Fields::parse(uri.query().unwrap_or_default());
    let body = html! {
        p { a href="/calendar" { "Calendar of the next runs" } }
        (parts(&state, &visitor, &query).await?)
    };
    let path = query.only(&["after"]).link("/schedules");
    Ok(Page::new("Schedules", Section::Schedules, &visitor, body).said(&query).live(path).into_response())
}

pub(super) async fn parts(state: &AppState, visitor: &Visitor, query: &Fields) -> Result<Markup, Trouble> {
    visitor.caller.require(Scope::Read)?;
    let (schedules, next) = seen(state, visitor, query.get("after")).await?;
    let next = next.map(|next| Fields::default().with("after", &next).link("/schedules"));
    let rows = html! {
        @for schedule in &schedules {
            @let path = format!("/schedules/{}", escaped(&schedule.name));
            tr {
                th scope="row" { a href=(path) { (kit::shown(&schedule.name)) } }
                td { (condition(schedule)) }
                td { (kit::shown(schedule.description.as_deref().unwrap_or("it cannot be read"))) }
                td { (kit::ago(schedule.next.as_ref().map(|next| next.at), visitor)) }
                td { (kit::ago(schedule.last_fired, visitor)) }
                td.num { (kit::number(schedule.counters.runs())) " / " (kit::number(schedule.counters.missed)) }
            }
        }
    };
    Ok(kit::live(
        "list",
        html! {
            @if schedules.is_empty() { p { "There is no schedule." } }
            @else { (kit::table("Schedules", &["Schedule", "Condition", "Meaning", "Next run", "Last run", "Runs / missed"], rows)) }
            (kit::next(next.as_deref()))
        },
    ))
}

/// Its condition, with a colour where it needs attention.
pub(super) fn condition(schedule: &ScheduleView) -> Markup {
    let is_bad = schedule.failing.is_some() || schedule.overdue_since.is_some();
    html! { span.discarded[is_bad] { (schedule.condition()) } }
}

/// A page of the schedules that the visitor sees, and where the next page begins.
async fn seen(
    state: &AppState,
    visitor: &Visitor,
    after: Option<&str>,
) -> Result<(Vec<ScheduleView>, Option<String>), Trouble> {
    let (mut found, mut after, mut read) = (Vec::new(), after.map(str::to_owned), 0);
    loop {
        let page = state.backroom.schedules().list(after.as_deref(), LIMIT).await?;
        read += page.len();
        let is_last = page.len() < LIMIT;
        for view in page.into_iter().map(|summary| ScheduleView::of(&state.backroom, summary).0) {
            after = Some(view.name.clone());
            if sees(&visitor.caller, &view) {
                found.push(view);
            }
            if found.len() >= LIMIT {
                return Ok((found, after));
            }
        }
        if is_last || read >= READ_MAX {
            return Ok((found, if is_last { None } else { after }));
        }
    }
}

/// The runs of one schedule on one day.
struct DayOf<'a> {
    schedule: &'a str,
    runs: Vec<Timestamp>,
}

/// The next runs by day, in UTC. No run is left out without a word: a schedule that runs too often for a calendar is named above it.
async fn calendar(State(state): State<AppState>, visitor: Visitor, OriginalUri(uri): OriginalUri) -> Answer {
    visitor.caller.require(Scope::Read)?;
    let query = Fields::parse(uri.query().unwrap_or_default());
    let (schedules, next) = seen(&state, &visitor, query.get("after")).await?;
    let until = later(visitor.now, Duration::from_secs(DAYS.unsigned_abs() * 86_400));
    let (mut days, mut often): (BTreeMap<Date, Vec<DayOf<'_>>>, Vec<&ScheduleView>) = Default::default();
    for schedule in &schedules {
        let timetable = schedule.definition.as_ref().and_then(|definition| definition.timetable().ok());
        let Some(timetable) = timetable.filter(|_| schedule.next.is_some()) else { continue };
        let mut runs = timetable.next_few(visitor.now, RUNS_MAX + 1);
        runs.retain(|at| *at <= until);
        if runs.len() > RUNS_MAX {
            often.push(schedule);
            continue;
        }
        for runs in runs.chunk_by(|one, next| day(*one) == day(*next)) {
            let of_day = DayOf { schedule: &schedule.name, runs: runs.to_vec() };
            days.entry(day(runs[0])).or_default().push(of_day);
        }
    }
    days.values_mut().for_each(|day| day.sort_by_key(|of_day| of_day.runs[0]));
    let body = html! {
        p { "The next " (DAYS) " days, in UTC. " a href="/schedules" { "List of the schedules" } }
        @if !often.is_empty() {
            h2 { "Too often for a calendar" }
            ul { @for schedule in &often {
                li { (schedule_link(&schedule.name)) ": " (kit::shown(schedule.description.as_deref().unwrap_or_default())) }
            } }
        }
        ol.days {
            @for date in day(visitor.now).series(jiff::Span::new().days(1)).take(usize::try_from(DAYS).unwrap_or(14)) {
                @let lines = days.get(&date).map(Vec::as_slice).unwrap_or_default();
                li {
                    h2 { (date.strftime("%a %d %b")) }
                    @if lines.is_empty() { p.muted { "no run" @if !often.is_empty() { " of the others" } } }
                    ul { @for of_day in lines.iter().take(DAY_LINES_MAX) { li { (line(of_day)) } } }
                    @if lines.len() > DAY_LINES_MAX { p.muted { "and " (lines.len() - DAY_LINES_MAX) " more schedules" } }
                }
            }
        }
        (kit::next(next.map(|next| Fields::default().with("after", &next).link("/calendar")).as_deref()))
    };
    Ok(Page::new("Calendar", Section::Schedules, &visitor, body).into_response())
}

/// The first run of a day, and how many follow.
fn line(of_day: &DayOf<'_>) -> Markup {
    let (first, last) = (of_day.runs[0], of_day.runs[of_day.runs.len() - 1]);
    html! {
        time datetime=(first) data-fixed { (first.strftime("%H:%M")) } " " (schedule_link(of_day.schedule))
        @if of_day.runs.len() > 1 { span.muted { " and " (of_day.runs.len() - 1) " more until " (last.strftime("%H:%M")) } }
    }
}

fn schedule_link(name: &str) -> Markup {
    html! { a href=(format!("/schedules/{}", escaped(name))) { (kit::shown(name)) } }
}

fn day(at: Timestamp) -> Date {
    Offset::UTC.to_datetime(at).date()
}
