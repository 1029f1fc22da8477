//! The style and the script of the pages, embedded in the program.
//!
//! Their paths have a hash of their text in them, so that a browser may retain them for ever and still gets those of a new version.

use std::sync::LazyLock;

use axum::{
    Router,
    body::Body,
    extract::Path,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use sha2::{Digest as _, Sha256};

use crate::serve::AppState;

/// One file.
struct Asset {
    text: &'static str,
    media_type: &'static str,
    path: String,
}

impl Asset {
    fn new(stem: &str, ending: &str, media_type: &'static str, text: &'static str) -> Self {
        let hash = Sha256::digest(text.as_bytes());
        let short = hash.iter().take(6).fold(String::new(), |short, byte| short + &format!("{byte:02x}"));
        Self { text, media_type, path: format!("/assets/{stem}-{short}.{ending}") }
    }
}

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css; charset=utf-8", include_str!("style.css")));
static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("live", "js", "text/javascript; charset=utf-8", include_str!("live.js")));
static ICON: &str = include_str!("icon.svg");

/// Where the style is.
pub(super) fn style_path() -> &'static str {
    &STYLE.path
}

/// Where the script is.
pub(super) fn script_path() -> &'static str {
    &SCRIPT.path
}

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/assets/{file}", get(file))
}

async fn file(Path(file): Path<String>) -> Response {
    let path = format!("/assets/{file}");
    let found = [&*STYLE, &*SCRIPT].into_iter().find(|asset| asset.path == path);
    let (text, media_type, cached) = match found {
        Some(asset) => (asset.text, asset.media_type, "public, max-age=31536000, immutable"),
        None if file == "icon.svg" => (ICON, "image/svg+xml", "public, max-age=3600"),
        None => return StatusCode::NOT_FOUND.into_response(),
    };
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cached));
    response
}
