//! The one thread that writes.
//!
//! It takes the operations that wait, runs them as one transaction, commits, then answers all callers: one sync of the
//! disk serves them all. When an operation of a group fails, the transaction is rolled back. The group runs again with
//! a savepoint before each operation, so that only the failed one is undone (docs/decisions/0014).

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
};

use backroom_core::bounds::BYTES_IN_HAND_MAX;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{Semaphore, oneshot};

use super::{
    SqliteOptions,
    checkpoint::Checkpoints,
    connection::open_writer,
    error::{Fault, explain, is_busy, locked},
    group::{Group, Message, answer, promises, refuse, refuse_with_waiting},
    hints::Hints,
    identity::Identity,
    lock::Holder,
    operation::{Operation, Pending, Weight},
    watch::{self, Watch},
};
use crate::{
    Error, ErrorKind,
    repeated::Repeats,
    store::{Durability, Notifier},
};

/// Operations that may wait for the writer. Further callers wait before theirs is accepted.
const WAITING_MAX: usize = 1024;
/// The condition that a transaction that failed cannot be rolled back either.
const NOT_UNDONE: &str = "a failed transaction could not be rolled back";
static REPEATS: Repeats = Repeats::new();

/// The side of the callers.
#[derive(Debug)]
pub(super) struct Writer {
    sender: Sender<Message>,
    places: Arc<Semaphore>,
    identity: Arc<Identity>,
    closed: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Opens the file and starts the thread. Blocks meanwhile.
    pub(super) fn start(path: &Path, options: &SqliteOptions, wakes: Arc<Notifier>) -> Result<Self, Error> {
        let (connection, identity) = open_writer(path, options)?;
        let identity = Arc::new(identity);
        let (sender, receiver) = channel();
        let serving = Serving {
            path: path.to_owned(),
            checkpoints: Checkpoints::start(path, Arc::clone(&identity))?,
            identity: Arc::clone(&identity),
            watch: Watch::new(&connection),
            connection,
            durability: options.durability,
            bytes_max: options.bytes_max.unwrap_or(BYTES_IN_HAND_MAX),
            synced: true,
            wakes,
        };
        let thread = std::thread::Builder::new()
            .name("backroom-writer".into())
            .spawn(move || serving.serve(&receiver))
            .map_err(|error| {
                Error::new(ErrorKind::Unavailable, "start a thread of the store").caused_by(error)
            })?;
        Ok(Self {
            sender,
            places: Arc::new(Semaphore::new(WAITING_MAX)),
            identity,
            closed: AtomicBool::new(false),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Which files the writer has open.
    pub(super) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Has `work` done by the writer and waits until it is committed. `work` may run up to three times; only the
    /// last run is committed.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        weight: Weight,
        work: impl FnMut(&Connection, &mut Hints) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Error::closed("store"))?;
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::closed("store"));
        }
        let (reply, answer) = oneshot::channel();
        let pending = Pending::new(weight, work, reply, place);
        if self.sender.send(Message::Write(Box::new(pending))).is_err() {
            return Err(self.ended());
        }
        answer.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// Lets the writer finish what it accepted and waits for its thread to end.
    pub(super) async fn close(&self) -> Result<(), Error> {
        self.closed.store(true, Ordering::Release);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return Ok(()) };
        // Fails only when the thread has ended by itself; joining it says how.
        _ = self.sender.send(Message::Close);
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        match joined {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                Err(Error::new(ErrorKind::Internal, "close the store: its writer thread panicked"))
            }
        }
    }

    /// Why there is no answer.
    fn ended(&self) -> Error {
        if self.closed.load(Ordering::Acquire) {
            return Error::closed("store");
        }
        Error::new(ErrorKind::Internal, "write to the store: its writer thread ended; open the store again")
    }
}

/// The side of the thread.
struct Serving {
    path: PathBuf,
    identity: Arc<Identity>,
    connection: Connection,
    durability: Durability,
    /// Bytes at which a transaction takes no more operations.
    bytes_max: usize,
    /// Whether commits wait for the disk now (`synchronous = FULL`).
    synced: bool,
    wakes: Arc<Notifier>,
    watch: Watch,
    checkpoints: Checkpoints,
}

/// What became of a group.
enum Written {
    /// It was written, or failed for reasons of its own.
    Yes,
    /// Nothing is written any more: the files are not those at their paths.
    Lost,
    /// Another connection's transaction was in the way of these. They are not answered yet.
    Locked(Vec<Box<dyn Operation>>, Error),
}

/// What is undone when an operation of a group fails.
#[derive(Clone, Copy)]
enum Undo {
    /// The whole transaction. Nearly all groups have no failure, and then each operation is spared two statements and
    /// the copies of pages that a savepoint needs.
    All,
    /// That operation.
    Each,
}

/// Why a transaction wrote nothing.
enum Lost {
    /// An operation failed, or SQLite ended the transaction while it ran. The operation has the error.
    InOperation,
    /// It could not begin.
    AtBegin(rusqlite::Error),
    /// It could not be committed.
    AtCommit(rusqlite::Error),
}

impl Serving {
    fn serve(mut self, receiver: &Receiver<Message>) {
        loop {
            let Group { operations, mut close } = match receiver.recv_timeout(Watch::pause(&self.wakes)) {
                Ok(first) => Group::gather(first, receiver, self.bytes_max),
                Err(RecvTimeoutError::Timeout) => Group::none(false),
                // The store was dropped: no caller is left.
                Err(RecvTimeoutError::Disconnected) => Group::none(true),
            };
            if !operations.is_empty() {
                match self.write_wanted(operations) {
                    Written::Yes => self.checkpoints.after_commit(&self.connection),
                    Written::Lost => {}
                    // The operations that came meanwhile have waited for the same lock.
                    Written::Locked(group, error) => close |= refuse_with_waiting(group, receiver, &error),
                }
            }
            if close {
                break;
            }
            self.watch.check(&self.connection, &self.wakes);
            if self.watch.is_time_to_examine() {
                // It reports what it finds; the next operation is answered with it.
                _ = self.identity.check();
            }
        }
        self.checkpoints.finish(&self.connection, &self.identity);
    }

