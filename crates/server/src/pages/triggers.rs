//! `/triggers` and `/dead-letters`: what starts jobs from outside, and what could not become one.

use axum::{
    Router,
    extract::{OriginalUri, Path, State},
    response::IntoResponse as _,
    routing::{get, post},
};
use backroom::{Json, Scope};
use backroom_triggers::{Outcome, admin};
use maud::{Markup, html};
use uuid::Uuid;

use super::{Answer, Fields, Page, Posted, Section, Trouble, Visitor, fields::escaped, frame, kit};
use crate::{api::letters, serve::AppState, views::trigger::TriggerView};

/// Dead letters on one page.
const LIMIT: usize = 50;
/// So much of a body stands on the page.
const BODY_BYTES_MAX: usize = 8 * 1024;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/triggers", get(page))
        .route("/triggers/{name}", get(one))
        .route("/triggers/{name}/pause", post(pause))
        .route("/triggers/{name}/resume", post(resume))
        .route("/triggers/{name}/delete", post(delete))
        .route("/dead-letters", get(letters))
        .route("/dead-letters/{id}", get(letter))
        .route("/dead-letters/{id}/replay", post(replay))
        .route("/dead-letters/{id}/delete", post(delete_letter))
}

async fn page(State(state): State<AppState>, visitor: Visitor, OriginalUri(uri): OriginalUri) -> Answer {
    let query = Fields::parse(uri.query().unwrap_or_default());
    let parts = parts(&state, &visitor, &query).await?;
    let path = query.only(&["after"]).link("/triggers");
    Ok(Page::new("Triggers", Section::Triggers, &visitor, parts).said(&query).live(path).into_response())
}

pub(super) async fn parts(state: &AppState, visitor: &Visitor, query: &Fields) -> Result<Markup, Trouble> {
    visitor.caller.require_everywhere(Scope::Read)?;
    let triggers = admin::list(&state.backroom, query.get("after")).await?;
    let triggers: Vec<_> = triggers.into_iter().map(|row| TriggerView::new(row, visitor.now)).collect();
    let rows = html! {
        @for trigger in &triggers {
            tr {
                th scope="row" { a href=(format!("/triggers/{}", escaped(&trigger.name))) { (kit::shown(&trigger.name)) } }
                td { (kit::shown(&trigger.kind)) }
                td { (kit::shown(&trigger.activity)) @if let Some(error) = trigger.error() { ": " span.discarded { (kit::shown(error)) } } }
                td.num { (lag(trigger)) }
                td { (kit::ago(last(trigger), visitor)) }
                td.num { a href=(format!("/dead-letters?trigger={}", escaped(&trigger.name))) { (kit::number(trigger.dead_letters)) } }
            }
        }
    };
    Ok(kit::live(
        "list",
        html! {
            @if triggers.is_empty() { p { "There is no trigger. The section " code { "[triggers.NAME]" } " of the settings makes one." } }
            @else { (kit::table("Triggers", &["Trigger", "Source", "What it does", "Lag", "Last delivery", "Dead letters"], rows)) }
        },
    ))
}

fn lag(trigger: &TriggerView) -> String {
    let lags = trigger.readers.iter().filter(|reader| reader.alive).filter_map(|reader| reader.status.lag);
    lags.max().map_or_else(|| "–".into(), kit::number)
}

fn last(trigger: &TriggerView) -> Option<backroom::Timestamp> {
    trigger.readers.iter().filter_map(|reader| reader.status.last_delivery_at).max()
}

async fn one(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(name): Path<String>,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let query = Fields::parse(uri.query().unwrap_or_default());
    let parts = one_parts(&state, &visitor, &name).await?;
    let title = format!("Trigger {}", kit::shown(&name));
    let path = format!("/triggers/{}", escaped(&name));
    Ok(Page::new(title, Section::Triggers, &visitor, parts).said(&query).live(path).into_response())
}

