//! The task that reads a stream ahead of the jobs.

use std::{sync::Arc, time::Duration};

use ::redis::{
    AsyncCommands as _, RedisResult, Value,
    aio::MultiplexedConnection,
    streams::{StreamAutoClaimOptions, StreamAutoClaimReply, StreamId, StreamReadOptions, StreamReadReply},
};
use tokio::sync::mpsc;

use crate::{
    Bounds,
    broker::{Readers, count_within},
};

/// How long one read waits at the server. It ends earlier when an entry comes.
const BLOCK: Duration = Duration::from_secs(5);

/// What the task reads that runs ahead of the jobs.
pub(super) struct Reader {
    pub(super) connection: MultiplexedConnection,
    pub(super) stream: String,
    pub(super) group: String,
    pub(super) consumer: String,
    pub(super) readers: Readers,
    pub(super) claim_after: Duration,
    pub(super) bounds: Bounds,
    /// Messages and bytes that came lately.
    pub(super) seen: (usize, usize),
    pub(super) clock: Arc<dyn backroom::clock::Clock>,
}

impl Reader {
    /// Reads until it is dropped or an error comes.
    pub(super) async fn run(mut self, batches: mpsc::Sender<RedisResult<Vec<StreamId>>>) {
        let idle = match self.readers {
            // No other process may read: whatever is pending belongs to a dead one.
            Readers::One => Duration::ZERO,
            Readers::Every => self.claim_after,
        };
        let mut claimed_at = self.clock.monotonic();
        let mut is_due = true;
        loop {
            if is_due {
                if let Err(error) = self.claim(idle, &batches).await {
                    let _ = batches.send(Err(error)).await;
                    return;
                }
                claimed_at = self.clock.monotonic();
            }
            let read = self.read().await;
            let is_over = read.is_err();
            // Fails when the source is closed.
            if batches.send(read).await.is_err() || is_over {
                return;
            }
            let since = self.clock.monotonic().saturating_sub(claimed_at);
            is_due = self.readers == Readers::Every && since >= self.claim_after / 2;
        }
    }

    /// Takes over what was pending for so long, in the order of the stream.
    async fn claim(
        &mut self,
        idle: Duration,
        batches: &mpsc::Sender<RedisResult<Vec<StreamId>>>,
    ) -> RedisResult<()> {
        let idle = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let mut from = "0-0".to_owned();
        loop {
            let count = count_within(self.seen, self.bounds);
            let options = StreamAutoClaimOptions::default().count(count);
            let reply: StreamAutoClaimReply = self
                .connection
                .xautoclaim_options(&self.stream, &self.group, &self.consumer, idle, &from, options)
                .await?;
            self.notice(&reply.claimed);
            // A closed channel ends the task at its next turn.
            if !reply.claimed.is_empty() && batches.send(Ok(reply.claimed)).await.is_err() {
                return Ok(());
            }
            if reply.next_stream_id == "0-0" {
                return Ok(());
            }
            from = reply.next_stream_id;
        }
    }

    async fn read(&mut self) -> RedisResult<Vec<StreamId>> {
        let block = usize::try_from(BLOCK.as_millis()).unwrap_or(usize::MAX);
        let count = count_within(self.seen, self.bounds);
        let options =
            StreamReadOptions::default().group(&self.group, &self.consumer).count(count).block(block);
        let reply: Option<StreamReadReply> =
            self.connection.xread_options(&[&self.stream], &[">"], &options).await?;
        let entries: Vec<_> =
            reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids).collect();
        self.notice(&entries);
        Ok(entries)
    }

    /// Remembers how large entries are.
    fn notice(&mut self, entries: &[StreamId]) {
        let bytes = entries.iter().flat_map(|entry| entry.map.values()).map(bytes_of).sum::<usize>();
        if !entries.is_empty() {
            self.seen = (entries.len(), bytes);
        }
    }
}

fn bytes_of(value: &Value) -> usize {
    match value {
        Value::BulkString(bytes) => bytes.len(),
        Value::SimpleString(text) => text.len(),
        _ => 16,
    }
}
