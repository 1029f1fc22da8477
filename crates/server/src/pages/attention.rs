//! What needs attention: what stands still first, then what fails, then what waits for a person; each with what mends it.

use backroom::{DisplayState, Queue, Scope, WorkerRow};
use maud::{Markup, html};

use super::{
    Fields, Visitor,
    counted::{Discarded, Snapshot},
    fields::escaped,
    kit, selection,
};
use crate::api::schedules::sees;

/// Items that stand on the overview; a link leads to more.
const SHOWN_MAX: usize = 20;
/// Items that stand there after that link.
const ALL_MAX: usize = 150;
/// Queues without a worker that are named.
const NAMED_MAX: usize = 5;
/// The field of the link that shows more.
pub(super) const MORE: &str = "attention";

/// How bad it is; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    /// Jobs cannot go on, or cannot be stored.
    StandsStill,
    /// Jobs fail, or did not run.
    Fails,
    /// It was stopped on purpose, and waits for a person.
    Waits,
}

/// One line of the list.
struct Item {
    severity: Severity,
    /// Jobs that are concerned: of items that are equally bad, that with most comes first.
    jobs: u64,
    words: Markup,
}

impl Item {
    fn new(severity: Severity, jobs: u64, words: Markup) -> Self {
        Self { severity, jobs, words }
    }
}

/// The list. `is_all` shows more of it.
pub(super) fn list(
    visitor: &Visitor,
    seen: Option<&Snapshot>,
    queues: &[Queue],
    workers: &[WorkerRow],
    query: &Fields,
) -> Markup {
    let mut items = Vec::new();
    if let Some(seen) = seen {
        items.extend(unserved(visitor, seen, queues, workers));
        items.extend(queues.iter().flat_map(|queue| of_queue(visitor, seen, queue)));
        if visitor.may_everywhere(Scope::Read) {
            items.extend(elsewhere(visitor, seen));
        }
    }
    items.extend(workers.iter().flat_map(of_worker));
    // Items that are equal in both keep the order of their names.
    items.sort_by_key(|item| (item.severity, std::cmp::Reverse(item.jobs)));
    let most = if query.get(MORE).is_some() { ALL_MAX } else { SHOWN_MAX };
    html! {
        h2 { "Needs attention" }
        @if seen.is_none() { p.notice { "Jobs are being counted for the first time since the server started. What needs attention is shown then." } }
        @else if items.is_empty() { p.notice.good { "Nothing. All is well." } }
        ul.attention { @for item in items.iter().take(most) {
            li.bad[item.severity != Severity::Waits] { (item.words) }
        } }
        @if items.len() > most {
            p {
                "And " (items.len() - most) " more. "
                @if most < ALL_MAX { a href=(query.only(&["span"]).with(MORE, "all").link("/")) { "Show them" } }
                @else { a href="/jobs?state=discarded" { "Discarded jobs" } " · " a href="/queues" { "Queues" } " · " a href="/workers" { "Workers" } " · " a href="/schedules" { "Schedules" } }
            }
        }
    }
}

fn count(seen: &Snapshot, queue: &Queue, state: DisplayState) -> u64 {
    let found = seen.counts.iter().find(|count| count.queue == queue.name && count.state == state);
    found.map_or(0, |count| count.jobs)
}

/// Queues that no worker serves, all in one line.
fn unserved(visitor: &Visitor, seen: &Snapshot, queues: &[Queue], workers: &[WorkerRow]) -> Option<Item> {
    let is_served = |queue: &Queue| {
        workers.iter().any(|worker| worker.queues.iter().any(|(name, _)| *name == queue.name))
    };
    // A visitor who does not see all workers cannot know.
    if !visitor.may_everywhere(Scope::Read) {
        return None;
    }
    let mut waiting: Vec<(&Queue, u64)> = queues
        .iter()
        .filter(|queue| queue.paused_at.is_none() && !is_served(queue))
        .map(|queue| (queue, count(seen, queue, DisplayState::Available)))
        .filter(|(_, due)| *due > 0)
        .collect();
    waiting.sort_by_key(|(_, due)| std::cmp::Reverse(*due));
    let jobs = waiting.iter().map(|(_, due)| due).sum();
    let more = waiting.len().saturating_sub(NAMED_MAX);
    let (first, _) = waiting.first()?;
    let show = match waiting.len() {
        1 => format!("/jobs?state=available&queue={}", escaped(&first.name)),
        _ => "/queues".to_owned(),
    };
    let words = html! {
        span {
            @if waiting.len() == 1 { "No worker serves queue " } @else { "No worker serves " (waiting.len()) " queues: " }
            @for (at, (queue, _)) in waiting.iter().take(NAMED_MAX).enumerate() {
                @if at > 0 { ", " }
                a href=(format!("/queues/{}", escaped(&queue.name))) { (kit::shown(&queue.name)) }
            }
            @if more > 0 { " and " (more) " more" }
            ", and " (kit::number(jobs)) " jobs are due. Start a worker."
        }
        a.button href=(show) { "Show them" }
    };
    Some(Item::new(Severity::StandsStill, jobs, words))
}

