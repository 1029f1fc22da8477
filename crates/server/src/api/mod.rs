//! The HTTP API: one file per noun, each with its routes.
//!
//! [`router`] joins them; [`around`] does for every request what no route should repeat. Errors are [`problem`]s with a code of
//! the table in [`codes`]. A route decides nothing about jobs: it asks the library.

pub(crate) mod act;
pub(crate) mod around;
mod batches;
pub(crate) mod body;
pub(crate) mod caller;
pub(crate) mod codes;
mod config;
mod endpoints;
pub(crate) mod extract;
mod forget;
mod graphs;
mod health;
#[cfg(feature = "triggers")]
mod hooks;
pub(crate) mod jobs;
mod leases;
#[cfg(feature = "triggers")]
pub(crate) mod letters;
mod once;
pub(crate) mod problem;
mod queues;
mod read;
mod replies;
mod scaling;
pub(crate) mod schedules;
mod tokens;
#[cfg(feature = "triggers")]
mod triggers;
mod workers;

use axum::{Extension, Router};
use utoipa::{
    OpenApi as _,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::router::OpenApiRouter;

use crate::serve::AppState;

/// What the document says about the API as a whole.
#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "Backroom",
    description = "Background jobs over HTTP. Every error is a problem document (RFC 9457) with a stable `code`."
), modifiers(&Bearer), security(("token" = [])))]
struct ApiDoc;

/// How a caller shows who it is.
struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("brm_…")
            .description(Some("A token from `backroom tokens create`. A server without tokens answers local programs without one."))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// Every route of the API, with its part of the document.
fn routes() -> OpenApiRouter<AppState> {
    let mut document = ApiDoc::openapi();
    problem::add_to(&mut document);
    OpenApiRouter::with_openapi(document)
        .merge(health::routes())
        .merge(jobs::routes())
        .merge(graphs::routes())
        .merge(batches::routes())
        .merge(queues::routes())
        .merge(workers::routes())
        .merge(scaling::routes())
        .merge(schedules::routes())
        .merge(leases::routes())
        .merge(replies::routes())
        .merge(endpoints::routes())
        .merge(config::routes())
        .merge(tokens::routes())
        .merge(forget::routes())
        .merge(of_triggers())
        .merge(read::routes())
}

/// The routes of triggers and hooks, if this program was built with them.
fn of_triggers() -> OpenApiRouter<AppState> {
    #[cfg(feature = "triggers")]
    return OpenApiRouter::new().merge(triggers::routes()).merge(hooks::routes());
    #[cfg(not(feature = "triggers"))]
    OpenApiRouter::new()
}

/// The service that answers every request.
pub(crate) fn router(state: AppState) -> Router {
    let (router, mut document) = routes().split_for_parts();
    name_operations(&mut document);
    let router = router.merge(crate::pages::routes());
    within_frame(router.layer(Extension(read::Document::new(&document))), state)
}

/// Routes with everything around them.
pub(crate) fn within_frame(router: Router<AppState>, state: AppState) -> Router {
    around::layers(router, state.clone()).with_state(state)
}

/// Gives each operation an id of its own, from its method and path: names of functions repeat from noun to noun.
fn name_operations(document: &mut utoipa::openapi::OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let words: Vec<_> =
            path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let name = words.join("_");
        let operations = [
            ("get", &mut item.get),
            ("put", &mut item.put),
            ("post", &mut item.post),
            ("patch", &mut item.patch),
            ("delete", &mut item.delete),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                operation.operation_id = Some(format!("{method}_{name}"));
            }
        }
    }
}
