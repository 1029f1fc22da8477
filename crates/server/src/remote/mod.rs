//! A running server, as a client of its HTTP API sees it.
//!
//! [`Remote`] sends one request after the other over one connection, which it opens again when the server has closed it. It
//! knows the API's way of answering (JSON, problem documents, streams of lines) and no route: the commands name those.

mod address;
mod answer;
mod connection;
mod events;
#[cfg(feature = "otel")]
mod exchange;
mod requests;
mod session;
mod token;

use std::{
    sync::{Arc, Mutex as SyncMutex, PoisonError},
    time::Duration,
};

use backroom::{
    Timestamp,
    clock::{Clock, SystemClock},
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, LOCATION, USER_AGENT},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Mutex;

#[cfg(feature = "otel")]
pub(crate) use self::exchange::exchange;
use self::{address::Address, connection::Connection};
pub(crate) use self::{
    events::{Event, Events, Opened},
    requests::Requests,
    session::Session,
    token::Token,
};
use crate::terminal::Problem;

/// How long the server may take to accept a connection and to agree on TLS.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long the server may take for an answer to a request that does not wait for a job.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// What came of a request.
enum Asked<T> {
    Answered(T),
    Refused(StatusCode, Problem),
}

/// A server and the right to use it.
#[derive(Debug)]
pub(crate) struct Remote {
    address: Address,
    token: Option<Token>,
    clock: Arc<dyn Clock>,
    /// The server's time at its last answer, and ours.
    time: SyncMutex<Option<(Timestamp, Duration)>>,
    /// The connection of the last request, if the server did not close it.
    idle: Mutex<Option<Connection>>,
}

impl Remote {
    /// The server at `url`, such as `https://jobs.example.org` or `http://127.0.0.1:8080`. Opens no connection yet.
    pub(crate) fn new(url: &str, token: Option<Token>) -> Result<Self, Problem> {
        let address = Address::parse(url)?;
        if token.is_some() && !address.is_private_way() {
            let why = "the token would travel unencrypted over the network";
            return Err(Problem::new(format_args!("use the server {url}"), &why)
                .hint("use https://, or reach the server through 127.0.0.1 by a tunnel"));
        }
        Ok(Self {
            address,
            token,
            clock: Arc::new(SystemClock::default()),
            time: SyncMutex::default(),
            idle: Mutex::default(),
        })
    }

    /// The answer to `GET path`; `path` begins with `/` and may have a query.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// The answer to `GET path`; none if the server answers that there is no such thing.
    pub(crate) async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Problem> {
        match self.ask(Method::GET, path, Bytes::new()).await? {
            Asked::Answered(answer) => Ok(Some(answer)),
            Asked::Refused(StatusCode::NOT_FOUND, _) => Ok(None),
            Asked::Refused(_, problem) => Err(problem),
        }
    }

    /// The server's time: that of its last answer, and what has passed since. Before the first answer it is our own.
    pub(crate) fn now(&self) -> Timestamp {
        let answered = *self.time.lock().unwrap_or_else(PoisonError::into_inner);
        match answered {
            Some((then, at)) => {
                let passed = self.clock.monotonic().saturating_sub(at);
                backroom::core::bounds::later(then, passed)
            }
            None => self.clock.now(),
        }
    }

    /// Waits by the monotonic clock.
    pub(crate) async fn rest(&self, span: Duration) {
        self.clock.sleep(span).await;
    }