fn of_queue(visitor: &Visitor, seen: &Snapshot, queue: &Queue) -> Vec<Item> {
    let mut items = Vec::new();
    let may_operate = visitor.may_in(Scope::Operate, &queue.name);
    let (name, path) = (kit::shown(&queue.name), format!("/queues/{}", escaped(&queue.name)));
    let due = count(seen, queue, DisplayState::Available);
    if queue.paused_at.is_some() && due > 0 {
        items.push(Item::new(Severity::Waits, due, html! {
            span { "Queue " a href=(path) { (name) } " is paused, and " (kit::number(due)) " jobs are due." }
            @if may_operate { (kit::button(visitor, &format!("{path}/resume"), "Resume", None)) }
        }));
    }
    let waiting: u64 = [DisplayState::Available, DisplayState::Scheduled, DisplayState::Retrying]
        .into_iter()
        .map(|state| count(seen, queue, state))
        .sum();
    if queue.depth_max.is_some_and(|most| waiting >= most) {
        items.push(Item::new(Severity::StandsStill, waiting, html! {
            span { "Queue " a href=(path) { (name) } " is full: " (kit::number(waiting)) " jobs wait, and it takes no more." }
            @if may_operate { a.button href=(path) { "Change its limit" } }
        }));
    }
    if let Some(discarded) = seen.discarded.get(&queue.name) {
        items.extend(given_up(&queue.name, discarded, may_operate));
    }
    items
}

/// Jobs of a queue that were discarded since yesterday. Those that took workers down are apart: another attempt of theirs would do so again.
fn given_up(queue: &str, discarded: &Discarded, may_operate: bool) -> Vec<Item> {
    let asked = Fields::default().with("state", "discarded").with("queue", queue).with("ended", "1d");
    let item = |jobs: u64, what: &str, asked: &Fields, action: &str, name: &str| {
        Item::new(
            Severity::Fails,
            jobs,
            html! {
                span {
                    a href=(asked.link("/jobs")) { @if discarded.is_more { "More than " } (kit::number(jobs)) " jobs" }
                    " of queue " (kit::shown(queue)) " " (what) " since yesterday."
                }
                @if may_operate { a.button href=(asked.with("action", action).link("/bulk")) { (name) "…" } }
            },
        )
    };
    let mut items = Vec::new();
    if discarded.poison > 0 {
        let poison = asked.with("error", backroom::core::POISON);
        let what = "took workers down with them and were given up";
        items.push(item(discarded.poison, what, &poison, "delete", "Delete them"));
    }
    let others = discarded.jobs - discarded.poison;
    if others > 0 {
        let asked = asked.with(selection::NOT_POISON, "true");
        items.push(item(others, "were given up", &asked, "retry", "Retry them"));
    }
    items
}

fn of_worker(worker: &WorkerRow) -> Vec<Item> {
    let stuck = (worker.stuck > 0).then(|| format!("{} handlers run on after a stop request", worker.stuck));
    let blocked = worker.details.blocked.as_ref().filter(|blocked| blocked.now).map(ToString::to_string);
    let whys = worker.trouble.clone().into_iter().chain(stuck).chain(blocked);
    let item = |why: String| {
        Item::new(
            Severity::StandsStill,
            worker.running.into(),
            html! {
                span { "Worker " a href="/workers" { (kit::shown(&worker.name)) } ": " (kit::shown(&why)) }
                @if worker.running > 0 {
                    a.button href=(format!("/jobs?state=running&worker={}", escaped(&worker.name))) { "What it runs" }
                }
            },
        )
    };
    whys.map(item).collect()
}

/// What needs attention beside queues and workers.
fn elsewhere(visitor: &Visitor, seen: &Snapshot) -> Vec<Item> {
    let mut items = Vec::new();
    for schedule in seen.schedules.iter().filter(|schedule| sees(&visitor.caller, schedule)) {
        let path = format!("/schedules/{}", escaped(&schedule.name));
        let why =
            schedule.failing.as_ref().map(|failing| failing.why.as_str()).unwrap_or("a success is overdue");
        items.push(Item::new(Severity::Fails, 0, html! {
            span { "Schedule " a href=(path) { (kit::shown(&schedule.name)) } ": " (kit::shown(why)) }
            @if visitor.may(Scope::Enqueue) { (kit::button(visitor, &format!("{path}/trigger"), "Run now", None)) }
        }));
    }
    for missed in seen.missed.iter().filter(|missed| sees(&visitor.caller, &missed.schedule)) {
        let path = format!("/schedules/{}", escaped(&missed.schedule.name));
        items.push(Item::new(Severity::Fails, missed.runs, html! {
            span {
                "Schedule " a href=(path) { (kit::shown(&missed.schedule.name)) } " missed "
                @if missed.runs == 1 { "a run" } @else { (kit::number(missed.runs)) " runs" } " since yesterday."
            }
            a.button href=(path) { "Backfill" }
        }));
    }
    #[cfg(feature = "triggers")]
    for trigger in &seen.triggers {
        let path = format!("/triggers/{}", escaped(&trigger.name));
        let severity = if trigger.error().is_some() { Severity::StandsStill } else { Severity::Waits };
        items.push(Item::new(severity, trigger.dead_letters, html! {
            span {
                "Trigger " a href=(path) { (kit::shown(&trigger.name)) }
                @if let Some(error) = trigger.error() { ": " (kit::shown(error)) }
                @if trigger.dead_letters > 0 { " has " (kit::number(trigger.dead_letters)) " dead letters" }
            }
            @if trigger.paused_at.is_some() && visitor.may_everywhere(Scope::Operate) {
                (kit::button(visitor, &format!("{path}/resume"), "Resume", None))
            }
            @if trigger.dead_letters > 0 { a.button href=(format!("/dead-letters?trigger={}", escaped(&trigger.name))) { "Dead letters" } }
        }));
    }
    for endpoint in &seen.endpoints {
        items.push(Item::new(Severity::Waits, 0, html! {
            span { "Callbacks to " (kit::shown(&endpoint.url)) " have ended: " (kit::shown(&endpoint.reason)) }
            a.button href="/callbacks" { "Callbacks" }
        }));
    }
    items
}
