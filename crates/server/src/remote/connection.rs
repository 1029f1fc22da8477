//! One connection to a server, by TCP or by TLS over it.

use std::{fmt, io, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

use super::Address;
use crate::terminal::Problem;

/// The bytes of a connection, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects, and agrees on TLS where the address asks for it.
pub(super) async fn stream(address: &Address) -> io::Result<Box<dyn Stream>> {
    let tcp = TcpStream::connect((&*address.host, address.port)).await?;
    tcp.set_nodelay(true)?;
    if !address.is_encrypted {
        return Ok(Box::new(tcp));
    }
    let name = ServerName::try_from(address.host.clone()).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(tls()?).connect(name, tcp).await?))
}

/// An open connection. It is closed when this is dropped.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Moves the bytes.
    driver: JoinHandle<()>,
}

impl Connection {
    pub(super) async fn open(address: &Address) -> io::Result<Self> {
        let stream = TokioIo::new(stream(address).await?);
        let (sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
        // Its error reaches the caller that waits for an answer.
        let driver = tokio::spawn(async move { _ = connection.await });
        Ok(Self { sender, driver })
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Problem> {
        let path = request.uri().path().to_owned();
        let failed = |error: hyper::Error| Problem::new(format_args!("ask for {path}"), &whole(&error));
        self.sender.ready().await.map_err(failed)?;
        self.sender.send_request(request).await.map_err(failed)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("is_open", &self.is_open()).finish()
    }
}

/// The error with its cause, which says what really happened.
pub(super) fn whole(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Trusts the authorities that this machine trusts.
fn tls() -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(|| "it lists none".to_owned(), ToString::to_string);
        return Err(io::Error::other(format!("this machine trusts no authority for certificates: {why}")));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
