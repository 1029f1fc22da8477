//! TLS: certificates that are read, replaced while the server runs, and refused.

use std::path::PathBuf;

use axum::routing::get;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};

use super::*;

/// A certificate for `localhost`, in two files of a folder.
struct Pair {
    folder: tempfile::TempDir,
    certificate: rustls_pki_types::CertificateDer<'static>,
}

impl Pair {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut pair = Self { folder, certificate: Vec::new().into() };
        pair.renew();
        pair
    }

    /// Writes a new certificate over the old one.
    fn renew(&mut self) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        std::fs::write(self.path("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(self.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
        self.certificate = made.cert.der().clone();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn set(&self, settings: &mut config::ServerSettings) {
        settings.tls.certificate = Some(self.path("cert.pem"));
        settings.tls.key = Some(self.path("key.pem"));
    }

    /// Connects as a client that trusts this certificate only.
    async fn connect(&self, server: &Serving, alpn: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(client)).connect(name, server.connect().await).await
    }
}

fn routes() -> Router<AppState> {
    Router::new().route("/hello", get(async || "hello"))
}

#[tokio::test]
async fn a_client_chooses_http_1_or_2_by_alpn_and_is_asked_to_stay_with_tls() {
    let pair = Pair::new();
    let server = Serving::start(routes(), |settings| pair.set(settings)).await;
    let mut stream = pair.connect(&server, &[b"http/1.1"]).await.unwrap();
    stream.write_all(b"GET /hello HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("strict-transport-security: max-age="),
        "{answer}"
    );
    let stream = pair.connect(&server, &[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    // A client without TLS gets no answer.
    assert!(!server.sent(b"GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n").await.starts_with("HTTP/"));
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_cut() {
    let pair = Pair::new();
    let server = Serving::start(routes(), |settings| {
        pair.set(settings);
        settings.limits.header_time = Duration::from_millis(200);
    })
    .await;
    assert_eq!(server.sent(b"\x16\x03\x01").await, "");
    server.stop().await;
}

#[tokio::test]
async fn a_certificate_that_was_renewed_is_used_after_a_reload() {
    let mut pair = Pair::new();
    let server = Serving::start(routes(), |settings| pair.set(settings)).await;
    pair.connect(&server, &[]).await.unwrap();
    pair.renew();
    assert!(pair.connect(&server, &[]).await.is_err(), "the server has not read the new one yet");
    let given = config::Given {
        flags: [("tls.certificate", "cert.pem"), ("tls.key", "key.pem")]
            .map(|(key, name)| (key, config::Raw::Text(pair.path(name).display().to_string())))
            .to_vec(),
        ..Default::default()
    };
    crate::serve::reload::reload(&server.state, &given);
    pair.connect(&server, &[]).await.unwrap();
    // A broken file leaves the certificate that works.
    std::fs::write(pair.path("key.pem"), "nonsense").unwrap();
    crate::serve::reload::reload(&server.state, &given);
    pair.connect(&server, &[]).await.unwrap();
    server.stop().await;
}

#[test]
fn files_that_are_no_certificate_or_do_not_belong_together_are_refused() {
    let (one, other) = (Pair::new(), Pair::new());
    let refused = |certificate: PathBuf, key: PathBuf| {
        let tls = config::Tls { certificate: Some(certificate), key: Some(key) };
        super::super::tls::acceptor(&tls).err().expect("refused").to_string()
    };
    std::fs::write(one.path("empty.pem"), "").unwrap();
    assert!(refused(one.path("empty.pem"), one.path("key.pem")).contains("no certificate in PEM"));
    assert!(refused(one.path("cert.pem"), one.path("empty.pem")).contains("private key"));
    assert!(refused(one.path("cert.pem"), other.path("key.pem")).contains("cert.pem"));
}
