//! What a stop does to requests that have begun.

use axum::{extract::State, routing::get};
use tokio::sync::Notify;

use super::*;

#[tokio::test]
async fn a_request_that_has_begun_is_answered_while_the_server_stops() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begin, wait) = (Arc::clone(&begun), Arc::clone(&go_on));
    let slow = get(async move || {
        begin.notify_one();
        wait.notified().await;
        "done"
    });
    let server = Serving::start(Router::new().route("/slow", slow), |_| {}).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    begun.notified().await;
    let address = server.address;
    server.stop().await;
    assert!(TcpStream::connect(address).await.is_err(), "the server accepts connections although it stops");
    go_on.notify_one();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("done"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_long_poll_can_end_when_the_server_stops() {
    let begun = Arc::new(Notify::new());
    let begin = Arc::clone(&begun);
    let poll = get(async move |State(state): State<AppState>| {
        begin.notify_one();
        state.stopping.cancelled().await;
        "nothing yet"
    });
    let server = Serving::start(Router::new().route("/poll", poll), |_| {}).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /poll HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    begun.notified().await;
    server.stop().await;
    assert!(rest(&mut stream).await.ends_with("nothing yet"));
}
