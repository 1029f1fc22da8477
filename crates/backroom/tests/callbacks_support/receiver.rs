//! A receiver of callbacks on a real socket, which answers as the test says.

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// What a receiver does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Answers with this text and closes.
    Text(String),
    /// Answers with this text, and then sends bytes for ever.
    Endless(String),
    /// Reads, and never answers.
    Hang,
    /// Closes without an answer.
    Close,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self::with(status, "", "")
    }

    /// Headers, each with its end of line, and a body.
    pub(crate) fn with(status: u16, headers: &str, body: &str) -> Self {
        Self::Text(format!(
            "HTTP/1.1 {status} Whatever\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn id(&self) -> String {
        self.headers["webhook-id"].clone()
    }
}

/// Listens until it is dropped.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    reply: Arc<Mutex<Reply>>,
    listening: tokio::task::JoinHandle<()>,
}

impl Receiver {
    pub(crate) async fn start(reply: Reply) -> Self {
        Self::start_at("127.0.0.1", reply, None).await
    }

    pub(crate) async fn start_at(ip: &str, reply: Reply, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (received, reply) = (Arc::<Mutex<Vec<Received>>>::default(), Arc::new(Mutex::new(reply)));
        let (log, script) = (Arc::clone(&received), Arc::clone(&reply));
        let listening = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (log, script, tls) = (Arc::clone(&log), Arc::clone(&script), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &log, &script).await,
                        // A client that refuses the certificate is part of a test.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &log, &script).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, received, reply, listening }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn answers(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub(crate) fn ids(&self) -> HashSet<String> {
        self.received().iter().map(Received::id).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    log: &Mutex<Vec<Received>>,
    script: &Mutex<Reply>,
) {
    let Some(received) = read(&mut stream).await else { return };
    log.lock().unwrap().push(received);
    let reply = script.lock().unwrap().clone();
    // A client that has hung up is part of a test.
    match reply {
        Reply::Text(text) => _ = stream.write_all(text.as_bytes()).await,
        Reply::Endless(text) => {
            let mut sent = stream.write_all(text.as_bytes()).await;
            while sent.is_ok() {
                sent = stream.write_all(&[b'x'; 100]).await;
                tokio::task::yield_now().await;
            }
        }
        Reply::Hang => std::future::pending::<()>().await,
        Reply::Close => {}
    }
    _ = stream.shutdown().await;
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Received> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let line = lines.next()?.to_owned();
    let headers: BTreeMap<String, String> = lines
        .map(|header| header.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers["content-length"].parse().unwrap();
    let mut body = bytes[end + 4..].to_vec();
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Received { line, headers, body })
}