pub(super) async fn one_parts(state: &AppState, visitor: &Visitor, name: &str) -> Result<Markup, Trouble> {
    visitor.caller.require_everywhere(Scope::Read)?;
    let trigger = TriggerView::new(admin::get(&state.backroom, name).await?, visitor.now);
    let path = format!("/triggers/{}", escaped(name));
    let readers = html! {
        @for reader in &trigger.readers {
            tr {
                th scope="row" { (kit::shown(&reader.holder)) }
                td { @if reader.alive { (reader.status.activity.as_str()) } @else { "silent" } }
                td { (kit::moment(reader.beat_at, visitor)) }
                td.num { @match reader.status.lag { Some(lag) => (kit::number(lag)), None => "–" } }
                td.num { (kit::number(reader.status.in_flight)) }
                td { @if let Some(error) = &reader.status.error { (kit::shown(error)) } }
            }
        }
    };
    let value = |value: &serde_json::Value| Json::encode(value).ok();
    Ok(kit::live(
        "trigger",
        html! {
            p { (kit::shown(&trigger.kind)) ", " (kit::shown(&trigger.activity)) }
            @if let Some(error) = trigger.error() { p.notice.bad { (kit::shown(error)) } }
            dl.facts {
                dt { "Dead letters" }
                dd {
                    a href=(format!("/dead-letters?trigger={}", escaped(name))) { (kit::number(trigger.dead_letters)) }
                    @if trigger.dropped > 0 { ", and " (kit::number(trigger.dropped)) " were dropped because there were too many" }
                }
                dt { "Defined" } dd { (kit::moment(trigger.defined_at, visitor)) }
            }
            h2 { "Processes that read its source" }
            @if trigger.readers.is_empty() { p { "None." } }
            @else { (kit::table("Readers", &["Process", "What it does", "Heartbeat", "Lag", "In hand", "Error"], readers)) }
            @for (name, part) in [("Source", &trigger.source), ("Which jobs deliveries become", &trigger.mapping)] {
                @if let Some(part) = value(part) { (kit::json(name, &part, &format!("/v1{path}"))) }
            }
            @if visitor.may_everywhere(Scope::Operate) {
                h2 { "What can be done" }
                div.acts {
                    @if trigger.paused_at.is_some() {
                        (kit::button(visitor, &format!("{path}/resume"), "Resume", Some(&format!("backroom triggers resume {}", kit::quoted(name)))))
                    } @else {
                        (kit::button(visitor, &format!("{path}/pause"), "Pause", Some(&format!("backroom triggers pause {}", kit::quoted(name)))))
                    }
                    (kit::opened("Forget", html! {
                        form method="post" action=(format!("{path}/delete")) {
                            (kit::key(visitor))
                            p { "With its state and its dead letters. Its jobs stay. If the settings still name it, its source is read from the beginning at the next start." }
                            button.danger type="submit" { "Forget the trigger" }
                            (kit::cli(&format!("backroom triggers forget {}", kit::quoted(name))))
                        }
                    }))
                }
            }
        },
    ))
}

async fn pause(State(state): State<AppState>, Path(name): Path<String>, posted: Posted) -> Answer {
    begin(&state, &posted, "trigger.pause", &name).await?;
    admin::pause(&state.backroom, &name, "paused on the pages").await?;
    Ok(done(&state, &format!("/triggers/{}", escaped(&name)), "paused"))
}

async fn resume(State(state): State<AppState>, Path(name): Path<String>, posted: Posted) -> Answer {
    begin(&state, &posted, "trigger.resume", &name).await?;
    admin::resume(&state.backroom, &name).await?;
    Ok(done(&state, &format!("/triggers/{}", escaped(&name)), "resumed"))
}

async fn delete(State(state): State<AppState>, Path(name): Path<String>, posted: Posted) -> Answer {
    begin(&state, &posted, "trigger.delete", &name).await?;
    admin::delete(&state.backroom, &name).await?;
    Ok(done(&state, "/triggers", "forgotten"))
}

async fn letters(State(state): State<AppState>, visitor: Visitor, OriginalUri(uri): OriginalUri) -> Answer {
    visitor.caller.require_everywhere(Scope::Read)?;
    let query = Fields::parse(uri.query().unwrap_or_default());
    let before = query.get("before").map(id).transpose()?;
    let letters = letters::many(&state, &visitor.caller, query.get("trigger"), before, LIMIT).await?;
    let next = (letters.len() == LIMIT)
        .then(|| letters.last())
        .flatten()
        .map(|last| query.only(&["trigger"]).with("before", &last.id.to_string()).link("/dead-letters"));
    let rows = html! {
        @for letter in &letters {
            tr {
                td { a href=(format!("/dead-letters/{}", letter.id)) { (kit::shown(&clip(&letter.identity))) } }
                td { a href=(format!("/triggers/{}", escaped(&letter.trigger))) { (kit::shown(&letter.trigger)) } }
                td { (kit::shown(&clip(&letter.reason))) }
                td { (kit::moment(letter.at, &visitor)) }
                td { (replay_button(&visitor, letter.id)) }
            }
        }
    };
    let body = html! {
        @if letters.is_empty() { p { "There is no dead letter." } }
        @else { (kit::table("Dead letters", &["Identity", "Trigger", "Why", "When", "Act"], rows)) }
        (kit::next(next.as_deref()))
    };
    Ok(Page::new("Dead letters", Section::Triggers, &visitor, body).said(&query).into_response())
}

