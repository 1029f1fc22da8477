//! Encrypted connections to a server that takes no others, and what is said when they do not come about.

#![cfg(all(feature = "postgres", unix))]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod postgres_support;
mod postgres_testbed;

use std::path::{Path, PathBuf};

use backroom::{
    Backroom, Context, Error, ErrorKind, Failure, Job, Worker,
    store::{
        Store,
        postgres::{PostgresOptions, PostgresStore, Visit},
    },
};
use backroom_testbed::Server;
use postgres_support::{client, schema_name};
use postgres_testbed::server;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use serde::{Deserialize, Serialize};

/// Who issues certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key.
    fn issue(&self, mut params: CertificateParams, name: &str, purpose: ExtendedKeyUsagePurpose) -> Pair {
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { certificate, key: key.serialize_pem() }
    }

    /// For `localhost` and no other name.
    fn server(&self) -> Pair {
        self.issue(localhost(), "localhost", ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn expired_server(&self) -> Pair {
        let mut params = localhost();
        (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
        self.issue(params, "localhost", ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn client(&self, user: &str) -> Pair {
        let params = CertificateParams::new(Vec::new()).unwrap();
        self.issue(params, user, ExtendedKeyUsagePurpose::ClientAuth)
    }
}

fn localhost() -> CertificateParams {
    CertificateParams::new(vec!["localhost".to_owned()]).unwrap()
}

struct Pair {
    certificate: String,
    key: String,
}

/// A server that takes nothing unencrypted but by its socket, and for the database `template1` wants a certificate that
/// names the user. With the files of a client of it.
struct Secured {
    server: Server,
    files: tempfile::TempDir,
}

impl Secured {
    async fn start(authority: &Authority, pair: Pair) -> Self {
        let mut server = server::make();
        server.write("server.crt", &pair.certificate).unwrap();
        server.write("server.key", &pair.key).unwrap();
        server.write("clients.crt", &authority.pem).unwrap();
        server.write("postgresql.auto.conf", "ssl = on\nssl_ca_file = 'clients.crt'\n").unwrap();
        server
            .write(
                "pg_hba.conf",
                "local all all trust\n\
             hostssl template1 all 127.0.0.1/32 trust clientcert=verify-full\n\
             hostssl all all 127.0.0.1/32 trust\n",
            )
            .unwrap();
        server.start().unwrap();
        let secured = Self { server, files: tempfile::tempdir().unwrap() };
        secured.file("ca.pem", &authority.pem);
        secured
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.at(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn at(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// A store of its own, reached under `host` with `parameters`.
    fn url(&self, host: &str, parameters: &str) -> String {
        self.url_of("postgres", host, parameters)
    }

    fn url_of(&self, database: &str, host: &str, parameters: &str) -> String {
        let (port, schema) = (self.server.port(), schema_name());
        format!("postgres://backroom@{host}:{port}/{database}?schema={schema}&{parameters}")
    }

    async fn refuses(&self, url: &str) -> Error {
        PostgresStore::connect(url, PostgresOptions::default()).await.expect_err("refused")
    }

    /// Whether each of our connections is encrypted, by the server's word.
    async fn encryption(&self) -> Vec<bool> {
        let asked = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE application_name = 'backroom' AND backend_type = 'client backend'";
        let rows = client(&self.server.socket_url("postgres")).await.query(asked, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

fn root(path: &Path) -> String {
    format!("sslrootcert={}", path.display())
}

/// That the message names what failed and what to do, to whom it concerns.
fn says(error: &Error, kind: ErrorKind, parts: &[&str]) {
    let text =
        format!("{error}: {}", std::error::Error::source(error).map(ToString::to_string).unwrap_or_default());
    assert_eq!(error.kind(), kind, "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[derive(Serialize, Deserialize)]
struct Double(u64);

impl Job for Double {
    const KIND: &'static str = "double";
    type Output = u64;
}

async fn double(job: Double, _: Context) -> Result<u64, Failure> {
    Ok(job.0 * 2)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_runs_jobs_over_encrypted_connections_to_a_verified_server() {
    let authority = Authority::new("ours");
    let secured = Secured::start(&authority, authority.server()).await;
    let verified = format!("sslmode=verify-full&{}", root(&secured.at("ca.pem")));
    let backroom = Backroom::open(&secured.url("localhost", &verified)).await.unwrap();
    let worker = Worker::new(&backroom).queue("default", 2).handle(double).start().await.unwrap();
    let job = backroom.enqueue(Double(21)).await.unwrap();
    assert_eq!(job.wait().await.unwrap(), 42);
    let encryption = secured.encryption().await;
    assert!(!encryption.is_empty() && encryption.iter().all(|is_on| *is_on), "{encryption:?}");
    worker.stop().await.unwrap();
    backroom.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_of_triggers_connects_as_a_store_does() {
    let authority = Authority::new("ours");
    let secured = Secured::start(&authority, authority.server()).await;
    let verified = format!("sslmode=verify-full&{}", root(&secured.at("ca.pem")));
    let visit = Visit::connect(&secured.url("localhost", &verified)).await.unwrap();
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert!(visit.client().query_one(sql, &[]).await.unwrap().get::<_, bool>(0));
    let error = Visit::connect(&secured.url("localhost", "sslmode=verify-full")).await.unwrap_err();
    says(&error, ErrorKind::Unusable, &["authority that is not trusted", "sslrootcert="]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_the_certificate_is_what_the_url_says() {
    let authority = Authority::new("ours");
    let secured = Secured::start(&authority, authority.server()).await;
    let ours = root(&secured.at("ca.pem"));
    let other = root(&secured.file("other.pem", &Authority::new("another").pem));

    // Encrypted whenever the server can: also without `sslmode`.
    for (host, parameters) in [
        ("127.0.0.1", "sslmode=require".to_owned()),
        ("127.0.0.1", "sslmode=prefer".to_owned()),
        ("127.0.0.1", format!("sslmode=require&{ours}")),
        ("127.0.0.1", format!("sslmode=verify-ca&{ours}")),
        ("localhost", format!("sslmode=verify-full&{ours}")),
    ] {
        let url = secured.url(host, &parameters);
        let store = PostgresStore::connect(&url, PostgresOptions::default()).await;
        let store = store.unwrap_or_else(|error| panic!("{parameters}: {error}"));
        let encryption = secured.encryption().await;
        assert!(!encryption.is_empty() && encryption.iter().all(|is_on| *is_on), "{parameters}");
        store.close().await.unwrap();
    }

    for mode in ["require", "verify-ca", "verify-full"] {
        let error = secured.refuses(&secured.url("localhost", &format!("sslmode={mode}&{other}"))).await;
        says(&error, ErrorKind::Unusable, &["authority that is not trusted", "sslrootcert="]);
    }
    // The machine's own authorities do not know ours.
    let error = secured.refuses(&secured.url("localhost", "sslmode=verify-full")).await;
    says(&error, ErrorKind::Unusable, &["authority that is not trusted", "sslrootcert="]);

    let error = secured.refuses(&secured.url("127.0.0.1", &format!("sslmode=verify-full&{ours}"))).await;
    says(&error, ErrorKind::Unusable, &["for another name", "verify-ca"]);

    let error = secured.refuses(&secured.url("localhost", "sslmode=disable")).await;
    says(&error, ErrorKind::Unusable, &["without encryption", "sslmode=require", "no encryption"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_refused_by_whoever_looks_at_it() {
    let authority = Authority::new("ours");
    let secured = Secured::start(&authority, authority.expired_server()).await;
    let ours = root(&secured.at("ca.pem"));
    for mode in ["verify-ca", "verify-full"] {
        let error = secured.refuses(&secured.url("localhost", &format!("sslmode={mode}&{ours}"))).await;
        says(&error, ErrorKind::Unusable, &["has expired", "renew it"]);
    }
    // As libpq: whom one does not ask for papers may have old ones.
    let url = secured.url("localhost", "sslmode=require");
    PostgresStore::connect(&url, PostgresOptions::default()).await.unwrap().close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_shown_to_a_server_that_wants_one() {
    let authority = Authority::new("ours");
    let secured = Secured::start(&authority, authority.server()).await;
    let verified = format!("sslmode=verify-full&{}", root(&secured.at("ca.pem")));
    let with = |name: &str, pair: &Pair| {
        let certificate = secured.file(&format!("{name}.crt"), &pair.certificate);
        let key = secured.file(&format!("{name}.key"), &pair.key);
        let ours = format!("{verified}&sslcert={}&sslkey={}", certificate.display(), key.display());
        secured.url_of("template1", "localhost", &ours)
    };

    let url = with("backroom", &authority.client("backroom"));
    PostgresStore::connect(&url, PostgresOptions::default()).await.unwrap().close().await.unwrap();

    let error = secured.refuses(&secured.url_of("template1", "localhost", &verified)).await;
    says(&error, ErrorKind::Unusable, &["client certificate", "sslcert=", "sslkey="]);

    let error = secured.refuses(&with("other", &authority.client("other"))).await;
    says(&error, ErrorKind::Unusable, &["client certificate"]);

    let error = secured.refuses(&with("stranger", &Authority::new("another").client("backroom"))).await;
    says(&error, ErrorKind::Unusable, &["client certificate", "ssl_ca_file"]);

    let mut foreign = authority.client("backroom");
    foreign.key = authority.client("backroom").key;
    let error = secured.refuses(&with("mismatched", &foreign)).await;
    says(&error, ErrorKind::Unusable, &["sslcert=", "sslkey="]);
}

#[tokio::test]
async fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let missing = folder.path().join("missing.pem");
    let (empty, missing) = (empty.display(), missing.display());
    for parameters in [
        format!("sslmode=verify-full&sslrootcert={empty}"),
        format!("sslmode=verify-full&sslrootcert={missing}"),
        format!("sslmode=require&sslcert={missing}&sslkey={missing}"),
        format!("sslmode=require&sslcert={empty}&sslkey={missing}"),
    ] {
        let url = format!("postgres://backroom@localhost:1/postgres?{parameters}");
        let error = PostgresStore::connect(&url, PostgresOptions::default()).await.expect_err("refused");
        says(&error, ErrorKind::Unusable, &["read", ".pem"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_refused_where_encryption_is_asked_for() {
    let mut server = server::make();
    server.write("postgresql.auto.conf", "ssl = off\n").unwrap();
    server.start().unwrap();
    let url = format!("{}?sslmode=require&schema={}", server::url(&server), schema_name());
    let error = PostgresStore::connect(&url, PostgresOptions::default()).await.expect_err("refused");
    says(&error, ErrorKind::Unusable, &["TLS is switched off", "ssl=on", "sslmode=disable"]);
}
