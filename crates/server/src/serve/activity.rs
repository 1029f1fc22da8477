//! Counts the requests of one connection, so that an idle connection can be closed.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use backroom::clock::Clock;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;

/// The requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Requests that have begun and whose answers are not yet written.
    active: AtomicUsize,
    /// Requests that ever began.
    begun: AtomicU64,
    /// Notified when the last active request has ended.
    quiet: Notify,
}

/// One request until its answer is written.
pub(super) struct Active(Arc<Activity>);

impl Activity {
    pub(super) fn begin(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        Active(Arc::clone(self))
    }

    /// Whether no request ever began.
    pub(super) fn is_unused(&self) -> bool {
        self.begun.load(Ordering::Relaxed) == 0
    }

    /// Returns once the connection has had no request for so long, and for twice as long at most. While a request is active it
    /// has no timer: thousands of long polls and event streams would wake up for nothing.
    pub(super) async fn idle_for(&self, clock: &dyn Clock, span: Duration) {
        loop {
            while self.active.load(Ordering::Relaxed) > 0 {
                // An end between the check and here has left its notification.
                self.quiet.notified().await;
            }
            let begun = self.begun.load(Ordering::Relaxed);
            clock.sleep(span).await;
            if self.active.load(Ordering::Relaxed) == 0 && self.begun.load(Ordering::Relaxed) == begun {
                return;
            }
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        if self.0.active.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.quiet.notify_one();
        }
    }
}

/// The body of an answer, which counts as active until it is dropped.
pub(super) struct ActiveBody {
    pub(super) body: Body,
    pub(super) _active: Active,
}

impl HttpBody for ActiveBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
