//! Requests to other programs: callbacks, and the endpoints of kinds.
//!
//! A name is resolved once, every address is checked, and the connection goes to one of these addresses. A redirect is not
//! followed. Start reading at [`send::send`].

pub(crate) mod address;
pub(crate) mod retry_after;
pub(crate) mod send;
pub(crate) mod signature;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer};

use self::address::Allowed;
use crate::{Error, ErrorKind};

/// How requests go out.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    pub(crate) https_only: bool,
    /// The ports that are allowed; empty for any.
    pub(crate) ports: Vec<u16>,
    /// Addresses that are allowed although they are not public.
    pub(crate) allowed: Vec<Allowed>,
    pub(crate) connect_timeout: Duration,
    /// From the name to the end of the answer.
    pub(crate) timeout: Duration,
    /// How much of the body of a successful answer is read; none for none of it.
    pub(crate) success_bytes_max: Option<usize>,
}

/// How many requests to one host there are at once.
pub(crate) struct Turns {
    of_host: usize,
    /// The hosts with connections.
    hosts: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Turns {
    pub(crate) fn new(of_host: usize) -> Self {
        Self { of_host, hosts: Mutex::default() }
    }

    /// A connection to the host; none if it has as many as it may have.
    pub(crate) fn take(&self, host: &str) -> Option<OwnedSemaphorePermit> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let turns = hosts.get(host).and_then(Weak::upgrade).unwrap_or_else(|| {
            hosts.retain(|_, turns| turns.strong_count() > 0);
            let turns = Arc::new(Semaphore::new(self.of_host));
            hosts.insert(host.to_owned(), Arc::downgrade(&turns));
            turns
        });
        turns.try_acquire_owned().ok()
    }
}

/// TLS that checks the receiver's certificate, by the authorities that this machine trusts and these.
pub(crate) fn tls(more: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, Error> {
    let failed = |what: &str| Error::new(ErrorKind::Invalid, format!("send requests: {what}"));
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in more {
        let added = roots.add(certificate.clone());
        added.map_err(|error| failed("a certificate to trust is damaged").caused_by(error))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed("set up TLS").caused_by(error))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
