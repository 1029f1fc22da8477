//! One request to any URL, over a connection of its own.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Response, Uri,
    header::{HOST, HeaderValue, USER_AGENT},
};

use super::{address::Address, connection::Connection};
use crate::terminal::Problem;

/// Most bytes of an answer.
const BYTES_MAX: usize = 1024 * 1024;

/// Sends a request to the URL that it names, and reads the answer whole. The caller limits the time.
pub(crate) async fn exchange(request: Request<Bytes>) -> Result<Response<Bytes>, Problem> {
    let url = request.uri().clone();
    let failed = |why: &dyn std::fmt::Display| Problem::new(format_args!("call {url}"), why);
    let base = format!(
        "{}://{}",
        url.scheme_str().unwrap_or_default(),
        url.authority().map_or("", |host| host.as_str())
    );
    let address = Address::parse(&base)?;
    let mut request = request.map(Full::new);
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse::<Uri>().map_err(|error| failed(&error))?;
    let host = HeaderValue::from_str(&address.authority()).map_err(|error| failed(&error))?;
    request.headers_mut().insert(HOST, host);
    let agent = HeaderValue::from_static(concat!("backroom/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().entry(USER_AGENT).or_insert(agent);
    let mut connection = Connection::open(&address).await.map_err(|error| failed(&error))?;
    let (parts, body) = connection.send(request).await?.into_parts();
    let body = Limited::new(body, BYTES_MAX).collect().await.map_err(|error| failed(&error))?;
    Ok(Response::from_parts(parts, body.to_bytes()))
}
