//! Which endpoint does the jobs of a kind, and how it is called.

use std::{fmt, sync::Arc, time::Duration};

use backroom_core::{RetryPolicy, breaker::BreakerPolicy, http_url::HttpUrl};
use tokio_rustls::rustls::{ClientConfig, pki_types::CertificateDer};

use crate::{
    Error, ErrorKind, RunKey, SigningSecret,
    http_out::{Way, address::Allowed, tls},
};

/// The endpoint of a kind: see [`Worker::endpoint`](crate::Worker::endpoint).
#[derive(Debug, Clone)]
#[must_use = "a specification does nothing until a worker gets it"]
pub struct EndpointSpec {
    url: String,
    pub(super) secrets: Vec<SigningSecret>,
    allows_unsigned: bool,
    pub(super) source: String,
    connect_timeout: Duration,
    timeout: Duration,
    pub(super) report_within: Duration,
    pub(super) snooze: Duration,
    pub(super) connections: usize,
    pub(super) output_bytes_max: usize,
    pub(super) breaker: BreakerPolicy,
    pub(super) retry: RetryPolicy,
    roots: Vec<CertificateDer<'static>>,
    call_back: Option<CallBack>,
}

/// Where an endpoint reports later, and the token of a run.
#[derive(Clone)]
struct CallBack {
    server: String,
    token: Arc<dyn Fn(RunKey) -> Option<String> + Send + Sync>,
}

impl fmt::Debug for CallBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallBack").field("server", &self.server).finish_non_exhaustive()
    }
}

impl EndpointSpec {
    /// The endpoint at this URL, `https` or `http`. Its host may be private: the URL comes from you, not from a job. It is resolved
    /// once for each request, and a redirect is not followed.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            secrets: Vec::new(),
            allows_unsigned: false,
            source: "backroom".into(),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(60),
            report_within: Duration::from_secs(3600),
            snooze: Duration::from_secs(60),
            connections: 16,
            output_bytes_max: backroom_core::bounds::JSON_BYTES_MAX,
            breaker: BreakerPolicy { failures: 10, pause: Duration::from_secs(30) },
            retry: RetryPolicy::DEFAULT,
            roots: Vec::new(),
            call_back: None,
        }
    }

    /// Adds a secret that requests are signed with. With several, each request has a signature by each.
    pub fn secret(mut self, secret: SigningSecret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// Sends requests without a signature while there is no secret.
    pub fn allow_unsigned(mut self) -> Self {
        self.allows_unsigned = true;
        self
    }

    /// The `source` of the events: a URI that names this installation. Default `backroom`.
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }

    /// How long to wait for a connection; default 5 s.
    pub fn connect_timeout(mut self, span: Duration) -> Self {
        self.connect_timeout = span;
        self
    }

    /// How long a whole request may take, from the name to the end of the answer; default 60 s. A job's own timeout counts, too.
    pub fn timeout(mut self, span: Duration) -> Self {
        self.timeout = span;
        self
    }

    /// How long an endpoint that answered with 202 has to report; default 1 h. A job's own timeout counts, too. The run keeps its
    /// slot for so long.
    pub fn report_within(mut self, span: Duration) -> Self {
        self.report_within = span;
        self
    }

    /// How long 429 and 503 postpone a job if the answer does not say; default 60 s.
    pub fn snooze(mut self, span: Duration) -> Self {
        self.snooze = span;
        self
    }

    /// No request of this kind begins while the worker has so many to its host; default 16. Those of its other endpoints count, too. The
    /// slots of the queue are the other limit.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Largest body of an answer; default 1 MiB. A larger one discards the job, because its work is done.
    pub fn output_bytes_max(mut self, bytes: usize) -> Self {
        self.output_bytes_max = bytes;
        self
    }

    /// After so many failures in a row no job of the kind is claimed for the pause; then one job shows whether the endpoint is back.
    /// A failure is an answer of 5xx but 503, or no answer. Each worker counts by itself, and `explain` names those that pause. Default
    /// 10 failures, 30 s.
    pub fn breaker(mut self, failures: u32, pause: Duration) -> Self {
        self.breaker = BreakerPolicy { failures, pause };
        self
    }

    /// The retry policy of its jobs that have none of their own.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Trusts one more certificate authority: its certificate in DER.
    pub fn trust(mut self, certificate: impl Into<Vec<u8>>) -> Self {
        self.roots.push(CertificateDer::from(certificate.into()));
        self
    }

    /// Where an endpoint reports later: the URL of a server, and what makes the token of a run. They are sent in the headers
    /// `backroom-server` and `backroom-token`.
    pub fn call_back_at(
        mut self,
        server: impl Into<String>,
        token: impl Fn(RunKey) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.call_back = Some(CallBack { server: server.into(), token: Arc::new(token) });
        self
    }

    pub(super) fn call_back(&self, run: RunKey) -> Option<(String, String)> {
        let CallBack { server, token } = self.call_back.as_ref()?;
        Some((server.clone(), token(run)?))
    }

    /// Refuses what cannot work.
    pub(super) fn check(&self, kind: &str) -> Result<(HttpUrl, Arc<ClientConfig>), Error> {
        let invalid = |why: &str| {
            Error::new(ErrorKind::Invalid, format!("set up the endpoint of kind {kind:?}: {why}"))
        };
        let url = HttpUrl::parse(&self.url).map_err(|error| invalid(&error.to_string()))?;
        if self.secrets.is_empty() && !self.allows_unsigned {
            return Err(invalid(
                "there is no secret to sign with; add one, or allow unsigned requests by name",
            ));
        }
        if self.timeout.is_zero() || self.connect_timeout.is_zero() || self.report_within.is_zero() {
            return Err(invalid("a timeout is zero"));
        }
        if self.connections == 0 || self.breaker.failures == 0 {
            return Err(invalid("connections and failures must be at least one"));
        }
        if self.source.is_empty() || self.source.contains(|c: char| !c.is_ascii_graphic()) {
            return Err(invalid("the source is no URI"));
        }
        Ok((url, tls(&self.roots)?))
    }

    /// How its requests go out.
    pub(super) fn way(&self, url: &HttpUrl) -> Way {
        Way {
            https_only: false,
            ports: Vec::new(),
            allowed: vec![Allowed::Host(url.host.clone())],
            connect_timeout: self.connect_timeout,
            timeout: self.timeout,
            success_bytes_max: Some(self.output_bytes_max),
        }
    }
}
