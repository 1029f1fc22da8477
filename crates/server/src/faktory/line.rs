//! Reads lines from a client, within bounds of bytes and time.

use std::{io, sync::Arc, time::Duration};

use backroom::clock::Clock;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::{OwnedSemaphorePermit, Semaphore},
};

/// What every connection may hold without asking.
const FREE_BYTES: usize = 64 * 1024;
/// The first size of a buffer.
const BUFFER_BYTES_MIN: usize = 4096;
/// Beyond that, all connections together hold this many KiB.
const SHARED_KIB: usize = 256 * 1024;

/// What all connections may hold together of long lines.
#[derive(Clone)]
pub(super) struct Budget(Arc<Semaphore>);

impl Budget {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(SHARED_KIB)))
    }
}

/// How far one line may go.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineLimits {
    /// Most bytes.
    pub(super) bytes_max: usize,
    /// Longest time from its first byte to its last.
    pub(super) time: Duration,
}

/// Why there is no line.
#[derive(Debug)]
pub(super) enum NoLine {
    /// The client has gone.
    Ended,
    /// It goes on beyond its bound.
    TooLong(usize),
    /// It did not end in time, or there was no memory for it in time.
    TooSlow(Duration),
    /// The connection is broken.
    Broken(io::Error),
}

/// The lines of one client.
pub(super) struct Lines<R> {
    inner: R,
    clock: Arc<dyn Clock>,
    budget: Budget,
    /// For what the buffer holds beyond the free bytes.
    permit: Option<OwnedSemaphorePermit>,
    buffer: Vec<u8>,
    /// The bytes of the line that was taken last.
    taken: usize,
    /// Before it there is no end of a line.
    searched: usize,
    is_ended: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(inner: R, clock: Arc<dyn Clock>, budget: Budget) -> Self {
        Self {
            inner,
            clock,
            budget,
            permit: None,
            buffer: Vec::new(),
            taken: 0,
            searched: 0,
            is_ended: false,
        }
    }

