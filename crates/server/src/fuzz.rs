//! What the server must do with any request and any settings file: further targets of `cargo xtask fuzz`.
//!
//! Each target takes bytes, and panics if a rule is broken. `tests/fuzz_corpus.rs` runs all of them over the seed corpora in `fuzz/corpus`.

mod hook;

use std::{cell::RefCell, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, Response, StatusCode, Uri, header},
};
use backroom::{Backroom, testing::fuzz::Target};
use futures_util::StreamExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::{
    api, config,
    faktory::Faktory,
    metrics::Metrics,
    serve::{AppState, Arrived},
};

/// Every target of this crate.
pub const TARGETS: &[Target] =
    &[("faktory", faktory), ("hook", hook), ("request", request), ("settings", settings)];

/// Requests that one store gets before the next is made, so that its jobs stay few.
const REQUESTS_MAX: u32 = 200;
/// An event stream of a live job has no end. So much of it is read.
const STREAM_TIME: Duration = Duration::from_millis(2);
/// Most pieces of an answer that are read.
const PIECES_MAX: usize = 1000;

/// A server without sockets, over a store in memory.
struct Serving {
    runtime: tokio::runtime::Runtime,
    router: Router,
    faktory: Arc<Faktory>,
    requests: u32,
}

thread_local! {
    static SERVING: RefCell<Option<Serving>> = const { RefCell::new(None) };
}

impl Serving {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let mut settings = config::defaults();
        // Nothing is to wait.
        settings.limits.wait_time = Duration::ZERO;
        settings.limits.body_bytes = config::Bytes(64 * 1024);
        settings.limits.batch_jobs = 50;
        settings.faktory.flush = true;
        let backroom = runtime.block_on(Backroom::open("memory:")).expect("a store");
        let state = AppState::new(
            backroom,
            settings.into(),
            None,
            Arc::new(Metrics::new(10, Default::default())),
            true,
        );
        let faktory = Arc::new(Faktory::new(state.clone()));
        Self { runtime, router: api::router(state), faktory, requests: 0 }
    }

    fn answer(&mut self, request: Request<Body>) {
        self.requests += 1;
        let router = self.router.clone();
        let shown = format!("{} {}", request.method(), request.uri());
        self.runtime.block_on(async move {
            let Ok(response) = router.oneshot(request).await;
            check(response, &shown).await;
        });
    }
}

/// What a Faktory client sends, from its greeting on.
pub fn faktory(bytes: &[u8]) {
    SERVING.with_borrow_mut(|serving| {
        serving.take_if(|serving| serving.requests >= REQUESTS_MAX);
        let serving = serving.get_or_insert_with(Serving::start);
        serving.requests += 1;
        serving.runtime.block_on(crate::faktory::fuzz::converse(&serving.faktory, bytes));
    });
}

/// A request to a hook, with its scheme, its secret and its mapping.
pub fn hook(bytes: &[u8]) {
    hook::hook(bytes);
}

/// A request: its first line is method and target, headers follow, and after an empty line the body. Every answer is one that the
/// document allows, never a failure of the server.
pub fn request(bytes: &[u8]) {
    let Some(request) = read(bytes) else { return };
    SERVING.with_borrow_mut(|serving| {
        serving.take_if(|serving| serving.requests >= REQUESTS_MAX);
        serving.get_or_insert_with(Serving::start).answer(request);
    });
}

fn read(bytes: &[u8]) -> Option<Request<Body>> {
    let end = bytes.windows(2).position(|two| two == b"\n\n");
    let (head, body) = match end {
        Some(end) => (&bytes[..end], &bytes[end + 2..]),
        None => (bytes, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = std::str::from_utf8(lines.next()?).ok()?;
    let (method, target) = first.split_once(' ')?;
    let target: Uri = target.parse().ok()?;
    let mut request =
        Request::builder().method(method).uri(target).extension(Arrived { by_tls: false, from: None });
    let mut has_host = false;
    for line in lines {
        let at = line.iter().position(|byte| *byte == b':')?;
        has_host |= line[..at].eq_ignore_ascii_case(b"host");
        request = request.header(&line[..at], line[at + 1..].trim_ascii());
    }
    if !has_host {
        request = request.header(header::HOST, "localhost");
    }
    // As HTTP would give it to the server.
    if !body.is_empty() {
        request = request.header(header::CONTENT_LENGTH, body.len());
    }
    request.body(Body::from(body.to_vec())).ok()
}

async fn check(response: Response<Body>, shown: &str) {
    let is_page = crate::pages::is_page(&response);
    let (parts, body) = response.into_parts();
    let kind =
        parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let mut pieces = body.into_data_stream().take(PIECES_MAX);
    let mut text = Vec::new();
    if kind.starts_with("text/event-stream") {
        let reading = async {
            while let Some(Ok(piece)) = pieces.next().await {
                text.extend_from_slice(&piece);
            }
        };
        let _ = tokio::time::timeout(STREAM_TIME, reading).await;
        return;
    }
    while let Some(piece) = pieces.next().await {
        text.extend_from_slice(&piece.expect("a body without an error"));
    }
    let written = String::from_utf8_lossy(&text);
    assert!(!parts.status.is_server_error(), "{shown}: {}: {written}", parts.status);
    if is_page {
        assert!(!written.contains("<script>"), "{shown}: a script stands in a page: {written}");
        return;
    }
    let is_error = parts.status.is_client_error();
    assert_eq!(is_error, kind == api::problem::MEDIA_TYPE, "{shown}: {}: {kind}: {written}", parts.status);
    if is_error {
        let problem: Value = serde_json::from_slice(&text).expect("a problem is JSON");
        assert_eq!(problem["status"], parts.status.as_u16(), "{shown}: {problem}");
        assert!(problem["code"].is_string() && problem["detail"].is_string(), "{shown}: {problem}");
    } else if kind == "application/json" {
        let _: &serde_json::value::RawValue = serde_json::from_slice(&text).expect("an answer is JSON");
    } else if kind == "application/x-ndjson" {
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Value = serde_json::from_slice(line).expect("each line of an answer is JSON");
            let is_internal = line["code"] == "internal";
            assert!(line["line"].is_u64() && !is_internal, "{shown}: {line}");
        }
    } else if parts.status == StatusCode::NO_CONTENT || parts.status == StatusCode::NOT_MODIFIED {
        assert!(text.is_empty(), "{shown}: {written}");
    }
}

/// The text of a settings file: read, or refused with the place of each mistake.
pub fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match config::load_text(text) {
        Ok(loaded) => {
            for key in config::KEYS {
                let _ = key.show(&loaded.settings);
            }
        }
        Err(wrong) => {
            assert!(!wrong.is_empty());
            for wrong in wrong {
                assert!(!wrong.place.is_empty() && !wrong.why.is_empty(), "{wrong}");
            }
        }
    }
}
