//! `/live`: the parts of a page again, whenever they have changed.
//!
//! A page is made once for all that watch it with the same permissions, and sent only if it has changed. So a hundred open pages
//! cost little more than one.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::{OriginalUri, State},
    http::HeaderMap,
    response::{
        IntoResponse as _,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use backroom::Timestamp;
use futures_util::{StreamExt as _, stream};
use maud::Markup;
use percent_encoding::percent_decode_str;
use tokio::sync::watch;

#[cfg(feature = "triggers")]
use super::triggers;
use super::{
    Answer, Fields, Trouble, Visitor, batches, callbacks, job, jobs, overview, proxied, queues, schedule,
    schedules, shared, visitor, workers,
};
use crate::{
    api::{caller::Identity, codes::Code, problem::Problem},
    serve::{AppState, Arrived},
};

/// How often a page is made again.
const EVERY: Duration = Duration::from_secs(2);
/// Most pages that are watched at once, by path and permissions.
const WATCHED_MAX: usize = 500;
/// How often an idle stream sends a comment.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);
/// Longest path that is watched.
const PATH_BYTES_MAX: usize = 2048;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/live", get(live))
}

/// The parts of a page as they were made last.
#[derive(Debug, Clone)]
struct Made {
    html: Arc<str>,
    /// When making them began: they show nothing of what was changed later.
    at: Timestamp,
    /// When the last visitor came who has seen none: parts that are made later are sent, also if they have not changed.
    wanted_at: Option<Timestamp>,
}

/// The pages that are watched now, by permissions and path.
#[derive(Debug, Default)]
pub(crate) struct Hub(Mutex<HashMap<String, watch::Sender<Made>>>);

impl Hub {
    fn watched(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Made>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A page that can be watched.
#[derive(Debug, Clone)]
enum Watched {
    Overview(Fields),
    Jobs(Fields),
    Job(String),
    Batches(Fields),
    Batch(String, Fields),
    Queues(Fields),
    Queue(String),
    Workers,
    Schedules(Fields),
    Schedule(String),
    Callbacks(Fields),
    #[cfg(feature = "triggers")]
    Triggers(Fields),
    #[cfg(feature = "triggers")]
    Trigger(String),
}

impl Watched {
    fn parse(path: &str) -> Option<Self> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let fields = Fields::parse(query);
        Some(match path {
            "/" => Self::Overview(fields),
            "/jobs" => Self::Jobs(fields),
            "/batches" => Self::Batches(fields),
            "/queues" => Self::Queues(fields),
            "/workers" => Self::Workers,
            "/schedules" => Self::Schedules(fields),
            "/callbacks" => Self::Callbacks(fields),
            #[cfg(feature = "triggers")]
            "/triggers" => Self::Triggers(fields),
            path => {
                let (section, name) = path.strip_prefix('/')?.split_once('/')?;
                let name = percent_decode_str(name).decode_utf8().ok()?.into_owned();
                match section {
                    "batches" => Self::Batch(name, fields),
                    "jobs" => Self::Job(name),
                    "queues" => Self::Queue(name),
                    "schedules" => Self::Schedule(name),
                    #[cfg(feature = "triggers")]
                    "triggers" => Self::Trigger(name),
                    _ => return None,
                }
            }
        })
    }

    async fn parts(&self, state: &AppState, visitor: &Visitor) -> Result<Markup, Trouble> {
        match self {
            Self::Overview(fields) => overview::parts(state, visitor, fields).await,
            Self::Jobs(fields) => jobs::parts(state, visitor, fields).await,
            Self::Job(id) => job::parts(state, visitor, id).await,
            Self::Batches(fields) => batches::list_parts(state, visitor, fields).await,
            Self::Batch(id, fields) => batches::parts(state, visitor, id, fields).await,
            Self::Queues(fields) => queues::parts(state, visitor, fields).await,
            Self::Queue(name) => queues::one_parts(state, visitor, name).await,
            Self::Schedule(name) => schedule::parts(state, visitor, name).await,
            Self::Callbacks(fields) => callbacks::parts(state, visitor, fields).await,
            #[cfg(feature = "triggers")]
            Self::Triggers(fields) => triggers::parts(state, visitor, fields).await,
            #[cfg(feature = "triggers")]
            Self::Trigger(name) => triggers::one_parts(state, visitor, name).await,
            Self::Workers => workers::parts(state, visitor).await,
            Self::Schedules(fields) => schedules::parts(state, visitor, fields).await,
        }
    }
}

async fn live(
    State(state): State<AppState>,
    visitor: Visitor,
    arrived: Option<axum::Extension<Arrived>>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Answer {
    let query = Fields::parse(uri.query().unwrap_or_default());
    let path = query.get("of").unwrap_or_default();
    let watched = Watched::parse(path).filter(|_| path.len() <= PATH_BYTES_MAX);
    let watched = watched.ok_or_else(|| Trouble::invalid("the parameter of names no page that refreshes"))?;
    // Once here, so that what is wrong is answered as what it is.
    watched.parts(&state, &visitor).await?;
    let by_tls = arrived.is_some_and(|arrived| arrived.by_tls);
    let secret = visitor::cookie(&headers, by_tls).map(str::to_owned);
    let came = visitor.clone();
    // When the visitor's page was made.
    let made_at = query.get("at").and_then(|at| at.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH);
    let parts = subscribe(&state, &visitor, watched, path)?;
    let (key, hole) = (visitor.key.clone(), state.pages.hole());
    let now = state.backroom.clock().now();
    let first = Event::default().event("now").data(now.to_string());
    let (stopping, clock) = (state.stopping.clone(), Arc::clone(state.backroom.clock()));
    let most = state.settings.now().limits.stream_time;
    let events = stream::unfold(Some(parts), move |parts| {
        let (key, hole, state) = (key.clone(), hole.clone(), state.clone());
        let (came, secret) = (came.clone(), secret.clone());
        async move {
            let mut parts = parts?;
            loop {
                if parts.changed().await.is_err() || !may_still(&state, &came, secret.as_deref()).await {
                    return Some((Event::default().event("end").data("end"), None));
                }
                let made = parts.borrow_and_update().clone();
                // What is older than the page must not replace what it shows.
                if made.at >= made_at {
                    let html = made.html.replace(&hole, &key).replace('\r', " ");
                    return Some((Event::default().event("part").data(html), Some(parts)));
                }
            }
        }
    });
    let over = async move {
        tokio::select! {
            () = stopping.cancelled() => {}
            () = clock.sleep(most) => {}
        }
    };
    let events = stream::once(async { first }).chain(events).take_until(over).map(Ok::<_, Infallible>);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)).into_response())
}

