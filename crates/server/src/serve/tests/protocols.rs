//! HTTP/2, TLS, names of hosts, and pages of other origins.

use axum::routing::get;
use hyper::{Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

fn routes() -> Router<AppState> {
    Router::new().route("/hello", get(async || "hello"))
}

#[tokio::test]
async fn http_2_is_spoken_without_tls_by_clients_that_know() {
    let server = Serving::start(routes(), |_| {}).await;
    let stream = TokioIo::new(server.connect().await);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let running = tokio::spawn(connection);
    let uri = format!("http://{}/hello", server.address);
    let request = Request::get(uri).body(axum::body::Body::empty()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, axum::http::Version::HTTP_2));
    // A stopping server ends the connection in order.
    drop(answer);
    server.stop().await;
    tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn an_idle_http_2_connection_is_ended() {
    let server =
        Serving::start(routes(), |settings| settings.limits.header_time = Duration::from_millis(200)).await;
    let stream = TokioIo::new(server.connect().await);
    let (_sender, connection) =
        http2::handshake::<_, _, axum::body::Body>(TokioExecutor::new(), stream).await.unwrap();
    let _ = tokio::time::timeout(PATIENCE, connection).await.expect("the server ends an idle connection");
    server.stop().await;
}

#[tokio::test]
async fn a_server_without_tokens_answers_only_for_local_names() {
    let server =
        Serving::start(routes(), |settings| settings.allowed_hosts = vec!["jobs.internal".into()]).await;
    let ask = |host: &str| format!("GET /hello HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    for host in ["localhost", "127.0.0.1:1234", "[::1]", "JOBS.internal:80"] {
        assert!(server.sent(ask(host).as_bytes()).await.starts_with("HTTP/1.1 200 "), "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "10.0.0.1"] {
        is_problem(&server.sent(ask(host).as_bytes()).await, 421, "misdirected");
    }
    let none = server.sent(b"GET /hello HTTP/1.0\r\n\r\n").await;
    assert!(none.contains(" 421 "), "{none}");
    server.stop().await;
}

#[tokio::test]
async fn every_answer_has_the_headers_that_protect_a_browser() {
    let server = Serving::start(routes(), |_| {}).await;
    for path in ["/hello", "/none"] {
        let ask = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\norigin: https://a.example\r\n\r\n"
        );
        let answer = server.sent(ask.as_bytes()).await;
        for header in [
            "x-content-type-options: nosniff",
            "content-security-policy: default-src 'none'; frame-ancestors 'none'",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
        ] {
            assert!(answer.contains(header), "{header}: {answer}");
        }
        assert!(!answer.contains("strict-transport-security"), "only TLS can promise TLS: {answer}");
        assert!(!answer.contains("access-control"), "no origin is named: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn pages_of_named_origins_may_call_and_no_others() {
    let server =
        Serving::start(routes(), |settings| settings.cors_origins = vec!["https://a.example".into()]).await;
    let ask = |method: &str, origin: &str| {
        format!(
            "{method} /hello HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\norigin: {origin}\r\naccess-control-request-method: POST\r\n\r\n"
        )
    };
    let named = server.sent(ask("OPTIONS", "https://a.example").as_bytes()).await;
    assert!(
        named.starts_with("HTTP/1.1 204 ")
            && named.contains("access-control-allow-origin: https://a.example"),
        "{named}"
    );
    assert!(named.contains("access-control-allow-headers: authorization"), "{named}");
    let other = server.sent(ask("OPTIONS", "https://b.example").as_bytes()).await;
    is_problem(&other, 405, "method-not-allowed");
    assert!(!other.contains("access-control") && other.contains("vary: origin"), "{other}");
    let call = server.sent(ask("GET", "https://a.example").as_bytes()).await;
    assert!(call.starts_with("HTTP/1.1 200 ") && call.contains("access-control-allow-origin"), "{call}");
    server.stop().await;
}