    /// Writes a group, but for operations whose callers were answered that nothing was written in time.
    fn write_wanted(&mut self, mut group: Vec<Box<dyn Operation>>) -> Written {
        group.retain(|operation| !operation.is_withdrawn());
        if group.is_empty() {
            return Written::Yes;
        }
        if let Some(error) = self.identity.lost() {
            refuse(group, &error);
            return Written::Lost;
        }
        self.write(group)
    }

    /// Writes a group and answers every caller in it, unless another transaction holds the lock.
    fn write(&mut self, mut group: Vec<Box<dyn Operation>>) -> Written {
        let mut attempted = self.attempt(&mut group, Undo::All);
        if matches!(attempted, Err(Lost::InOperation)) && group.len() > 1 {
            attempted = self.attempt(&mut group, Undo::Each);
        }
        // What was committed counts as acknowledged only where the path leads to it. What the store may lose anyway when
        // it loses power is spared the system calls. And an error in files without a name says nothing of its own.
        let checked = match &attempted {
            Err(_) => self.identity.check(),
            Ok(_) if promises(&group) => self.identity.check_quickly(),
            Ok(_) => Ok(()),
        };
        if let Err(error) = checked {
            refuse(group, &error);
            return Written::Lost;
        }
        match attempted {
            Ok(hints) => {
                answer(group);
                hints.notify_jobs(&self.wakes);
                Written::Yes
            }
            // One too large for the disk takes the transaction of all with it. Alone, the others may pass.
            Err(Lost::InOperation) if group.len() > 1 => self.write_singly(group),
            Err(Lost::AtCommit(error)) if group.len() > 1 && is_for_want_of_space(&error) => {
                self.write_singly(group)
            }
            Err(Lost::InOperation) => {
                answer(group);
                Written::Yes
            }
            Err(Lost::AtBegin(error)) if is_busy(&error) => {
                let error = locked(&error, &self.path, &Holder::of(&self.path));
                Written::Locked(group, error)
            }
            Err(Lost::AtBegin(error) | Lost::AtCommit(error)) => {
                refuse(group, &explain(&error, &self.path));
                Written::Yes
            }
        }
    }

    /// Writes each operation in a transaction of its own, until the lock is held by another.
    fn write_singly(&mut self, group: Vec<Box<dyn Operation>>) -> Written {
        let mut written = Written::Yes;
        let mut left = group.into_iter();
        while let Some(operation) = left.next() {
            written = self.write(vec![operation]);
            if let Written::Locked(group, _) = &mut written {
                group.extend(left);
                break;
            }
        }
        written
    }

    /// Runs the group as one transaction. On an error nothing of it is written.
    fn attempt(&mut self, group: &mut [Box<dyn Operation>], undo: Undo) -> Result<Hints, Lost> {
        self.begin(promises(group)).map_err(Lost::AtBegin)?;
        let run = match undo {
            Undo::All => self.run_all(group),
            Undo::Each => self.run_each(group),
        };
        let attempted = run.and_then(|hints| {
            hints.ring_queues(&self.wakes);
            self.execute("COMMIT").map_err(Lost::AtCommit)?;
            Ok(hints)
        });
        if attempted.is_err() && !self.connection.is_autocommit() {
            match self.execute("ROLLBACK") {
                Ok(()) => REPEATS.over(NOT_UNDONE, watch::elapsed()),
                Err(error) if REPEATS.met(NOT_UNDONE, watch::elapsed()) => {
                    tracing::error!(%error, store = %self.path.display(), "{NOT_UNDONE}; open the store again");
                }
                Err(_) => {}
            }
        }
        attempted
    }

    fn run_all(&self, group: &mut [Box<dyn Operation>]) -> Result<Hints, Lost> {
        let mut hints = Hints::default();
        for operation in group {
            if !operation.run(&self.connection, &self.path, &mut hints) {
                return Err(Lost::InOperation);
            }
        }
        Ok(hints)
    }

    fn run_each(&self, group: &mut [Box<dyn Operation>]) -> Result<Hints, Lost> {
        let mut hints = Hints::default();
        for operation in group {
            let mut own = Hints::default();
            self.execute("SAVEPOINT operation").map_err(Lost::AtCommit)?;
            if operation.run(&self.connection, &self.path, &mut own) {
                hints.take(own);
            } else if self.connection.is_autocommit() {
                return Err(Lost::InOperation);
            } else {
                self.execute("ROLLBACK TO operation").map_err(Lost::AtCommit)?;
            }
            self.execute("RELEASE operation").map_err(Lost::AtCommit)?;
        }
        Ok(hints)
    }

    fn begin(&mut self, durable: bool) -> rusqlite::Result<()> {
        // Claims, heartbeats and notes need not survive the loss of power: after it no worker lives, and a job whose
        // claim was lost is simply queued still. Waiting for the disk at each claim would halve the throughput. The log
        // is one sequence, so the next durable commit makes them durable too. The level can only be set outside a
        // transaction, and setting it costs a statement: only when it differs.
        let synced = durable && self.durability == Durability::Full;
        if synced != self.synced {
            self.connection.execute_batch(if synced {
                "PRAGMA synchronous = FULL"
            } else {
                "PRAGMA synchronous = NORMAL"
            })?;
            self.synced = synced;
        }
        self.execute("BEGIN IMMEDIATE")
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

fn is_for_want_of_space(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure))
}
