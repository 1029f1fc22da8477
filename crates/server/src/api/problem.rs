//! Every error of the API is a problem document (RFC 9457).
//!
//! A handler answers with `Result<_, Problem>`. [`finish`] writes the document, because only there the id of the request is
//! known, and turns errors of the framework into problems, too.

use std::collections::BTreeMap;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use backroom::ErrorKind;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{
    IntoResponses, OpenApi as _, ToSchema,
    openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder, response::Response as ApiResponse},
};

use super::codes::Code;

/// The media type of a problem document.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";
/// How long a client waits before it repeats a request that met a store that is away or a server that stops.
const RETRY_AFTER_SECS: u64 = 1;
/// How long a client waits before it repeats a request that met a full queue.
const QUEUE_FULL_RETRY_AFTER_SECS: u64 = 5;

/// Why a request did not succeed.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    code: Code,
    detail: String,
    retry_after_secs: Option<u64>,
    headers: Vec<(header::HeaderName, HeaderValue)>,
    members: Map<String, Value>,
}

/// What is written: the members that RFC 9457 names, and `code`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
struct Document<'a> {
    /// The address of the page that explains this kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "/problems/invalid")]
    kind: String,
    /// What went wrong, for programs: the last part of `type`.
    #[schema(example = "invalid")]
    code: &'a str,
    /// What went wrong, in words that do not change from one occurrence to the next.
    title: &'a str,
    /// The status of the answer.
    #[schema(example = 422)]
    status: u16,
    /// What went wrong this time.
    detail: &'a str,
    /// This occurrence: the path of the request, and its id as the fragment.
    instance: &'a str,
    #[serde(flatten)]
    #[schema(ignore)]
    members: &'a Map<String, Value>,
}

impl Problem {
    /// A problem of a kind, with what went wrong this time.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), retry_after_secs: None, headers: Vec::new(), members: Map::new() }
    }

    /// Its code.
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// What went wrong this time.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The same, to be repeated after so many seconds.
    #[must_use]
    pub(crate) fn retry_after_secs(mut self, secs: u64) -> Self {
        self.retry_after_secs = Some(secs);
        self
    }

    /// The same with one more header.
    #[must_use]
    pub(crate) fn header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same with one more member.
    #[must_use]
    pub(crate) fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.into(), value.into());
        self
    }

    /// The document as it is sent.
    pub(crate) fn document(&self, instance: &str) -> Vec<u8> {
        let document = Document {
            kind: format!("/problems/{}", self.code.as_str()),
            code: self.code.as_str(),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: &self.detail,
            instance,
            members: &self.members,
        };
        serde_json::to_vec(&document).expect("invariant: text and JSON values are JSON")
    }
}

impl From<backroom::Error> for Problem {
    fn from(error: backroom::Error) -> Self {
        let said = error.to_string();
        let problem = |code| Self::new(code, said.clone());
        // What the store's own errors say (hosts, paths) is for the operator: it goes to the log, not to the caller.
        let hidden = |code: Code, detail: &str| {
            tracing::warn!(code = code.as_str(), %error, "a request failed");
            Self::new(code, detail)
        };
        match error.kind() {
            ErrorKind::Invalid => problem(Code::Invalid),
            ErrorKind::NotFound => problem(Code::NotFound),
            ErrorKind::Refused => problem(Code::Refused),
            ErrorKind::KeyHeld { holder } => problem(Code::KeyHeld).member("holder", holder.to_string()),
            ErrorKind::QueueFull { depth, limit } => problem(Code::QueueFull)
                .member("depth", depth)
                .member("limit", limit)
                .retry_after_secs(QUEUE_FULL_RETRY_AFTER_SECS),
            ErrorKind::Unsuccessful => problem(Code::Unsuccessful),
            ErrorKind::Unavailable => hidden(Code::Unavailable, "the store did not answer in time")
                .retry_after_secs(RETRY_AFTER_SECS),
            ErrorKind::NoSpace => hidden(Code::NoSpace, "the store cannot write"),
            ErrorKind::Unusable => hidden(Code::Unusable, "the store cannot be used"),
            ErrorKind::Closed => {
                Self::new(Code::Draining, "the server is stopping").retry_after_secs(RETRY_AFTER_SECS)
            }
            // The list of kinds may grow; a new one is a failure of the server until it has its own code.
            ErrorKind::Internal | _ => hidden(Code::Internal, "the server failed"),
        }
    }
}

impl From<backroom::Invalid> for Problem {
    fn from(invalid: backroom::Invalid) -> Self {
        backroom::Error::from(invalid).into()
    }
}

impl IntoResponse for Problem {
    /// The document follows in [`finish`].
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the document of an answer that is an error. `instance` names this occurrence.
pub(crate) fn finish(mut response: Response, instance: impl FnOnce() -> String) -> Response {
    let status = response.status();
    if (!status.is_client_error() && !status.is_server_error()) || crate::pages::is_page(&response) {
        return response;
    }
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if is_problem(&response) => return response,
        None => of_status(status),
    };
    let mut finished = Response::new(Body::from(problem.document(&instance())));
    *finished.status_mut() = problem.code.status();
    // Such as `Allow`.
    *finished.headers_mut() = std::mem::take(response.headers_mut());
    let headers = finished.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    if let Some(secs) = problem.retry_after_secs {
        headers.insert(header::RETRY_AFTER, secs.into());
    }
    for (name, value) in &problem.headers {
        headers.insert(name, value.clone());
    }
    finished
}

fn is_problem(response: &Response) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == MEDIA_TYPE)
}

/// The problem of an answer that the framework made.
fn of_status(status: StatusCode) -> Problem {
    let code = Code::ALL.iter().copied().find(|code| code.status() == status);
    let code = code.unwrap_or(if status.is_client_error() { Code::Malformed } else { Code::Internal });
    Problem::new(code, code.meaning())
}

/// Documents the problems that any route may answer with. A route names it in its `responses`, and the ones of its own beside it.
pub(crate) struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<ApiResponse>> {
        let reference = |status: String| {
            let name = component(&status);
            (status, RefOr::Ref(Ref::from_response_name(name)))
        };
        by_status().into_keys().map(reference).collect()
    }
}

/// The codes of each status.
fn by_status() -> BTreeMap<String, Vec<Code>> {
    let mut of_status: BTreeMap<String, Vec<Code>> = BTreeMap::new();
    for code in Code::ALL {
        of_status.entry(code.status().as_u16().to_string()).or_default().push(*code);
    }
    of_status
}

/// The name in the document of the problems with a status.
fn component(status: &str) -> String {
    format!("Problem{status}")
}

/// Adds what [`Problems`] refers to: each status once, and not once for each route.
pub(super) fn add_to(document: &mut utoipa::openapi::OpenApi) {
    document.merge(ProblemSchema::openapi());
    let components = document.components.get_or_insert_default();
    for (status, codes) in by_status() {
        components.responses.insert(component(&status), RefOr::T(response(&codes)));
    }
}

fn response(codes: &[Code]) -> ApiResponse {
    let described: Vec<_> =
        codes.iter().map(|code| format!("`{}`: {}", code.as_str(), code.meaning())).collect();
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(described.join(" ")).content(MEDIA_TYPE, content).build()
}

/// The schema that [`Problems`] refers to.
#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(Document)))]
struct ProblemSchema;
