//! One connection, from its first byte to its end.

use std::{convert::Infallible, net::IpAddr, sync::Arc};

use axum::{Router, body::Body, extract::Request};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{
    AppState,
    activity::{ActiveBody, Activity},
    patient::Patient,
};
use crate::config::{Limits, ServerSettings};

/// How a request came in: an extension of the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrived {
    /// Whether over TLS.
    pub(crate) by_tls: bool,
    /// The other end of the connection; none if it had gone already.
    pub(crate) from: Option<IpAddr>,
}

/// Serves one connection until it ends, or is cut.
pub(super) async fn serve(stream: TcpStream, router: Router, state: AppState, cut: CancellationToken) {
    // Small answers go out at once.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the delay of small packets stays on for a connection");
    }
    let from = stream.peer_addr().ok().map(|from| from.ip().to_canonical());
    let settings = state.settings.now();
    let clock = Arc::clone(state.backroom.clock());
    // On the heap, so that a plain connection has not the size of an encrypted one.
    if let Some(acceptor) = state.tls.now() {
        let stream = Patient::new(stream, clock, settings.limits.write_time);
        let arrived = Arrived { by_tls: true, from };
        return Box::pin(encrypted(stream, acceptor, router, &state, &settings, cut, arrived)).await;
    }
    let mut first = [0; 4];
    let is_http1 = tokio::select! {
        peeked = stream.peek(&mut first) => match peeked {
            Ok(0) | Err(_) => return,
            Ok(length) => is_http1(&first[..length]),
        },
        () = clock.sleep(settings.limits.header_time) => return,
        () = state.stopping.cancelled() => return,
        () = cut.cancelled() => return,
    };
    let stream = Patient::new(stream, clock, settings.limits.write_time);
    let arrived = Arrived { by_tls: false, from };
    Box::pin(answer(stream, is_http1, router, &state, &settings, cut, arrived)).await;
}

/// Whether a connection speaks HTTP/1, by its first four bytes. HTTP/2 begins with `PRI `. Where this is known before the first byte is
/// read, the buffer that the request is read into has half the size. If not, the first bytes that are read show it.
fn is_http1(first: &[u8]) -> bool {
    first.len() == 4 && first != b"PRI "
}

/// Agrees on TLS, and answers the requests.
async fn encrypted(
    stream: Patient<TcpStream>,
    acceptor: TlsAcceptor,
    router: Router,
    state: &AppState,
    settings: &ServerSettings,
    cut: CancellationToken,
    arrived: Arrived,
) {
    let agreed = tokio::select! {
        agreed = acceptor.accept(stream) => agreed,
        () = state.backroom.clock().sleep(settings.limits.header_time) => return,
        () = state.stopping.cancelled() => return,
    };
    match agreed {
        Ok(stream) => {
            let is_http1 = stream.get_ref().1.alpn_protocol() == Some(b"http/1.1");
            answer(stream, is_http1, router, state, settings, cut, arrived).await;
        }
        Err(error) => tracing::debug!(%error, "a connection did not become a TLS one"),
    }
}

/// Answers the requests of one connection.
async fn answer<T>(
    stream: T,
    is_http1: bool,
    router: Router,
    state: &AppState,
    settings: &ServerSettings,
    cut: CancellationToken,
    arrived: Arrived,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::new(Activity::default());
    let service = service_fn(|mut request: Request<Incoming>| {
        let (router, active) = (router.clone(), activity.begin());
        request.extensions_mut().insert(arrived);
        async move {
            let Ok(response) = router.oneshot(request).await;
            Ok::<_, Infallible>(response.map(|body: Body| ActiveBody { body, _active: active }))
        }
    });
    let builder = builder(&settings.limits, is_http1);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let clock = state.backroom.clock();
    let mut is_stopping = false;
    let idle = activity.idle_for(&**clock, settings.limits.header_time);
    tokio::pin!(idle);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended with an error");
                }
                return;
            }
            () = state.stopping.cancelled(), if !is_stopping => {
                is_stopping = true;
                if activity.is_unused() {
                    // It has sent no request; hyper would go on waiting for the first bytes.
                    return;
                }
                connection.as_mut().graceful_shutdown();
            }
            () = &mut idle => return,
            () = cut.cancelled() => return,
        }
    }
}

/// The least that hyper takes.
const BUF_BYTES_MIN: usize = 8192;

/// The limits of the protocols. A header beyond our limit gets a problem document; one beyond twice of it gets the bare status of
/// the protocol, because the server reads no more.
fn builder(limits: &Limits, is_http1: bool) -> auto::Builder<TokioExecutor> {
    let header_bytes = limits.header_bytes.as_usize().saturating_mul(2).max(BUF_BYTES_MIN);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(header_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(u32::try_from(limits.streams).unwrap_or(u32::MAX))
        .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(limits.header_time)
        .keep_alive_timeout(limits.header_time);
    if is_http1 { builder.http1_only() } else { builder }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_known_by_the_first_four_bytes() {
        assert!([b"GET ", b"POST", b"PRIV"].iter().all(|first| is_http1(*first)));
        assert!([&b"P"[..], b"PRI", b"PRI ", b""].iter().all(|first| !is_http1(first)));
    }
}