/// A session may end while its page is open, and the settings may give a user of a proxy another role. Then the stream ends, and the script
/// asks again with what the visitor may do now.
async fn may_still(state: &AppState, came: &Visitor, secret: Option<&str>) -> bool {
    match &came.caller.identity {
        Identity::User(user) => proxied::is_still(&state.settings.now().proxy, user, &came.key),
        Identity::Token(_) => match secret {
            Some(secret) => state.access.session(secret).await.is_ok(),
            None => false,
        },
        Identity::Local => state.access.anonymous().await.is_ok(),
    }
}

/// Watches a page, with others that may see the same of it.
fn subscribe(
    state: &AppState,
    visitor: &Visitor,
    watched: Watched,
    path: &str,
) -> Result<watch::Receiver<Made>, Trouble> {
    let id = format!("{}\n{path}", visitor.caller.permissions());
    let mut pages = state.pages.hub.watched();
    if let Some(page) = pages.get(&id) {
        page.send_if_modified(|made| {
            made.wanted_at = Some(state.backroom.clock().now());
            false
        });
        return Ok(page.subscribe());
    }
    if pages.len() >= WATCHED_MAX {
        let why =
            format!("{WATCHED_MAX} different pages refresh already; load this one again to see what is new");
        return Err(Problem::new(Code::Unavailable, why).into());
    }
    let nothing = Made { html: Arc::from(""), at: Timestamp::UNIX_EPOCH, wanted_at: Some(visitor.now) };
    let (page, parts) = watch::channel(nothing);
    pages.insert(id.clone(), page.clone());
    drop(pages);
    let for_all = Visitor { key: state.pages.hole(), is_live: true, ..visitor.clone() };
    tokio::spawn(refresh(state.clone(), for_all, watched, page, id));
    Ok(parts)
}

/// Makes a page again and again, as long as it is watched.
async fn refresh(
    state: AppState,
    mut visitor: Visitor,
    watched: Watched,
    page: watch::Sender<Made>,
    id: String,
) {
    let clock = Arc::clone(state.backroom.clock());
    loop {
        visitor.now = clock.now();
        // A store that is away for a while leaves the page as it was.
        if let Ok(parts) = watched.parts(&state, &visitor).await {
            let html: Arc<str> = parts.into_string().into();
            page.send_if_modified(|made| {
                let is_news = made.html != html || made.wanted_at.is_some();
                // Parts that were begun before may be too old for the visitor: the next ones are sent, too.
                let wanted_at = made.wanted_at.filter(|wanted_at| visitor.now < *wanted_at);
                *made = Made { html, at: visitor.now, wanted_at };
                is_news
            });
        }
        tokio::select! {
            () = clock.sleep(EVERY) => {}
            () = state.stopping.cancelled() => return,
        }
        let mut pages = state.pages.hub.watched();
        if page.receiver_count() == 0 {
            pages.remove(&id);
            return;
        }
    }
}

impl shared::Shared {
    /// Stands in place of the key of forms where a page is made for several visitors.
    pub(super) fn hole(&self) -> String {
        shared::form_key(self.local_key().as_bytes())
    }
}
