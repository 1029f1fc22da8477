//! What a server answers: JSON, or a problem document.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::{Response, StatusCode, body::Incoming};
use serde::{Deserialize, de::DeserializeOwned};

use crate::terminal::Problem;

/// Most bytes of an answer: a page of a thousand jobs, each with its args and output, is below it for all but the largest.
const BYTES_MAX: usize = 256 * 1024 * 1024;
/// Most bytes of a problem document.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;

/// The JSON of a successful answer. An answer without a body reads as `null`.
pub(super) async fn json<T: DeserializeOwned>(
    path: &str,
    response: Response<Incoming>,
) -> Result<T, Problem> {
    let body = whole(path, response).await?;
    let text: &[u8] = if body.is_empty() { b"null" } else { &body };
    serde_json::from_slice(text).map_err(|error| {
        Problem::new(format_args!("read the answer for {path}"), &error)
            .hint("is it a Backroom server, and of this version?")
    })
}

/// The body of a successful answer.
pub(super) async fn whole(path: &str, response: Response<Incoming>) -> Result<Bytes, Problem> {
    body(path, response, BYTES_MAX).await
}

/// The fields of RFC 9457 that are shown.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    remedy: Option<String>,
}

/// What a refusal says.
pub(super) async fn problem(path: &str, response: Response<Incoming>) -> Result<Problem, Problem> {
    let status = response.status();
    let body = body(path, response, PROBLEM_BYTES_MAX).await?;
    Ok(refusal(path, status, &body))
}

/// The same of a body that was read.
pub(super) fn refusal(path: &str, status: StatusCode, body: &[u8]) -> Problem {
    let doing = format!("ask for {path}");
    let Ok(Document { title, detail, remedy }) = serde_json::from_slice(body) else {
        return Problem::new(doing, &format!("the server answers {status}"));
    };
    let detail = detail.unwrap_or(title);
    let message = detail.strip_prefix("failed to ").unwrap_or(&detail).to_owned();
    let problem = Problem::Failed { message, hint: remedy };
    match status {
        StatusCode::UNAUTHORIZED => problem.hint(
            "put a token into BACKROOM_TOKEN or a file (--token-file); `backroom tokens create` makes one",
        ),
        _ => problem,
    }
}

async fn body(path: &str, response: Response<Incoming>, bytes_max: usize) -> Result<Bytes, Problem> {
    let read = Limited::new(response.into_body(), bytes_max).collect().await;
    let read = read.map_err(|error| Problem::new(format_args!("read the answer for {path}"), &error))?;
    Ok(read.to_bytes())
}
