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
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

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

/// How many requests to each host there are at once. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<String, usize>>>);

/// One request to a host, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Turns,
    host: String,
}

impl Turns {
    /// A connection to the host; none if there are so many already.
    pub(crate) fn take(&self, host: &str, at_most: usize) -> Option<Turn> {
        let mut hosts = self.hosts();
        let count = hosts.get(host).copied().unwrap_or_default();
        if count >= at_most {
            return None;
        }
        hosts.insert(host.to_owned(), count + 1);
        Some(Turn { turns: self.clone(), host: host.to_owned() })
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut hosts = self.turns.hosts();
        match hosts.get_mut(&self.host) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(hosts.remove(&self.host)),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_to_a_host_are_bounded_together_and_those_to_another_host_apart() {
        let (turns, of_another_kind) = (Turns::default(), Turns::default());
        let shared = turns.clone();
        let first = turns.take("shop", 2).unwrap();
        let second = shared.take("shop", 2).unwrap();
        assert!(turns.take("shop", 2).is_none());
        assert!(turns.take("shop", 3).is_some() && turns.take("mail", 2).is_some());
        assert!(of_another_kind.take("shop", 2).is_some());
        drop(first);
        assert!(shared.take("shop", 2).is_some());
        drop(second);
        assert!(turns.hosts().is_empty());
    }
}
