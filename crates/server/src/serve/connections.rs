//! Accepts connections and serves each in a task of its own, within the limits.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::AppState;
use crate::config::Limits;

/// How long the server waits before it accepts again after the system refused, for example for lack of file descriptors.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// The connections that are open, and how to end them.
pub(super) struct Connections {
    router: Router,
    state: AppState,
    /// One permit per connection.
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    /// Cancelled when connections are to be cut.
    cut: CancellationToken,
}

impl Connections {
    pub(super) fn new(router: Router, state: AppState) -> Self {
        let most = usize::try_from(state.settings.now().limits.connections).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            router,
            state,
            permits: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            tasks: TaskTracker::new(),
            cut: CancellationToken::new(),
        }
    }

    /// Accepts from one listener until the server stops.
    pub(super) async fn accept(&self, listener: TcpListener) {
        loop {
            let accepted = async {
                // Connections over the limit wait in the backlog of the system.
                let permit = Arc::clone(&self.permits).acquire_owned().await;
                (permit, listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                biased;
                () = self.state.stopping.cancelled() => return,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, _peer)) => {
                    let serving = serve(stream, self.router.clone(), self.state.clone(), self.cut.clone());
                    self.tasks.spawn(async move {
                        serving.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    self.state.backroom.clock().sleep(ACCEPT_AGAIN_AFTER).await;
                }
            }
        }
    }

    /// Waits until every connection has ended. They end by themselves once the server stops.
    pub(super) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Cuts the connections that are left, and returns how many there were.
    pub(super) async fn cut(&self) -> usize {
        let left = self.tasks.len();
        self.cut.cancel();
        self.ended().await;
        left
    }
}

/// Serves one connection until it ends, or is cut.
async fn serve(stream: TcpStream, router: Router, state: AppState, cut: CancellationToken) {
    // Small answers go out at once.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the delay of small packets stays on for a connection");
    }
    let builder = builder(&state.settings.now().limits);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let mut is_stopping = false;
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
                connection.as_mut().graceful_shutdown();
            }
            () = cut.cancelled() => return,
        }
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let header_bytes = limits.header_bytes.as_usize();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(header_bytes.max(BUF_BYTES_MIN));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(u32::try_from(limits.streams).unwrap_or(u32::MAX))
        .max_header_list_size(u32::try_from(limits.header_bytes.0).unwrap_or(u32::MAX))
        .keep_alive_interval(limits.header_time)
        .keep_alive_timeout(limits.header_time);
    builder
}

/// The least that hyper takes.
const BUF_BYTES_MIN: usize = 8192;
