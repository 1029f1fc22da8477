//! Why a TLS handshake failed, with a remedy.
//!
//! The causes are settings of the URL, of the server or of a certificate authority, and none of them goes away by
//! itself. A connection that broke during a handshake is not among them.

use std::{error::Error as _, io};

use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

/// The remedy, as the end of a message; `None` for a failure that is not about TLS.
pub(crate) fn reason(error: &tokio_postgres::Error) -> Option<&'static str> {
    let cause = error.source()?;
    if let Some(broken) = cause.downcast_ref::<io::Error>() {
        return broken.get_ref()?.downcast_ref::<rustls::Error>().map(remedy);
    }
    // The driver has no type for this error.
    (cause.to_string() == "server does not support TLS").then_some(
        "; TLS is switched off there: set ssl=on in postgresql.conf, or go unencrypted with sslmode=disable where \
         no other host can read along",
    )
}

fn remedy(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(why) => certificate_remedy(why),
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::DecryptError,
        ) => {
            "; it refuses our client certificate: sslcert= and sslkey= must name one that has not expired, from the \
             authority in its ssl_ca_file"
        }
        _ => "; TLS with this server does not come about: see its log for what it says",
    }
}

fn certificate_remedy(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "; the server's certificate has expired: renew it there"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "; the server's certificate is not valid yet: check this machine's clock"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "; the server's certificate is for another name: use in the URL the host it names, or sslmode=verify-ca to \
             check only who issued it"
        }
        CertificateError::UnknownIssuer => {
            "; the server's certificate is from an authority that is not trusted: name the right one's file with \
             sslrootcert="
        }
        _ => "; the server's certificate is not accepted",
    }
}
