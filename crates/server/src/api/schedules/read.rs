//! Reading schedules and their history.

use axum::{
    Json,
    extract::{OriginalUri, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{find, sees};
use crate::{
    api::{
        caller::{Caller, Scope},
        codes::Code,
        extract::{Path, Query},
        problem::{Problem, Problems},
    },
    serve::AppState,
    views::schedule::{EntryPage, SchedulePage, ScheduleView, WholeSchedule},
};

/// Rows on a page that names no limit.
const LIMIT_DEFAULT: usize = 50;
/// Most rows on a page.
const LIMIT_MAX: usize = 1000;
/// Most schedules that one page reads to find those that the caller sees.
const READ_MAX: usize = 10_000;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Most schedules on the page, 1 to 1000. Default 50.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Continue after the schedule of this name: `next` of the page before.
    after: Option<String>,
}

fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked.unwrap_or(LIMIT_DEFAULT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        other => Err(Problem::new(Code::Invalid, format!("limit is {other}; use 1 to {LIMIT_MAX}"))),
    }
}

/// List schedules
///
/// By name, page by page. `next`, and the `Link` with the relation `next`, lead to the page after it. For a token that is valid for some
/// queues a page may have fewer than `limit`.
#[utoipa::path(
    get,
    path = "/v1/schedules",
    tag = "schedules",
    params(ListQuery),
    responses((status = 200, description = "A page of schedules.", body = SchedulePage), Problems)
)]
pub(super) async fn list(
    State(state): State<AppState>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    caller.require(Scope::Read)?;
    let limit = limit(query.limit)?;
    let schedules = state.backroom.schedules();
    let (mut seen, mut after, mut read) = (Vec::new(), query.after, 0);
    let next = loop {
        let page = schedules.list(after.as_deref(), limit).await?;
        let (is_last, last) = (page.len() < limit, page.last().map(|last| last.name.clone()));
        read += page.len();
        let views = page.into_iter().map(|summary| ScheduleView::of(&state.backroom, summary).0);
        seen.extend(views.filter(|view| sees(&caller, view)));
        if seen.len() >= limit || is_last || read >= READ_MAX {
            let is_cut = seen.len() > limit;
            seen.truncate(limit);
            let of_seen = || seen.last().map(|last| last.name.clone());
            break if is_cut {
                of_seen()
            } else if is_last {
                None
            } else {
                last
            };
        }
        after = last;
    };
    let link = next.as_ref().map(|next| {
        let next = percent_encoding::utf8_percent_encode(next, percent_encoding::NON_ALPHANUMERIC);
        format!("<{}?limit={limit}&after={next}>; rel=\"next\"", uri.path())
    });
    let mut response = Json(SchedulePage { schedules: seen, next }).into_response();
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// Read a schedule
///
/// Its definition, what has happened to it, its last ten runs and its next ten occurrences. The `ETag` names the version of the definition:
/// it does not change when the schedule fires.
#[utoipa::path(
    get,
    path = "/v1/schedules/{name}",
    tag = "schedules",
    params(("name" = String, Path, description = "The schedule.")),
    responses(
        (status = 200, description = "The schedule.", body = WholeSchedule, headers(("etag" = String, description = "The version of its definition."))),
        Problems
    )
)]
pub(super) async fn one(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    caller.require(Scope::Read)?;
    let whole = find(&state, &caller, &name).await?;
    let mut headers = HeaderMap::new();
    let tag = HeaderValue::from_str(&whole.schedule.etag()).expect("invariant: a hash in hexadecimal");
    headers.insert(header::ETAG, tag);
    Ok((StatusCode::OK, headers, Json(whole)).into_response())
}

/// Which page of the history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// Most entries on the page, 1 to 1000. Default 50.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Continue below the entry of this number: `next` of the page before.
    before: Option<u64>,
}

/// Read the history of a schedule
///
/// Runs, and occurrences that did not run with the reason, the newest first. About the last thousand entries are retained.
#[utoipa::path(
    get,
    path = "/v1/schedules/{name}/history",
    tag = "schedules",
    params(("name" = String, Path, description = "The schedule."), HistoryQuery),
    responses((status = 200, description = "A page of entries.", body = EntryPage), Problems)
)]
pub(super) async fn history(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<EntryPage>, Problem> {
    caller.require(Scope::Read)?;
    let limit = limit(query.limit)?;
    find(&state, &caller, &name).await?;
    Ok(Json(EntryPage::read(&state.backroom, &name, query.before, limit).await?))
}