fn clip(text: &str) -> String {
    backroom::core::bounds::clip(text, 120)
}

fn replay_button(visitor: &Visitor, id: Uuid) -> Markup {
    let command = format!("backroom triggers replay {id}");
    html! {
        @if visitor.may_everywhere(Scope::Operate) {
            (kit::button(visitor, &format!("/dead-letters/{id}/replay"), "Deliver again", Some(&command)))
        }
    }
}

async fn letter(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(id_text): Path<String>,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    visitor.caller.require_everywhere(Scope::Read)?;
    let query = Fields::parse(uri.query().unwrap_or_default());
    let letter = letters::one(&state, &visitor.caller, id(&id_text)?).await?;
    let said = Json::encode(&letter.delivery).ok();
    let body_text = letter.body.as_deref().or(letter.body_base64.as_deref());
    let body = html! {
        p.notice.bad { (kit::shown(&letter.reason)) }
        dl.facts {
            dt { "Trigger" } dd { a href=(format!("/triggers/{}", escaped(&letter.trigger))) { (kit::shown(&letter.trigger)) } }
            dt { "Identity" } dd { (kit::shown(&letter.identity)) }
            dt { "When" } dd { (kit::moment(letter.at, &visitor)) }
        }
        @if let Some(said) = said { (kit::json("What its source said", &said, &format!("/v1/dead-letters/{}", letter.id))) }
        h2 { "Body" @if letter.body_base64.is_some() { " in base64" } }
        @if let Some(text) = body_text {
            div.scroll role="region" aria-label="Body" tabindex="0" {
                pre data-copy { (kit::shown(&backroom::core::bounds::clip(text, BODY_BYTES_MAX))) }
            }
        } @else { p { "It is hidden, or was too large to be stored: " (kit::number(letter.body_bytes)) " bytes." } }
        div.acts {
            (replay_button(&visitor, letter.id))
            @if visitor.may_everywhere(Scope::Operate) {
                (kit::opened("Delete", html! {
                    form method="post" action=(format!("/dead-letters/{}/delete", letter.id)) {
                        (kit::key(&visitor))
                        button.danger type="submit" { "Delete the dead letter" }
                        (kit::cli(&format!("backroom triggers delete-dead-letters {}", letter.id)))
                    }
                }))
            }
        }
    };
    Ok(Page::new("Dead letter", Section::Triggers, &visitor, body).said(&query).into_response())
}

async fn replay(State(state): State<AppState>, Path(id_text): Path<String>, posted: Posted) -> Answer {
    begin(&state, &posted, "dead_letter.replay", &id_text).await?;
    Ok(match admin::replay(&state.backroom, id(&id_text)?).await? {
        Outcome::Enqueued(job) | Outcome::Duplicate(job) => done(&state, &format!("/jobs/{job}"), "replayed"),
        Outcome::LeftOut => done(&state, "/dead-letters", "replayed"),
        Outcome::Refused { .. } => done(&state, &format!("/dead-letters/{id_text}"), "refused"),
    })
}

async fn delete_letter(State(state): State<AppState>, Path(id_text): Path<String>, posted: Posted) -> Answer {
    begin(&state, &posted, "dead_letter.delete", &id_text).await?;
    admin::delete_dead_letter(&state.backroom, id(&id_text)?).await?;
    Ok(done(&state, "/dead-letters", "forgotten"))
}

fn id(text: &str) -> Result<Uuid, Trouble> {
    Uuid::try_parse(text).map_err(|_| Trouble::invalid("the id is no UUID"))
}

async fn begin(state: &AppState, posted: &Posted, act: &str, target: &str) -> Result<(), Trouble> {
    posted.visitor.caller.require_everywhere(Scope::Operate)?;
    posted.visitor.record(state, act, target, None::<&()>).await
}

/// Leads on, and has the triggers of this server notice it now.
fn done(state: &AppState, path: &str, said: &str) -> axum::response::Response {
    if let Some(served) = state.triggers.get() {
        served.running().ask_now();
    }
    state.pages.counted.changed();
    frame::done(path, said)
}
