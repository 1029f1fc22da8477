//! The dashboard: pages for people, at `/`.
//!
//! One small file per page. A page asks the library and the [`views`](crate::views), and is made of the pieces in [`kit`]. Every act
//! is a form: a page works without scripts, and the script only refreshes what is shown. [`Visitor`] says who looks and what they may do; [`Posted`] is
//! a form that this visitor was given by us.

mod acts;
mod assets;
mod attention;
mod audit;
mod batches;
mod bulk;
mod callbacks;
mod charts;
mod counted;
mod enqueue;
mod fields;
mod frame;
mod job;
mod jobs;
mod journal;
mod kit;
mod live;
mod login;
mod overview;
mod picture;
mod posted;
mod proxied;
mod queues;
mod replies;
mod reveal;
mod schedule;
mod schedules;
mod selection;
mod settings;
mod shared;
mod tokens;
#[cfg(feature = "triggers")]
mod triggers;
mod trouble;
mod visitor;
mod workers;

use axum::Router;

use self::{
    fields::Fields,
    frame::{Page, Section},
    posted::Posted,
    trouble::Trouble,
    visitor::Visitor,
};
pub(crate) use self::{
    shared::Shared,
    trouble::{is_page, no_such_path},
};
use crate::serve::AppState;

/// Every page, and what they load.
pub(crate) fn routes() -> Router<AppState> {
    let router = Router::new()
        .merge(assets::routes())
        .merge(login::routes())
        .merge(live::routes())
        .merge(overview::routes())
        .merge(jobs::routes())
        .merge(bulk::routes())
        .merge(enqueue::routes())
        .merge(job::routes())
        .merge(acts::routes())
        .merge(journal::routes())
        .merge(reveal::routes())
        .merge(batches::routes())
        .merge(queues::routes())
        .merge(workers::routes())
        .merge(schedules::routes())
        .merge(schedule::routes())
        .merge(replies::routes())
        .merge(callbacks::routes())
        .merge(tokens::routes())
        .merge(audit::routes())
        .merge(settings::routes());
    #[cfg(feature = "triggers")]
    let router = router.merge(triggers::routes());
    router
}

/// What a page's handler answers.
type Answer = Result<axum::response::Response, Trouble>;
