//! The code of a workflow as a future, and whether all of it waits.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use backroom_core::Json;
use futures_util::{future::BoxFuture, task::AtomicWaker};

use crate::Failure;

/// How often the code is polled in a row before other tasks get a turn.
const TURNS_MAX: u32 = 64;

/// The code of a workflow during one run.
pub(super) struct Code {
    /// None once it has ended. The mutex is never locked: it lets the driver be shared between threads.
    future: Option<Mutex<BoxFuture<'static, Result<Json, Failure>>>>,
    /// It went on since the driver set this to false.
    pub(super) went_on: bool,
    /// What it returned.
    pub(super) ended: Option<Result<Json, Failure>>,
    signal: Arc<Signal>,
    waker: Waker,
}

/// Notes that the code was woken, and wakes the driver.
struct Signal {
    is_woken: AtomicBool,
    driver: AtomicWaker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.driver.wake();
    }
}

impl Code {
    pub(super) fn new(future: BoxFuture<'static, Result<Json, Failure>>) -> Self {
        let signal = Arc::new(Signal { is_woken: AtomicBool::new(true), driver: AtomicWaker::new() });
        let waker = Waker::from(Arc::clone(&signal));
        Self { future: Some(Mutex::new(future)), went_on: false, ended: None, signal, waker }
    }

    /// Lets the code go on until all of it waits.
    pub(super) async fn settle(&mut self) {
        poll_fn(|cx| if self.poll(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Waits for `other`, and lets the code go on meanwhile: steps that run beside each other do not wait for a write.
    pub(super) async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        poll_fn(|cx| {
            if let Poll::Ready(output) = other.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            self.poll(cx);
            Poll::Pending
        })
        .await
    }

    /// Waits until the code is woken; none if `other` comes first.
    pub(super) async fn woken_or<T>(&mut self, other: impl Future<Output = T>) -> Option<T> {
        let mut other = pin!(other);
        poll_fn(|cx| {
            self.signal.driver.register(cx.waker());
            if self.future.is_some() && self.signal.is_woken.load(Ordering::Acquire) {
                return Poll::Ready(None);
            }
            other.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Polls the code as long as it is woken. Answers whether all of it waits.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        self.signal.driver.register(cx.waker());
        let mut turns = 0;
        while let Some(future) = &mut self.future
            && self.signal.is_woken.swap(false, Ordering::AcqRel)
        {
            if turns == TURNS_MAX {
                self.signal.is_woken.store(true, Ordering::Release);
                cx.waker().wake_by_ref();
                return false;
            }
            turns += 1;
            self.went_on = true;
            let future = future.get_mut().unwrap_or_else(PoisonError::into_inner);
            if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&self.waker)) {
                (self.future, self.ended) = (None, Some(result));
            }
        }
        true
    }
}
