//! Copying the write-ahead log back into the file (a checkpoint) without stopping commits.
//!
//! A thread of its own copies pages while the writer goes on; a log that is copied whole restarts at the next write.
//! Under steady load it is never whole, because the writer stays ahead: then the writer itself copies the short rest. So
//! the log stays bounded, unless a process reads an old state of it for long.

use std::{
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use rusqlite::Connection;

use super::{connection::open_checkpointer, identity::Identity, watch};
use crate::{Error, ErrorKind, repeated::Repeats};

/// Pages not yet copied at which the thread is asked to copy.
const COPY_PAGES: i64 = 1000;
/// Pages in the log at which the writer copies the rest, so that the log can restart: 64 MiB of 8 KiB pages.
const RESTART_PAGES: i64 = 8 * 1000;
/// The most pages the writer copies by itself below the hard bound: a few milliseconds.
const REST_PAGES: i64 = 500;
/// Pages in the log at which the writer waits for readers and the thread, whatever it costs.
const HARD_PAGES: i64 = 64 * 1000;
/// The size to which the log's file is cut when it restarts.
pub(super) const LOG_BYTES_LEFT: i64 = 64 * 1024 * 1024;

/// Conditions that every commit may meet.
const FAILED: &str = "a checkpoint of the store failed";
const HELD: &str = "a reader prevents the checkpoint of the write-ahead log";
/// Those of this process: they seldom differ from store to store.
static REPEATS: Repeats = Repeats::new();

/// The writer's side.
#[derive(Debug)]
pub(super) struct Checkpoints {
    /// Dropped to end the thread.
    requests: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Grows when waiting was in vain, so that one endless reader does not stop every commit.
    hard_pages: i64,
}

/// What SQLite says of its log.
struct LogState {
    pages: i64,
    copied: i64,
}

impl Checkpoints {
    pub(super) fn start(path: &Path, identity: Arc<Identity>) -> Result<Self, Error> {
        let connection = open_checkpointer(path)?;
        identity.check()?;
        // One request is enough: it says that there is something to copy, not how much.
        let (requests, received) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("backroom-checkpoint".into())
            .spawn(move || copy_on_request(&connection, &received, &identity))
            .map_err(|error| {
                Error::new(ErrorKind::Unavailable, "start a thread of the store").caused_by(error)
            })?;
        Ok(Self { requests: Some(requests), thread: Some(thread), hard_pages: HARD_PAGES })
    }

    /// Reads the length of the log and has it copied where that is due. Called by the writer between transactions.
    pub(super) fn after_commit(&mut self, connection: &Connection) {
        let Some(log) = state(connection, "NOOP") else { return };
        let rest = log.pages - log.copied;
        if log.pages >= self.hard_pages {
            let restarted = state(connection, "RESTART").is_some_and(|log| log.pages == log.copied);
            self.hard_pages = if restarted { HARD_PAGES } else { log.pages + HARD_PAGES / 4 };
            if restarted {
                REPEATS.over(HELD, watch::elapsed());
            } else if REPEATS.met(HELD, watch::elapsed()) {
                tracing::warn!(
                    pages = log.pages,
                    "{HELD}; close the connection that reads an old state of the file"
                );
            }
        } else if log.pages >= RESTART_PAGES && rest > 0 && rest <= REST_PAGES {
            state(connection, "PASSIVE");
        } else if rest >= COPY_PAGES
            && let Some(requests) = &self.requests
        {
            // Full means that a request waits already.
            _ = requests.try_send(());
        }
    }

    /// Copies all of the log back and ends the thread.
    pub(super) fn finish(&mut self, connection: &Connection, identity: &Identity) {
        self.requests = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread of the store panicked");
        }
        if identity.check().is_ok() {
            state(connection, "TRUNCATE");
        } else {
            Identity::disarm(connection);
        }
    }
}

fn copy_on_request(connection: &Connection, requests: &Receiver<()>, identity: &Identity) {
    while requests.recv().is_ok() {
        if identity.check().is_ok() {
            state(connection, "PASSIVE");
        }
    }
    if identity.check().is_err() {
        Identity::disarm(connection);
    }
}

/// Checkpoints in this mode (`NOOP` changes nothing) and answers with the state of the log. After an error the log is longer
/// than it need be, and the next commit tries again.
fn state(connection: &Connection, mode: &str) -> Option<LogState> {
    let found =
        connection.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})")).and_then(|mut checkpoint| {
            checkpoint.query_row([], |found| Ok(LogState { pages: found.get(1)?, copied: found.get(2)? }))
        });
    match &found {
        Ok(_) => REPEATS.over(FAILED, watch::elapsed()),
        Err(error) if REPEATS.met(FAILED, watch::elapsed()) => {
            tracing::warn!(%error, mode, "{FAILED}; the log stays longer until a checkpoint succeeds");
        }
        Err(_) => {}
    }
    found.ok()
}
