//! Requests to the APIs of clouds: one client, bounded answers, errors in words.

use std::{path::Path, sync::Arc, time::Duration};

use backroom::clock::Clock;
use object_store::{
    BackoffConfig, ClientOptions, RetryConfig,
    client::{HttpClient, HttpConnector, HttpRequest},
};
use reqwest::header::HeaderMap;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::SourceError;

/// Longest time of one request, with its answer.
const REQUEST_MAX: Duration = Duration::from_secs(60);
/// Longest time in which a connection is made.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Largest answer. A page of a listing has a thousand names of at most 1 KiB each, which may be percent-encoded.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How often a request is repeated that failed for a moment.
const REPEATS: u32 = 4;
/// First wait before a request is repeated; each further one is twice as long.
const REPEAT_AFTER: Duration = Duration::from_millis(250);
/// Longest text of an answer that an error repeats.
const SAID_BYTES_MAX: usize = 300;

/// A client of HTTP APIs. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Cloud {
    client: reqwest::Client,
    clock: Arc<dyn Clock>,
}

/// An answer of an API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as text. What is no UTF-8 is replaced: only names may have it, and those are percent-encoded.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Cloud {
    /// Trusts the authorities that this machine trusts, and those of a file in PEM.
    pub(crate) fn new(ca_file: Option<&Path>, clock: &Arc<dyn Clock>) -> Result<Self, SourceError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(ca_file)?)
            .connect_timeout(CONNECT_MAX)
            .timeout(REQUEST_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("backroom/", env!("CARGO_PKG_VERSION")))
            .build();
        let client = client.map_err(|error| SourceError::new(format!("prepare requests: {error}")))?;
        Ok(Self { client, clock: Arc::clone(clock) })
    }

    /// Sends what `sign` makes, again if it fails for a moment. `sign` is called for each try, because a signature has a time.
    pub(crate) async fn send<F: Future<Output = Result<HttpRequest, SourceError>>>(
        &self,
        what: &str,
        sign: impl Fn() -> F,
    ) -> Result<Answer, SourceError> {
        let mut wait = REPEAT_AFTER;
        for tries_left in (0..=REPEATS).rev() {
            match self.once(sign().await?).await {
                Ok(answer) if !is_passing(answer.status) || tries_left == 0 => return Ok(answer),
                Ok(_) => {}
                Err(error) if tries_left == 0 || is_lasting(&error) => return Err(unreachable(what, &error)),
                Err(_) => {}
            }
            self.clock.sleep(wait).await;
            wait *= 2;
        }
        Err(SourceError::new(format!("{what}: it was not tried")))
    }

    async fn once(&self, request: HttpRequest) -> Result<Answer, reqwest::Error> {
        let (parts, body) = request.into_parts();
        let body = body.as_bytes().cloned().unwrap_or_default();
        let mut request = self.client.request(parts.method, parts.uri.to_string()).headers(parts.headers);
        if !body.is_empty() {
            request = request.body(body);
        }
        let mut response = request.send().await?;
        let mut answer = Answer {
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body: Vec::new(),
        };
        while let Some(chunk) = response.chunk().await? {
            if answer.body.len() + chunk.len() > ANSWER_BYTES_MAX {
                // Cut: it cannot be read, and the reader says so.
                break;
            }
            answer.body.extend_from_slice(&chunk);
        }
        Ok(answer)
    }

    /// What gets credentials through the same client.
    pub(crate) fn connector(&self) -> Connector {
        Connector(self.client.clone())
    }
}

/// Makes the clients of `object_store` ours, so that they do TLS as the rest of the program does.
#[derive(Debug)]
pub(crate) struct Connector(reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

/// How `object_store` repeats requests for credentials: not for long, because the frame tries again.
pub(crate) fn repeats() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: REPEAT_AFTER,
        max_backoff: Duration::from_secs(2),
        ..BackoffConfig::default()
    };
    RetryConfig { backoff, max_retries: 2, retry_timeout: Duration::from_secs(15) }
}

fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, SourceError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let unreadable = |why: &dyn std::fmt::Display| {
            SourceError::new(format!("read the certificates in {}: {why}", path.display()))
                .remedy("`ca_file` names a file of certificates in PEM")
        };
        let found = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?;
        for certificate in found {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            roots.add(certificate).map_err(|error| unreadable(&error))?;
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| SourceError::new(format!("prepare TLS: {error}")))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Whether the service may answer otherwise in a moment.
fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// Whether repeating the request soon is in vain.
fn is_lasting(error: &reqwest::Error) -> bool {
    error.is_builder() || cause(error).contains("certificate")
}

/// The innermost cause, which says what really happened.
fn cause(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// No answer came.
fn unreachable(what: &str, error: &reqwest::Error) -> SourceError {
    let why = cause(error);
    let host = error.url().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let remedy = if why.contains("certificate") {
        "if the service has a certificate of an own authority, name that authority's file in `ca_file`"
    } else if error.is_timeout() {
        "the service did not answer in time; it is tried again in a while"
    } else if error.is_builder() {
        "correct `url` and `endpoint`"
    } else {
        "see whether the service runs, and whether `endpoint` and the network lead to it"
    };
    SourceError::new(format!("{what}: {host}: {why}")).remedy(remedy)
}

/// An answer of an API that is no success, without what could be a secret: its code and its text. Both are XML in the APIs that are
/// used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn of(answer: &Answer) -> Self {
        #[derive(Default, serde::Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        struct Said {
            code: String,
            message: String,
        }
        let text = answer.text();
        let said: Said = quick_xml::de::from_str(text.trim_start_matches('\u{feff}')).unwrap_or_default();
        // Azure repeats what was signed, and an id and a time, which differ each time.
        let message = said.message.lines().next().unwrap_or_default();
        Self {
            status: answer.status,
            code: said.code,
            message: backroom::core::bounds::clip(message.trim(), SAID_BYTES_MAX),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the service answers {}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

/// A request without a body.
pub(crate) fn request(method: &str, url: &reqwest::Url) -> Result<HttpRequest, SourceError> {
    let wrong = |why: String| SourceError::new(format!("make a request: {why}")).remedy("correct `url`");
    let mut request = HttpRequest::new(object_store::client::HttpRequestBody::empty());
    *request.method_mut() = method.parse().map_err(|_| wrong(format!("{method} is no method")))?;
    *request.uri_mut() = url.as_str().parse().map_err(|error| wrong(format!("{error}")))?;
    Ok(request)
}

/// A text as it may stand in XML.
#[cfg(feature = "azure-queue")]
pub(crate) fn xml_text(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, sign| {
        match sign {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // A reader of XML makes a line feed of it otherwise.
            '\r' => escaped.push_str("&#13;"),
            _ => escaped.push(sign),
        }
        escaped
    })
}
