//! `/audit`: who did what, and when.

use axum::{
    Router,
    extract::{OriginalUri, State},
    response::IntoResponse as _,
    routing::get,
};
use backroom::Scope;
use maud::html;
use uuid::Uuid;

use super::{Answer, Fields, Page, Section, Trouble, Visitor, kit};
use crate::serve::AppState;

/// Entries on one page.
const LIMIT: usize = 50;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/audit", get(page))
}

async fn page(State(state): State<AppState>, visitor: Visitor, OriginalUri(uri): OriginalUri) -> Answer {
    visitor.caller.require_everywhere(Scope::Admin)?;
    let query = Fields::parse(uri.query().unwrap_or_default());
    let before = query.get("before").map(Uuid::try_parse).transpose();
    let before = before.map_err(|_| Trouble::invalid("the entry to begin below is no UUID"))?;
    let entries = state.backroom.audit().list(before, LIMIT).await?;
    let next = (entries.len() == LIMIT).then(|| entries.last()).flatten();
    let next = next.map(|last| Fields::default().with("before", &last.id.to_string()).link("/audit"));
    let rows = html! {
        @for entry in &entries {
            tr {
                td { (kit::moment(entry.at, &visitor)) }
                td { (kit::shown(&entry.who)) }
                td { (kit::shown(&entry.act)) }
                td { (kit::shown(&entry.target)) }
                td { @if let Some(detail) = &entry.detail { code { (kit::shown(&backroom::core::bounds::clip(detail.as_str(), 300))) } } }
            }
        }
    };
    let body = html! {
        @if entries.is_empty() { p { "Nothing was done by hand." } }
        @else { (kit::table("Audit log", &["When", "Who", "What", "To what", "Detail"], rows)) }
        (kit::next(next.as_deref()))
        p { (kit::cli("backroom audit")) }
    };
    Ok(Page::new("Audit log", Section::Audit, &visitor, body).into_response())
}
