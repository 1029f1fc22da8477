//! What an operator chooses for callbacks.

use std::{collections::BTreeMap, time::Duration};

use backroom_core::{Invalid, http_url::HttpUrl};
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::{
    Error, ErrorKind, SigningSecret,
    http_out::{Way, address::Allowed},
};

/// How a worker sends callbacks: see [`Worker::callbacks`](crate::Worker::callbacks).
///
/// Without a secret, callbacks are not sent: a receiver could not tell them from those of a stranger. Allow that with
/// [`allow_unsigned`](Self::allow_unsigned).
#[derive(Debug, Clone)]
pub struct CallbackOptions {
    pub(super) secrets: Vec<SigningSecret>,
    pub(super) secrets_of: BTreeMap<String, Vec<SigningSecret>>,
    pub(super) allows_unsigned: bool,
    pub(super) allowed: Vec<Allowed>,
    pub(super) ports: Vec<u16>,
    pub(super) source: String,
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
    pub(super) slots: u32,
    pub(super) connections_per_host: usize,
    pub(super) https_only: bool,
    pub(super) roots: Vec<CertificateDer<'static>>,
}

impl Default for CallbackOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl CallbackOptions {
    /// Signed callbacks to public addresses, by `https` or `http`.
    pub fn new() -> Self {
        Self {
            secrets: Vec::new(),
            secrets_of: BTreeMap::new(),
            allows_unsigned: false,
            allowed: Vec::new(),
            ports: Vec::new(),
            source: "backroom".into(),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(20),
            slots: 8,
            connections_per_host: 4,
            https_only: false,
            roots: Vec::new(),
        }
    }

    /// Adds a secret that each callback is signed with, unless its receiver has secrets of its own. To replace a secret, add the
    /// new one before the old one, and remove the old one when every receiver has the new one.
    #[must_use]
    pub fn secret(mut self, secret: SigningSecret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// Adds a secret for callbacks to one origin, such as `https://hooks.example.com`, in place of the general ones.
    pub fn secret_of(mut self, origin: &str, secret: SigningSecret) -> Result<Self, Invalid> {
        let url = HttpUrl::parse(origin)?;
        if url.path_and_query != "/" {
            return Err(Invalid::new(
                "origin",
                format!("{origin:?} has a path; a secret is for a whole host"),
            ));
        }
        self.secrets_of.entry(url.origin()).or_default().push(secret);
        Ok(self)
    }

    /// Sends callbacks without a signature where there is no secret.
    #[must_use]
    pub fn allow_unsigned(mut self) -> Self {
        self.allows_unsigned = true;
        self
    }

    /// Allows an address that is not public: a network (`10.1.0.0/16`), an address (`127.0.0.1`) or a host name
    /// (`hooks.internal`), which may then resolve to any address.
    pub fn allow_address(mut self, address: &str) -> Result<Self, Invalid> {
        self.allowed.push(Allowed::parse(address)?);
        Ok(self)
    }

    /// Allows only these ports; default any.
    #[must_use]
    pub fn ports(mut self, ports: impl Into<Vec<u16>>) -> Self {
        self.ports = ports.into();
        self
    }

    /// Refuses `http`, which sends the content of callbacks in clear text.
    #[must_use]
    pub fn https_only(mut self) -> Self {
        self.https_only = true;
        self
    }

    /// The `source` of the events: a URI that names this installation, such as `https://jobs.example.com`; default `backroom`.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }

    /// How long to wait for a connection; default 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, span: Duration) -> Self {
        self.connect_timeout = span;
        self
    }

    /// How long a whole request may take, from the name to the status; default 20 s.
    #[must_use]
    pub fn timeout(mut self, span: Duration) -> Self {
        self.timeout = span;
        self
    }

    /// How many callbacks this worker sends at once; default 8.
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = slots;
        self
    }

    /// How many of them to one host; default 4. So a host that does not answer leaves slots for the others.
    #[must_use]
    pub fn connections_per_host(mut self, connections: usize) -> Self {
        self.connections_per_host = connections;
        self
    }

    /// Trusts one more certificate authority, besides those that this machine trusts: its certificate in DER.
    #[must_use]
    pub fn trust(mut self, certificate: impl Into<Vec<u8>>) -> Self {
        self.roots.push(CertificateDer::from(certificate.into()));
        self
    }

    /// Refuses what cannot work.
    pub(super) fn check(&self) -> Result<(), Error> {
        let invalid = |why: &str| Err(Error::new(ErrorKind::Invalid, format!("send callbacks: {why}")));
        if self.secrets.is_empty() && self.secrets_of.is_empty() && !self.allows_unsigned {
            return invalid(
                "there is no secret to sign them with; add one, or allow unsigned callbacks by name",
            );
        }
        if self.timeout.is_zero() || self.connect_timeout.is_zero() {
            return invalid("a timeout is zero");
        }
        if self.connections_per_host == 0 || self.slots == 0 {
            return invalid("slots and connections per host must be at least one");
        }
        if self.source.is_empty() || self.source.contains(|c: char| !c.is_ascii_graphic()) {
            return invalid("the source is no URI");
        }
        Ok(())
    }

    /// The secrets for a receiver; none if there are none and that is allowed.
    pub(super) fn secrets_for(&self, url: &HttpUrl) -> &[SigningSecret] {
        self.secrets_of.get(&url.origin()).unwrap_or(&self.secrets)
    }

    /// How requests go out.
    pub(super) fn way(&self) -> Way {
        Way {
            https_only: self.https_only,
            ports: self.ports.clone(),
            allowed: self.allowed.clone(),
            connect_timeout: self.connect_timeout,
            timeout: self.timeout,
            success_bytes_max: None,
        }
    }
}
