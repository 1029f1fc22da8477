//! `/replies`: reply queues and the messages that wait in them. The pages take none of them.

use axum::{
    Router,
    extract::{OriginalUri, Path, State},
    response::IntoResponse as _,
    routing::get,
};
use backroom::{Scope, core::bounds::check_name};
use maud::html;

use super::{Answer, Fields, Page, Section, Visitor, fields::escaped, kit};
use crate::{serve::AppState, terminal::words};

/// Messages on one page.
const LIMIT: usize = 50;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/replies", get(page)).route("/replies/{queue}", get(one))
}

async fn page(State(state): State<AppState>, visitor: Visitor) -> Answer {
    visitor.caller.require(Scope::Work)?;
    let mut queues = state.backroom.reply_queues().await?;
    queues.retain(|queue| visitor.caller.sees(&queue.name));
    let rows = html! {
        @for queue in queues.iter().take(200) {
            tr {
                th scope="row" { a href=(format!("/replies/{}", escaped(&queue.name))) { (kit::shown(&queue.name)) } }
                td.num { (kit::number(queue.messages)) }
                td.num { (kit::number(queue.taken)) }
                td.num { (words::bytes(queue.bytes)) }
                td { (kit::ago(queue.oldest_at, &visitor)) }
                td.num { (kit::number(queue.dropped)) }
            }
        }
    };
    let body = html! {
        @if queues.is_empty() { p { "No reply queue has messages." } }
        @else { (kit::table("Reply queues", &["Reply queue", "Messages", "Taken", "Size", "Oldest", "Dropped"], rows)) }
    };
    Ok(Page::new("Replies", Section::Replies, &visitor, body).into_response())
}

async fn one(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(queue): Path<String>,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    visitor.caller.require_in(Scope::Work, &queue)?;
    check_name("reply queue", &queue)?;
    let query = Fields::parse(uri.query().unwrap_or_default());
    let after: u64 = query.get("after").and_then(|after| after.parse().ok()).unwrap_or_default();
    let messages = state.backroom.replies(queue.clone()).list(after, LIMIT).await?;
    let next = (messages.len() == LIMIT).then(|| messages.last()).flatten().map(|last| {
        Fields::default().with("after", &last.seq.to_string()).link(&format!("/replies/{}", escaped(&queue)))
    });
    let rows = html! {
        @for message in &messages {
            tr {
                td.num { (message.seq) }
                td { (message.message.body.kind.as_str()) }
                td { (kit::job_link(message.message.body.job_id)) }
                td { @if let Some(id) = &message.message.body.correlation_id { (kit::shown(id)) } }
                td { (kit::moment(message.message.body.at, &visitor)) }
                td { @match &message.lease { Some(lease) if lease.until > visitor.now => { "taken until " (kit::moment(lease.until, &visitor)) } _ => "waits" } }
                td.num { (message.deliveries) }
            }
        }
    };
    let body = html! {
        @if messages.is_empty() { p { "There is no message." } }
        @else { (kit::table("Messages", &["Position", "Of what", "Job", "Correlation id", "When", "State", "Deliveries"], rows)) }
        (kit::next(next.as_deref()))
        p { (kit::cli(&format!("backroom replies {}", kit::quoted(&queue)))) }
    };
    let title = format!("Replies to {}", kit::shown(&queue));
    Ok(Page::new(title, Section::Replies, &visitor, body).into_response())
}
