//! `/settings`: the settings in effect, and where each came from.

use axum::{Router, extract::State, response::IntoResponse as _, routing::get};
use backroom::Scope;
use maud::html;

use super::{Answer, Page, Section, Visitor, kit};
use crate::{serve::AppState, views::ConfigView};

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/settings", get(page))
}

async fn page(State(state): State<AppState>, visitor: Visitor) -> Answer {
    visitor.caller.require_everywhere(Scope::Admin)?;
    let config = ConfigView::new(&state.loaded.now());
    let rows = html! {
        @for setting in &config.settings {
            tr {
                th scope="row" { code { (kit::shown(&setting.key)) } }
                td { code { (kit::shown(&setting.value)) } }
                td { @if setting.from.place == "default" { span.muted { "default" } } @else { (kit::shown(&setting.from.said())) } }
            }
        }
    };
    let body = html! {
        p { @match &config.file { Some(file) => { "Read from " code { (kit::shown(file)) } "." } None => "No settings file was read." } }
        (kit::table("Settings", &["Setting", "Value", "From"], rows))
        p { (kit::cli("backroom config")) }
    };
    Ok(Page::new("Settings", Section::Settings, &visitor, body).into_response())
}
