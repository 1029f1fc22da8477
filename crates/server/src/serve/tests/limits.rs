//! Requests that are too large, too slow or broken off.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{
    body::{Body, Bytes},
    routing::{get, post},
};
use tokio::sync::mpsc;

use super::*;
use crate::{
    api::{around::Arrival, body::JsonBytes, problem::Problem},
    config::{Bytes as Size, ServerSettings},
};

/// Requests whose body a route has read whole.
type Read = Arc<AtomicUsize>;

/// A route that reads JSON, one that panics, and one that never answers.
fn routes(read: &Read) -> Router<AppState> {
    let read = Arc::clone(read);
    let echo = post(async move |body: JsonBytes| {
        let value: serde_json::Value = body.read()?;
        read.fetch_add(1, Ordering::Relaxed);
        Ok::<_, Problem>(value.to_string())
    });
    Router::new()
        .route("/echo", echo)
        .route("/panic", get(async || -> Result<(), Problem> { panic!("on purpose") }))
        .route("/never", get(std::future::pending::<()>))
}

async fn serving(set: impl FnOnce(&mut ServerSettings)) -> (Serving, Read) {
    let read = Read::default();
    (Serving::start(routes(&read), set).await, read)
}

fn post_head(more: &str) -> Vec<u8> {
    format!("POST /echo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n{more}\r\n").into()
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let (server, read) = serving(|settings| settings.limits.body_bytes = Size(10)).await;
    let announced = server.sent(&post_head("content-length: 11\r\n")).await;
    is_problem(&announced, 413, "body-too-large");
    let mut chunked = post_head("transfer-encoding: chunked\r\n");
    chunked.extend_from_slice(b"6\r\n\"aaaaa\r\n6\r\naaaaa\"\r\n0\r\n\r\n");
    is_problem(&server.sent(&chunked).await, 413, "body-too-large");
    let mut small = post_head("content-length: 10\r\n");
    small.extend_from_slice(b"\"12345678\"");
    assert!(server.sent(&small).await.ends_with("\"12345678\""));
    assert_eq!(read.load(Ordering::Relaxed), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_arrives_a_byte_at_a_time_is_refused_in_time() {
    let (server, read) = serving(|settings| settings.limits.body_time = Duration::from_millis(300)).await;
    let mut stream = server.connect().await;
    stream.write_all(&post_head("content-length: 1000\r\n")).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let dripping = tokio::spawn(async move {
        let mut ticks = Ticks::default();
        while to.write_all(b"1").await.is_ok() && ticks.next().await {}
    });
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, from.read_to_end(&mut answer)).await.unwrap();
    is_problem(&String::from_utf8_lossy(&answer), 408, "request-timeout");
    dripping.abort();
    assert_eq!(read.load(Ordering::Relaxed), 0);
    server.stop().await;
}

/// A pause between two bytes, by the clock of the library.
#[derive(Default)]
struct Ticks(backroom::clock::SystemClock);

impl Ticks {
    async fn next(&mut self) -> bool {
        use backroom::clock::Clock as _;
        self.0.sleep(Duration::from_millis(20)).await;
        true
    }
}

#[tokio::test]
async fn a_body_that_is_broken_off_reaches_no_route() {
    let (server, read) = serving(|_| {}).await;
    let mut stream = server.connect().await;
    stream.write_all(&post_head("content-length: 10\r\n")).await.unwrap();
    stream.write_all(b"\"1234").await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(read.load(Ordering::Relaxed), 0);
    server.stop().await;
}

#[tokio::test]
async fn a_body_of_another_type_or_that_is_no_json_is_refused() {
    let (server, read) = serving(|_| {}).await;
    let text = b"POST /echo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\n{}";
    is_problem(&server.sent(text).await, 415, "unsupported-media-type");
    let mut broken = post_head("content-length: 1\r\n");
    broken.push(b'{');
    is_problem(&server.sent(&broken).await, 400, "malformed");
    assert_eq!(read.load(Ordering::Relaxed), 0);
    server.stop().await;
}

#[tokio::test]
async fn a_header_that_does_not_arrive_in_time_ends_the_connection() {
    let (server, _) = serving(|settings| settings.limits.header_time = Duration::from_millis(200)).await;
    for begin in ["", "G", "PRI * HTTP/2.0\r\n", "GET /echo HTTP/1.1\r\nhost: loc"] {
        assert_eq!(server.sent(begin.as_bytes()).await, "", "{begin:?}");
    }
    // Also a connection that has had an answer and then does nothing.
    let answer = server.sent(b"GET /none HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    is_problem(&answer, 404, "no-such-route");
    server.stop().await;
}

#[tokio::test]
async fn a_header_that_is_too_large_is_refused() {
    let (server, _) = serving(|settings| settings.limits.header_bytes = Size(8192)).await;
    let with = |bytes: usize| {
        format!(
            "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-long: {}\r\n\r\n",
            "a".repeat(bytes)
        )
    };
    is_problem(&server.sent(with(9000).as_bytes()).await, 431, "headers-too-large");
    // So large that the server reads no more: the protocol answers.
    assert!(server.sent(with(100_000).as_bytes()).await.starts_with("HTTP/1.1 431 "));
    let many: String = (0..200).map(|number| format!("x-{number}: a\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{many}\r\n");
    assert!(server.sent(many.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    server.stop().await;
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_one_to_end() {
    let (server, _) = serving(|settings| settings.limits.connections = 1).await;
    let first = server.connect().await;
    let mut second = server.connect().await;
    second.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(200), second.read(&mut byte)).await;
    assert!(early.is_err(), "the second connection was served beside the first");
    drop(first);
    is_problem(&rest(&mut second).await.to_string(), 404, "no-such-route");
    server.stop().await;
}

#[tokio::test]
async fn a_panic_is_a_problem_and_the_server_goes_on() {
    let (server, _) = serving(|_| {}).await;
    let ask = b"GET /panic HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    for _ in 0..2 {
        let answer = server.sent(ask).await;
        is_problem(&answer, 500, "internal");
        assert!(!answer.contains("on purpose"), "the text of a panic is for the log: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_route_that_takes_too_long_is_given_up() {
    let (server, _) = serving(|settings| {
        settings.limits.body_time = Duration::from_millis(100);
        settings.limits.request_time = Duration::from_millis(100);
    })
    .await;
    let answer = server.sent(b"GET /never HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    is_problem(&answer, 503, "unavailable");
    assert!(answer.contains("retry-after: 1"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut() {
    let (gone, mut dropped) = mpsc::channel::<()>(1);
    let endless = get(async move || {
        let gone = gone.clone();
        let pieces = futures_util::stream::repeat_with(move || {
            let _alive = &gone;
            Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 65536]))
        });
        Body::from_stream(pieces)
    });
    let routes = Router::new().route("/endless", endless);
    let server =
        Serving::start(routes, |settings| settings.limits.write_time = Duration::from_millis(200)).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    // We read nothing. Stopping drops the route, so that only the answer itself still holds the sender.
    server.stop().await;
    let ended = tokio::time::timeout(PATIENCE, dropped.recv()).await;
    assert_eq!(ended, Ok(None), "the answer is still being written to a client that reads nothing");
}

#[tokio::test]
async fn a_route_can_read_a_body_of_any_length_piece_by_piece() {
    let stream = post(async |arrival: axum::Extension<Arrival>, body: Body| {
        arrival.is_stream();
        let read = axum::body::to_bytes(body, usize::MAX).await.map(|bytes| bytes.len());
        read.map_or_else(|error| error.to_string(), |bytes| bytes.to_string())
    });
    let routes = Router::new().route("/stream", stream);
    let server = Serving::start(routes, |settings| settings.limits.body_bytes = Size(10)).await;
    let head =
        "POST /stream HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 1000\r\n\r\n";
    let answer = server.sent(format!("{head}{}", "a".repeat(1000)).as_bytes()).await;
    assert!(answer.ends_with("\r\n\r\n1000"), "{answer}");
    server.stop().await;
}
