//! One request: the name is resolved once, every address is checked, and the connection goes to one of these addresses.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use backroom_core::http_url::{Host, HttpUrl};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};

use super::{CallbackOptions, address};
use crate::clock::Clock;

/// How much of an answer's body is read.
const ANSWER_BYTES_MAX: usize = 1024;
/// Most headers in an answer, and bytes of them.
const HEADERS_MAX: usize = 100;
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// What a receiver answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) reason: Option<&'static str>,
    pub(super) retry_after: Option<String>,
    /// The beginning of the body.
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The address is not allowed; waiting does not change that.
    Refused(String),
    /// The receiver was not reached, or did not answer in time.
    Failed(String),
}

/// Sends one request and reads the beginning of the answer.
pub(super) async fn send(
    clock: &dyn Clock,
    options: &CallbackOptions,
    tls: &Arc<ClientConfig>,
    url: &HttpUrl,
    headers: &[(&'static str, String)],
    body: Vec<u8>,
) -> Result<Answer, Unsent> {
    if options.https_only && !url.is_https {
        return Err(Unsent::Refused("the URL begins with http, and only https is allowed".into()));
    }
    if !options.ports.is_empty() && !options.ports.contains(&url.port) {
        return Err(Unsent::Refused(format!("callbacks to port {} are not allowed", url.port)));
    }
    let whole = async {
        let stream = tokio::select! {
            connected = connect(options, url) => connected?,
            () = clock.sleep(options.connect_timeout) => {
                return Err(Unsent::Failed(format!("no connection within {:?}", options.connect_timeout)));
            }
        };
        if !url.is_https {
            return exchange(clock, options, stream, url, headers, body).await;
        }
        let name = match &url.host {
            Host::Name(name) => ServerName::try_from(name.clone()),
            Host::Ip(address) => Ok(ServerName::from(*address)),
        };
        let name = name.map_err(|error| failed("name the receiver in TLS", error))?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
        let stream = stream.map_err(|error| failed("set up TLS with the receiver", error))?;
        exchange(clock, options, stream, url, headers, body).await
    };
    tokio::select! {
        answered = whole => answered,
        () = clock.sleep(options.timeout) => {
            Err(Unsent::Failed(format!("no answer within {:?}", options.timeout)))
        }
    }
}

/// Resolves the host and connects to the first of its addresses that accepts.
async fn connect(options: &CallbackOptions, url: &HttpUrl) -> Result<TcpStream, Unsent> {
    let addresses: Vec<IpAddr> = match &url.host {
        Host::Ip(address) => vec![*address],
        Host::Name(name) => {
            let found = tokio::net::lookup_host((name.as_str(), url.port)).await;
            let found = found.map_err(|error| failed(&format!("resolve {name}"), error))?;
            found.map(|address| address.ip()).collect()
        }
    };
    // Of a name with a public and a private address, neither is used.
    for address in &addresses {
        address::check(&url.host, *address, &options.allowed).map_err(Unsent::Refused)?;
    }
    let mut last = format!("{} has no address", url.host);
    for address in addresses {
        match TcpStream::connect(SocketAddr::new(address, url.port)).await {
            Ok(stream) => {
                // A request is one small write.
                _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = format!("failed to connect to {address} port {}: {error}", url.port),
        }
    }
    Err(Unsent::Failed(last))
}

/// Sends the request and reads the answer's head, and of the body at most its beginning.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    clock: &dyn Clock,
    options: &CallbackOptions,
    stream: S,
    url: &HttpUrl,
    headers: &[(&'static str, String)],
    body: Vec<u8>,
) -> Result<Answer, Unsent> {
    let mut http = http1::Builder::new();
    http.max_headers(HEADERS_MAX).max_buf_size(HEADER_BYTES_MAX);
    let (mut sender, connection) =
        http.handshake(TokioIo::new(stream)).await.map_err(|error| failed("begin the request", error))?;
    let mut request = Request::post(&url.path_and_query).header(header::HOST, url.authority());
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let request = request.body(Full::new(Bytes::from(body)));
    let request = request.map_err(|error| Unsent::Refused(format!("the request is refused: {error}")))?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|error| failed("send the request", error))?;
        let status = answer.status();
        let retry_after = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        let mut body = Vec::new();
        if !status.is_success() {
            // A body that never ends is cut off.
            tokio::select! {
                () = read_beginning(answer.into_body(), &mut body) => {}
                () = clock.sleep(options.connect_timeout) => {}
            }
        }
        Ok(Answer { status: status.as_u16(), reason: status.canonical_reason(), retry_after, body })
    };
    // The connection is driven here and dropped with the request: nothing goes on in the background.
    tokio::pin!(connection, exchange);
    let mut is_open = true;
    loop {
        tokio::select! {
            biased;
            answered = &mut exchange => return answered,
            // Its error is that of the request as well.
            _ = &mut connection, if is_open => is_open = false,
        }
    }
}

async fn read_beginning(mut incoming: hyper::body::Incoming, body: &mut Vec<u8>) {
    // What comes before an error is shown.
    while let Some(Ok(frame)) = incoming.frame().await {
        let Ok(bytes) = frame.into_data() else { continue };
        let wanted = ANSWER_BYTES_MAX.saturating_sub(body.len()).min(bytes.len());
        body.extend_from_slice(&bytes[..wanted]);
        if body.len() >= ANSWER_BYTES_MAX {
            return;
        }
    }
}

fn failed(what: &str, error: impl std::error::Error) -> Unsent {
    let causes = std::iter::successors(error.source(), |&cause| cause.source()).take(8);
    let causes: String = causes.map(|cause| format!(": {cause}")).collect();
    Unsent::Failed(format!("failed to {what}: {error}{causes}"))
}
