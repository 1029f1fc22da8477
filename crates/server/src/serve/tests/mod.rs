//! The frame with routes of its own, over real sockets: what clients that misbehave get.

mod limits;
mod protocols;
mod stopping;
mod tls;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use backroom::Backroom;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{AppState, connections::Connections};
use crate::{api, config};

/// Longest time that a test waits for a server that works.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server in this process, on a free port.
struct Serving {
    address: SocketAddr,
    state: AppState,
    accepting: JoinHandle<()>,
}

impl Serving {
    /// Serves these routes within the frame.
    async fn start(routes: Router<AppState>, set: impl FnOnce(&mut config::ServerSettings)) -> Self {
        let mut settings = config::defaults();
        set(&mut settings);
        let backroom = Backroom::open("memory:").await.expect("a store");
        let tls = super::tls::acceptor(&settings.tls).expect("a certificate");
        let state = AppState::new(
            backroom,
            settings.into(),
            tls,
            Arc::new(crate::metrics::Metrics::new(10, Default::default())),
            true,
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let connections = Connections::new(api::within_frame(routes, state.clone()), state.clone());
        let accepting = tokio::spawn(async move { connections.accept(listener).await });
        Self { address, state, accepting }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    /// Sends bytes and reads all that comes until the server closes the connection.
    async fn sent(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // The server may close while we write.
        let _ = stream.write_all(bytes).await;
        rest(&mut stream).await
    }

    async fn stop(self) {
        self.state.stopping.cancel();
        self.accepting.await.expect("it stops");
    }
}

/// All that comes until the server closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is cut ends with an error: what came before counts.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The answer is a problem document with this status and code.
#[track_caller]
fn is_problem(answer: &str, status: u16, code: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(answer.contains("content-type: application/problem+json"), "{answer}");
    assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{answer}");
}
