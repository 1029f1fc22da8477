//! Counts the requests of one connection, so that an idle connection can be closed.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

/// The requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Requests that have begun and whose answers are not yet written.
    active: AtomicUsize,
    /// Requests that ever began.
    begun: AtomicU64,
}

/// One request until its answer is written.
pub(super) struct Active(Arc<Activity>);

impl Activity {
    pub(super) fn begin(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        Active(Arc::clone(self))
    }

    /// Whether no request is active and none has begun since `begun`; updates `begun`.
    pub(super) fn is_idle_since(&self, begun: &mut u64) -> bool {
        let before = std::mem::replace(begun, self.begun.load(Ordering::Relaxed));
        self.active.load(Ordering::Relaxed) == 0 && *begun == before
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
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
