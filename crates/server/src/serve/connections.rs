//! Accepts connections, within a limit, and serves each in a task of its own.

use std::{sync::Arc, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{AppState, connection};

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
                    let (router, state) = (self.router.clone(), self.state.clone());
                    let serving = connection::serve(stream, router, state, self.cut.clone());
                    let metrics = Arc::clone(&self.state.metrics);
                    self.tasks.spawn(async move {
                        metrics.connections(1);
                        serving.await;
                        metrics.connections(-1);
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