    /// The next line, without its end. Dropped before it answers, nothing is lost.
    pub(super) async fn next(&mut self, limits: LineLimits) -> Result<&[u8], NoLine> {
        self.drop_taken();
        let mut ends_at: Option<Duration> = None;
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let end = self.searched + at;
                if end > limits.bytes_max {
                    return Err(NoLine::TooLong(limits.bytes_max));
                }
                self.taken = end + 1;
                let line = &self.buffer[..end];
                return Ok(line.strip_suffix(b"\r").unwrap_or(line));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > limits.bytes_max {
                return Err(NoLine::TooLong(limits.bytes_max));
            }
            if self.is_ended {
                return Err(NoLine::Ended);
            }
            if self.buffer.is_empty() {
                self.fill(limits.bytes_max).await?;
                continue;
            }
            let until = *ends_at.get_or_insert_with(|| self.clock.monotonic().saturating_add(limits.time));
            let clock = Arc::clone(&self.clock);
            tokio::select! {
                filled = self.fill(limits.bytes_max) => filled?,
                () = clock.sleep_to(until) => return Err(NoLine::TooSlow(limits.time)),
            }
        }
    }

    /// Returns when the client has gone. What it sends meanwhile is read, up to a bound.
    pub(super) async fn gone(&mut self) {
        self.drop_taken();
        while !self.is_ended {
            if self.buffer.len() >= FREE_BYTES {
                return std::future::pending().await;
            }
            if self.fill(FREE_BYTES).await.is_err() {
                return;
            }
        }
    }

    /// Reads what there is.
    async fn fill(&mut self, bytes_max: usize) -> Result<(), NoLine> {
        self.make_place(bytes_max).await;
        match self.inner.read_buf(&mut self.buffer).await {
            Ok(0) => self.is_ended = true,
            Ok(_) => {}
            Err(error) => {
                self.is_ended = true;
                return Err(NoLine::Broken(error));
            }
        }
        Ok(())
    }

    async fn make_place(&mut self, bytes_max: usize) {
        if self.buffer.len() < self.buffer.capacity() {
            return;
        }
        let most = bytes_max.saturating_add(BUFFER_BYTES_MIN);
        let wanted = self.buffer.capacity().saturating_mul(2).clamp(BUFFER_BYTES_MIN, most);
        let has = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let needs = wanted.saturating_sub(FREE_BYTES).div_ceil(1024).min(SHARED_KIB);
        let more = u32::try_from(needs.saturating_sub(has)).unwrap_or(u32::MAX);
        // Never closed, so never refused.
        if more > 0
            && let Ok(permit) = Arc::clone(&self.budget.0).acquire_many_owned(more).await
        {
            match &mut self.permit {
                Some(held) => held.merge(permit),
                held @ None => *held = Some(permit),
            }
        }
        self.buffer.reserve_exact(wanted - self.buffer.len());
    }

    fn drop_taken(&mut self) {
        if self.taken == 0 {
            return;
        }
        self.buffer.drain(..self.taken);
        (self.taken, self.searched) = (0, 0);
        if self.buffer.len() <= BUFFER_BYTES_MIN && self.buffer.capacity() > FREE_BYTES {
            self.buffer.shrink_to(BUFFER_BYTES_MIN);
            self.permit = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use backroom::clock::SystemClock;
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const LIMITS: LineLimits = LineLimits { bytes_max: 200_000, time: Duration::from_secs(600) };

    fn lines() -> (DuplexStream, Lines<DuplexStream>) {
        let (client, server) = duplex(1 << 20);
        (client, Lines::new(server, Arc::new(SystemClock::default()), Budget::new()))
    }

    #[tokio::test]
    async fn lines_end_with_a_line_feed_and_come_in_pieces_or_together() {
        let (mut client, mut lines) = lines();
        client.write_all(b"END\r\nINFO\n\r\nhalf").await.unwrap();
        for expected in ["END", "INFO", ""] {
            assert_eq!(lines.next(LIMITS).await.unwrap(), expected.as_bytes());
        }
        client.write_all(b" and half\n").await.unwrap();
        assert_eq!(lines.next(LIMITS).await.unwrap(), b"half and half");
        client.write_all(b"cut").await.unwrap();
        drop(client);
        assert!(matches!(lines.next(LIMITS).await, Err(NoLine::Ended)));
    }

    #[tokio::test]
    async fn a_long_line_takes_from_what_all_share_and_gives_it_back() {
        let (mut client, mut lines) = lines();
        let long = "x".repeat(150_000);
        client.write_all(format!("{long}\nshort\n").as_bytes()).await.unwrap();
        assert_eq!(lines.next(LIMITS).await.unwrap().len(), 150_000);
        assert!(lines.budget.0.available_permits() < SHARED_KIB);
        assert_eq!(lines.next(LIMITS).await.unwrap(), b"short");
        assert_eq!(lines.budget.0.available_permits(), SHARED_KIB);
        assert!(lines.buffer.capacity() <= FREE_BYTES);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_or_too_slow_is_no_line() {
        let (mut client, mut lines) = lines();
        client.write_all("x".repeat(300_000).as_bytes()).await.unwrap();
        assert!(matches!(lines.next(LIMITS).await, Err(NoLine::TooLong(200_000))));
        assert!(lines.buffer.capacity() <= 200_000 + BUFFER_BYTES_MIN);
        let (mut client, mut lines) = self::lines();
        client.write_all(b"x").await.unwrap();
        let soon = LineLimits { time: Duration::from_millis(20), ..LIMITS };
        assert!(matches!(lines.next(soon).await, Err(NoLine::TooSlow(_))));
        drop(client);
    }

    #[tokio::test]
    async fn a_client_that_goes_is_noticed_and_what_it_sent_before_is_read() {
        let (mut client, mut lines) = lines();
        client.write_all(b"one\ntwo\n").await.unwrap();
        assert_eq!(lines.next(LIMITS).await.unwrap(), b"one");
        drop(client);
        lines.gone().await;
        assert_eq!(lines.next(LIMITS).await.unwrap(), b"two");
        assert!(matches!(lines.next(LIMITS).await, Err(NoLine::Ended)));
    }
}
