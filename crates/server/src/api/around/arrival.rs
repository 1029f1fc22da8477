//! The body of a request as it arrives: within its limits in bytes and in time.

use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use backroom::clock::Clock;
use hyper::body::{Frame, SizeHint};

use crate::api::{codes::Code, problem::Problem};

/// An extension of each request: how a route wants the body to be limited.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arrival {
    is_stream: Arc<AtomicBool>,
}

impl Arrival {
    /// The route reads the body piece by piece: it may have any length, and each piece has the time of a whole body.
    pub(crate) fn is_stream(&self) {
        self.is_stream.store(true, Ordering::Relaxed);
    }
}

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It has more bytes than this.
    TooLarge(u64),
    /// It took longer than this.
    TooSlow(Duration),
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(bytes) => write!(f, "the body has more than {bytes} bytes"),
            Self::TooSlow(time) => write!(f, "the body did not arrive within {time:?}"),
        }
    }
}

impl StdError for Cut {}

impl From<Cut> for Problem {
    fn from(cut: Cut) -> Self {
        let code = match cut {
            Cut::TooLarge(_) => Code::BodyTooLarge,
            Cut::TooSlow(_) => Code::RequestTimeout,
        };
        Self::new(code, cut.to_string())
    }
}

impl Cut {
    /// The cut behind an error of the framework, if it is one.
    pub(crate) fn behind(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(cut) = error.downcast_ref::<Self>() {
                return Some(*cut);
            }
            next = error.source();
        }
        None
    }
}

/// A body that ends with a [`Cut`] when it passes a limit.
pub(super) struct Arriving {
    body: Body,
    arrival: Arrival,
    clock: Arc<dyn Clock>,
    bytes_left: u64,
    bytes_max: u64,
    time: Duration,
    /// The limit in time of what is waited for now.
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Arriving {
    pub(super) fn new(
        body: Body,
        arrival: Arrival,
        clock: Arc<dyn Clock>,
        bytes_max: u64,
        time: Duration,
    ) -> Self {
        Self { body, arrival, clock, bytes_left: bytes_max, bytes_max, time, waiting: None }
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let is_stream = this.arrival.is_stream.load(Ordering::Relaxed);
        let cut = |cut| Poll::Ready(Some(Err(axum::Error::new(cut))));
        // A length that is announced is refused before a byte is read.
        if !is_stream && this.body.size_hint().lower() > this.bytes_left {
            return cut(Cut::TooLarge(this.bytes_max));
        }
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if is_stream {
                    this.waiting = None;
                } else if let Some(bytes) = frame.data_ref() {
                    match this.bytes_left.checked_sub(bytes.len() as u64) {
                        Some(left) => this.bytes_left = left,
                        None => return cut(Cut::TooLarge(this.bytes_max)),
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Pending => {
                let (clock, time) = (&this.clock, this.time);
                let waiting = this.waiting.get_or_insert_with(|| {
                    let clock = Arc::clone(clock);
                    Box::pin(async move { clock.sleep(time).await })
                });
                match waiting.as_mut().poll(context) {
                    Poll::Ready(()) => cut(Cut::TooSlow(time)),
                    Poll::Pending => Poll::Pending,
                }
            }
            ended => ended,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
