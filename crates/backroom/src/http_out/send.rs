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

use super::{Way, address};
use crate::clock::Clock;

/// How much of the body of an answer is read that is no success.
const ANSWER_BYTES_MAX: usize = 1024;
/// Most headers in an answer, and bytes of them.
const HEADERS_MAX: usize = 100;
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// What a receiver answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: Option<&'static str>,
    pub(crate) retry_after: Option<String>,
    pub(crate) content_type: Option<String>,
    /// The beginning of the body; of a success as much as was asked for and one byte more, so that a larger one shows.
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// The address is not allowed; waiting does not change that.
    Refused(String),
    /// The receiver was not reached, or did not answer in time.
    Failed(String),
}

/// Sends one request and reads the beginning of the answer.
pub(crate) async fn send(
    clock: &dyn Clock,
    way: &Way,
    tls: &Arc<ClientConfig>,
    url: &HttpUrl,
    headers: &[(&'static str, String)],
    body: Vec<u8>,
) -> Result<Answer, Unsent> {
    if way.https_only && !url.is_https {
        return Err(Unsent::Refused("the URL begins with http, and only https is allowed".into()));
    }
    if !way.ports.is_empty() && !way.ports.contains(&url.port) {
        return Err(Unsent::Refused(format!("requests to port {} are not allowed", url.port)));
    }
    let whole = async {
        let stream = tokio::select! {
            connected = connect(way, url) => connected?,
            () = clock.sleep(way.connect_timeout) => {
                return Err(Unsent::Failed(format!("no connection within {:?}", way.connect_timeout)));
            }
        };
        if !url.is_https {
            return exchange(clock, way, stream, url, headers, body).await;
        }
        let name = match &url.host {
            Host::Name(name) => ServerName::try_from(name.clone()),
            Host::Ip(address) => Ok(ServerName::from(*address)),
        };
        let name = name.map_err(|error| failed("name the receiver in TLS", error))?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
        let stream = stream.map_err(|error| failed("set up TLS with the receiver", error))?;
        exchange(clock, way, stream, url, headers, body).await
    };
    tokio::select! {
        answered = whole => answered,
        () = clock.sleep(way.timeout) => {
            Err(Unsent::Failed(format!("no answer within {:?}", way.timeout)))
        }
    }
}

/// Resolves the host and connects to the first of its addresses that accepts.
async fn connect(way: &Way, url: &HttpUrl) -> Result<TcpStream, Unsent> {
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
        address::check(&url.host, *address, &way.allowed).map_err(Unsent::Refused)?;
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

/// Sends the request and reads the answer: its head, and of the body as much as is wanted.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    clock: &dyn Clock,
    way: &Way,
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
        let content_type = answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.map(str::to_owned);
        let mut body = Vec::new();
        match way.success_bytes_max {
            Some(most) if status.is_success() => {
                // Its end is part of the answer, so the time of the whole request limits it.
                let read = read_beginning(answer.into_body(), most.saturating_add(1), &mut body).await;
                read.map_err(|error| failed("read the answer", error))?;
            }
            None if status.is_success() => {}
            Some(_) | None => {
                // A body that never ends is cut off. What comes before an error is shown.
                tokio::select! {
                    _ = read_beginning(answer.into_body(), ANSWER_BYTES_MAX, &mut body) => {}
                    () = clock.sleep(way.connect_timeout) => {}
                }
            }
        }
        let (status, reason) = (status.as_u16(), status.canonical_reason());
        Ok(Answer { status, reason, retry_after, content_type, body })
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

/// Reads at most so many bytes of a body.
async fn read_beginning(
    mut incoming: hyper::body::Incoming,
    most: usize,
    body: &mut Vec<u8>,
) -> Result<(), hyper::Error> {
    while let Some(frame) = incoming.frame().await {
        let Ok(bytes) = frame?.into_data() else { continue };
        let wanted = most.saturating_sub(body.len()).min(bytes.len());
        body.extend_from_slice(&bytes[..wanted]);
        if body.len() >= most {
            return Ok(());
        }
    }
    Ok(())
}

/// What people read of an answer: its status and the beginning of its body, with nothing in it that could move a cursor.
pub(crate) fn described(who: &str, status: u16, reason: Option<&str>, body: &[u8]) -> String {
    let reason = reason.map(|reason| format!(" {reason}")).unwrap_or_default();
    let body = String::from_utf8_lossy(&body[..body.len().min(ANSWER_BYTES_MAX)]);
    let body = body.trim();
    let said = if body.is_empty() { String::new() } else { format!(": {}", body.escape_debug()) };
    format!("{who} answered {status}{reason}{said}")
}

fn failed(what: &str, error: impl std::error::Error) -> Unsent {
    let causes = std::iter::successors(error.source(), |&cause| cause.source()).take(8);
    let causes: String = causes.map(|cause| format!(": {cause}")).collect();
    Unsent::Failed(format!("failed to {what}: {error}{causes}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_shown_on_one_line_without_control_characters() {
        let shown = described("the receiver", 500, Some("Internal Server Error"), b" no\n\x1b[2Jdisk\xff ");
        assert_eq!(shown, "the receiver answered 500 Internal Server Error: no\\n\\u{1b}[2Jdisk\u{fffd}");
        assert_eq!(described("the receiver", 404, None, b" \n"), "the receiver answered 404");
    }
}
