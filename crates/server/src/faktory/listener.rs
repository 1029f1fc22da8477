//! Accepts connections of Faktory clients.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::net::TcpListener;
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

use super::{Faktory, connection};
use crate::{serve::AppState, terminal::Problem};

/// How long the server waits before it accepts again after the system refused.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// The sockets that Faktory clients connect to.
pub(crate) struct Listener {
    listeners: Vec<TcpListener>,
}

/// The connections of a listener that has begun.
pub(crate) struct Serving {
    accepting: Vec<AbortOnDropHandle<()>>,
    _watching: AbortOnDropHandle<()>,
    tasks: TaskTracker,
    cut: CancellationToken,
}

impl Listener {
    /// Binds every address; none if there are none.
    pub(crate) async fn bind(addresses: &[SocketAddr]) -> Result<Option<Self>, Problem> {
        let mut listeners = Vec::with_capacity(addresses.len());
        for address in addresses {
            let listener = TcpListener::bind(address).await.map_err(|error| {
                Problem::new(format_args!("listen on {address} for Faktory clients"), &error)
                    .hint("another process may have the port: `--faktory 127.0.0.1:0` takes a free one")
            })?;
            listeners.push(listener);
        }
        Ok((!listeners.is_empty()).then_some(Self { listeners }))
    }

    /// Its sockets.
    pub(crate) fn sockets(&self) -> &[TcpListener] {
        &self.listeners
    }

    /// Accepts until the server stops.
    pub(crate) fn serve(self, state: &AppState) -> Serving {
        let faktory = Arc::new(Faktory::new(state.clone()));
        let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
        let accept = |listener| {
            let accepting = accept(listener, Arc::clone(&faktory), tasks.clone(), cut.clone());
            AbortOnDropHandle::new(tokio::spawn(accepting))
        };
        let accepting = self.listeners.into_iter().map(accept).collect();
        let watching = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&faktory).watch()));
        Serving { accepting, _watching: watching, tasks, cut }
    }
}

impl Serving {
    /// Waits until every connection has ended. They end by themselves once the server stops.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Cuts the connections that are left, and answers how many there were.
    pub(crate) async fn cut(&self) -> usize {
        let left = self.tasks.len();
        self.cut.cancel();
        self.ended().await;
        left
    }

    /// Waits until no connection is accepted any more.
    pub(crate) async fn stopped(&mut self) {
        for accepting in self.accepting.drain(..) {
            // A panic of it has been reported.
            let _ = accepting.await;
        }
    }
}

async fn accept(listener: TcpListener, faktory: Arc<Faktory>, tasks: TaskTracker, cut: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = faktory.state.stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _peer)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection of a Faktory client could not be accepted");
                faktory.state.backroom.clock().sleep(ACCEPT_AGAIN_AFTER).await;
                continue;
            }
        };
        let most = usize::try_from(faktory.state.settings.now().faktory.connections).unwrap_or(usize::MAX);
        let open = Open::new(&faktory);
        let cut = cut.clone();
        if open.number > most {
            // The client learns why, unless so many are refused that answering them costs too much.
            if open.number <= most.saturating_mul(2) {
                let clock = Arc::clone(faktory.state.backroom.clock());
                tasks.spawn(async move {
                    connection::refuse(stream, clock, open.number).await;
                    drop(open);
                });
            }
            continue;
        }
        let faktory = Arc::clone(&faktory);
        tasks.spawn(async move {
            let open = open;
            tokio::select! {
                () = connection::serve(stream, faktory) => {}
                () = cut.cancelled() => {}
            }
            drop(open);
        });
    }
}

/// A connection that counts as long as it is open.
struct Open {
    faktory: Arc<Faktory>,
    number: usize,
}

impl Open {
    fn new(faktory: &Arc<Faktory>) -> Self {
        let number = faktory.connections.fetch_add(1, Ordering::Relaxed) + 1;
        faktory.state.metrics.faktory_connections(1);
        Self { faktory: Arc::clone(faktory), number }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.faktory.connections.fetch_sub(1, Ordering::Relaxed);
        self.faktory.state.metrics.faktory_connections(-1);
    }
}
