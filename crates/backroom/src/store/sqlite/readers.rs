//! A small pool of connections that only read.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{connection::open_reader, error::Fault, identity::Identity, unwritable};
use crate::{Error, ErrorKind};

/// How the file is opened.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// Beside the store's writer, which knows these files.
    Live(Arc<Identity>),
    /// Without one: this process may not write the file.
    Unwritable,
}

/// Reads see what is committed, each a state of its own.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    source: Source,
    connections: u32,
    places: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    /// A pool of at most so many connections. Opens one now, so that a file that cannot be read is known at once; the
    /// others when they are needed.
    pub(super) fn open(path: &Path, source: Source, connections: u32) -> Result<Self, Error> {
        let idle = match &source {
            Source::Live(identity) => vec![open_reader(path, identity)?],
            Source::Unwritable => Vec::new(),
        };
        Ok(Self {
            path: path.to_owned(),
            source,
            connections,
            places: Arc::new(Semaphore::new(connections as usize)),
            idle: Arc::new(Mutex::new(idle)),
        })
    }

    /// Runs `read` on a thread that may block. Fails once the store is known to have lost its files.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Error::closed("store"))?;
        let (idle, path, source) = (Arc::clone(&self.idle), self.path.clone(), self.source.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let Source::Live(identity) = source else {
                let answer = unwritable::read(&path, read);
                drop(place);
                return answer;
            };
            let free = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match free {
                Some(connection) => connection,
                None => open_reader(&path, &identity)?,
            };
            let answer = read(&connection).and_then(|answer| match identity.lost() {
                Some(error) => Err(error.into()),
                None => Ok(answer),
            });
            // A connection that met an error is closed, so that its state cannot affect the next read.
            if answer.is_ok() {
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            // Only now may the next read take an idle connection.
            drop(place);
            answer.map_err(|fault| fault.explain(&path))
        });
        reading.await.unwrap_or_else(|failed| {
            Err(Error::new(ErrorKind::Internal, "read from the store: the reading thread ended")
                .caused_by(failed))
        })
    }

    /// Waits for reads under way and lets go of the file. Later reads are refused.
    pub(super) async fn close(&self) {
        // Fails only when another call has closed it already.
        if let Ok(all) = self.places.acquire_many(self.connections).await {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
            self.places.close();
            drop(all);
        }
    }
}
