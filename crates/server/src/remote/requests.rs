//! Requests of a program that sends several at once, each safe to repeat.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use hyper::{Method, StatusCode};

use super::{Connection, Remote, answer};
use crate::terminal::Problem;

/// Most connections that stay open without a request.
const IDLE_MAX: usize = 8;

/// Sends requests to a server, over as many connections as there are requests at once.
pub(crate) struct Requests {
    remote: Remote,
    idle: Mutex<Vec<Connection>>,
}

impl Requests {
    pub(crate) fn new(remote: Remote) -> Self {
        Self { remote, idle: Mutex::default() }
    }

    /// Sends a request with a JSON body. Answers with status and body, whatever the status is. Fails if there is no whole answer within
    /// the time: then it is not known whether the server has carried it out.
    pub(crate) async fn post(
        &self,
        path: &str,
        body: Bytes,
        within: Duration,
    ) -> Result<(StatusCode, Bytes), Problem> {
        let remote = &self.remote;
        let mut connection = match self.open() {
            Some(connection) => connection,
            None => remote.connect().await?,
        };
        let request = remote.request(Method::POST, path, "application/json", body)?;
        let sending = async {
            let response = connection.send(request).await?;
            let status = response.status();
            Ok((status, answer::whole(path, response).await?))
        };
        let answered = remote.within(within, path, sending).await?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        Ok(answered)
    }

    /// A connection that the server has not closed.
    fn open(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Connection::is_open);
        idle.pop()
    }
}