    /// The answer to a request with a JSON body. A body of `()` is none.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Problem> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Problem::new(format_args!("write the body of {method} {path}"), &error))?;
        let body = if body == b"null" { Bytes::new() } else { body.into() };
        self.call(method, path, body).await
    }

    /// The answer to a `POST` that is carried out once, however often it is sent with this key.
    pub(crate) async fn send_once<T: DeserializeOwned>(
        &self,
        path: &str,
        key: Option<&str>,
        body: &impl Serialize,
    ) -> Result<T, Problem> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Problem::new(format_args!("write the body of POST {path}"), &error))?;
        let body: Bytes = if body == b"null" { Bytes::new() } else { body.into() };
        match self.ask_once(Method::POST, path, body, key).await? {
            Asked::Answered(answer) => Ok(answer),
            Asked::Refused(_, problem) => Err(problem),
        }
    }

    /// A connection of its own, for a caller that sends many requests one after the other and repeats none by itself.
    pub(crate) async fn session(&self) -> Result<Session<'_>, Problem> {
        let opening = self.connected(connection::stream(&self.address));
        Ok(Session::new(self, opening.await?))
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, Problem> {
        match self.ask(method, path, body).await? {
            Asked::Answered(answer) => Ok(answer),
            Asked::Refused(_, problem) => Err(problem),
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Asked<T>, Problem> {
        self.ask_once(method, path, body, None).await
    }

    async fn ask_once<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        key: Option<&str>,
    ) -> Result<Asked<T>, Problem> {
        let header = |key: &str| {
            HeaderValue::from_str(key).map_err(|_| {
                let why = "an idempotency key has characters that no header may have; use letters, digits and signs";
                Problem::new("send the request", &why)
            })
        };
        let key = key.map(header).transpose()?;
        let request = || {
            let mut request = self.request(method.clone(), path, "application/json", body.clone())?;
            if let Some(key) = &key {
                request.headers_mut().insert("idempotency-key", key.clone());
            }
            Ok::<_, Problem>(request)
        };
        let mut idle = self.idle.lock().await;
        let reused = idle.take().filter(Connection::is_open);
        // The server may close an idle connection at any moment. A read is sent again then; of a write it is not known whether
        // the server has carried it out, so a write begins with a connection that is new.
        let (mut connection, may_repeat) = match reused {
            Some(connection) if method == Method::GET => (connection, true),
            Some(_) | None => (self.connect().await?, false),
        };
        let sent = self.within(ANSWER_MAX, path, connection.send(request()?)).await;
        let response = match sent {
            Err(_) if may_repeat => {
                connection = self.connect().await?;
                self.within(ANSWER_MAX, path, connection.send(request()?)).await?
            }
            sent => sent?,
        };
        self.note_time(&response);
        let status = response.status();
        if !status.is_success() {
            return Ok(Asked::Refused(status, self.refused(path, response).await));
        }
        let answer = self.within(ANSWER_MAX, path, answer::json(path, response)).await?;
        *idle = Some(connection);
        Ok(Asked::Answered(answer))
    }

    fn note_time(&self, response: &Response<Incoming>) {
        let time = response.headers().get(&crate::api::around::TIME).and_then(|time| time.to_str().ok());
        if let Some(then) = time.and_then(|time| time.parse().ok()) {
            *self.time.lock().unwrap_or_else(PoisonError::into_inner) = Some((then, self.clock.monotonic()));
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        accept: &'static str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Problem> {
        let mut request = Request::builder()
            .method(method)
            .uri(self.address.path(path))
            .header(HOST, self.address.authority())
            .header(USER_AGENT, concat!("backroom/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, accept);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.header());
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request
            .body(Full::new(body))
            .map_err(|error| Problem::new(format_args!("make the request for {path}"), &error))
    }

    async fn connect(&self) -> Result<Connection, Problem> {
        self.connected(Connection::open(&self.address)).await
    }

    /// Waits until a connection is open, but not for ever.
    async fn connected<T>(&self, opening: impl Future<Output = std::io::Result<T>>) -> Result<T, Problem> {
        let doing = format!("reach the server {}", self.address);
        tokio::select! {
            opened = opening => opened.map_err(|error| {
                Problem::new(&doing, &error).hint("`backroom serve` starts one; --server or BACKROOM_SERVER names its URL")
            }),
            () = self.clock.sleep(CONNECT_MAX) => {
                let why = format!("it did not answer within {} s", CONNECT_MAX.as_secs());
                Err(Problem::new(&doing, &why))
            }
        }
    }

    /// Waits for an answer, but not for ever.
    async fn within<T>(
        &self,
        most: Duration,
        path: &str,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        tokio::select! {
            done = work => done,
            () = self.clock.sleep(most) => {
                let why = format!("{} did not answer within {} s", self.address, most.as_secs());
                Err(Problem::new(format_args!("ask for {path}"), &why))
            }
        }
    }

    /// What a refusal says.
    async fn refused(&self, path: &str, response: Response<Incoming>) -> Problem {
        if response.status().is_redirection() {
            let to =
                response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("another place");
            let why = format!("{} sends its callers to {to}", self.address);
            return Problem::new(format_args!("ask for {path}"), &why).hint("name that place with --server");
        }
        match self.within(ANSWER_MAX, path, answer::problem(path, response)).await {
            Ok(problem) | Err(problem) => problem,
        }
    }
}
