//! TLS by rustls: the certificate and its key, read at the start and at every reload.

use std::{path::Path, sync::Arc};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio_rustls::{TlsAcceptor, rustls};

use crate::{config::Tls, terminal::Problem};

/// What HTTP versions a client may choose, the preferred one first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What makes a connection a TLS one; none if the settings name no certificate.
pub(super) fn acceptor(tls: &Tls) -> Result<Option<TlsAcceptor>, Problem> {
    let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) else { return Ok(None) };
    let chain = chain(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| Problem::new(format_args!("read the private key {}", key.display()), &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| {
            let doing =
                format!("use the certificate {} with the key {}", certificate.display(), key.display());
            Problem::new(doing, &error)
        })?;
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let failed = |why: &dyn std::fmt::Display| {
        Problem::new(format_args!("read the certificate {}", path.display()), why)
    };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))?.collect();
    let chain = chain.map_err(|error| failed(&error))?;
    if chain.is_empty() {
        return Err(failed(&"the file holds no certificate in PEM"));
    }
    Ok(chain)
}
