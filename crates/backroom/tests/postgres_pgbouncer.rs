//! The PostgreSQL store through PgBouncer in transaction mode, where a connection is nobody's: no LISTEN, no prepared
//! statements, no settings.

#![cfg(all(feature = "postgres", unix))]
// A panic is how a test reports.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod postgres_support;

use std::{
    net::TcpListener,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use backroom::{
    clock::{Clock, SystemClock},
    testing::conformance,
};
use postgres_support::{Schemas, server, variable};

/// A PgBouncer in front of the tests' server, with so few connections that clients must share them.
struct PgBouncer {
    process: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl PgBouncer {
    async fn start() -> Self {
        let config: tokio_postgres::Config = server().parse().unwrap();
        let tokio_postgres::config::Host::Tcp(host) = &config.get_hosts()[0] else {
            panic!("the tests' server listens on TCP")
        };
        let (user, database) = (config.get_user().unwrap(), config.get_dbname().unwrap());
        let password = String::from_utf8(config.get_password().unwrap_or_default().to_vec()).unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("users"), format!("\"{user}\" \"{password}\"\n")).unwrap();
        std::fs::write(
            at("ini"),
            format!(
                "[databases]\n{database} = host={host} port={} password={password}\n\
                 [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
                 auth_type = trust\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 2\n\
                 max_client_conn = 100\nlogfile = {}\n",
                config.get_ports()[0],
                at("users").display(),
                at("log").display(),
            ),
        )
        .unwrap();
        let mut command = Command::new(variable("BACKROOM_TEST_PGBOUNCER"));
        command.arg("-q").arg(at("ini")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        run_as_nobody_if_root(&mut command, folder.path());
        let process = command.spawn().expect("PgBouncer starts");
        let url = format!("postgres://{user}@127.0.0.1:{port}/{database}");
        let log = at("log");
        let bouncer = Self { process, url, _folder: folder };
        bouncer.ready(&log).await;
        bouncer
    }

    async fn ready(&self, log: &Path) {
        for _ in 0..100 {
            if tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await.is_ok() {
                return;
            }
            SystemClock::default().sleep(Duration::from_millis(50)).await;
        }
        panic!("PgBouncer is not ready; it said:\n{}", std::fs::read_to_string(log).unwrap_or_default());
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// PgBouncer refuses to run as root.
fn run_as_nobody_if_root(command: &mut Command, folder: &Path) {
    let number = |of: &str, name: &str| -> Option<u32> {
        let output = Command::new("id").args([of, name]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !is_root {
        return;
    }
    let (uid, gid) = (number("-u", "nobody").unwrap(), number("-g", "nobody").unwrap());
    for path in [folder.to_owned(), folder.join("users"), folder.join("ini")] {
        std::os::unix::fs::chown(&path, Some(uid), Some(gid)).unwrap();
    }
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    command.uid(uid).gid(gid);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_conforms_through_pgbouncer_in_transaction_mode() {
    let bouncer = PgBouncer::start().await;
    let schemas = Schemas::at(&bouncer.url, "&durability=relaxed&listen=false").await;
    conformance::conforms(async || schemas.fresh().await).await;
}

#[cfg(feature = "sqlx")]
#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_enqueued_in_transactions_of_sqlx_through_pgbouncer_in_transaction_mode() {
    use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

    let bouncer = PgBouncer::start().await;
    let schema = postgres_support::schema_name();
    let url = format!("{}?listen=false&schema={schema}", bouncer.url);
    let backroom = backroom::Backroom::open(&url).await.unwrap();
    // More connections than the server has for them, so that each meets what another left behind.
    let options: PgConnectOptions = bouncer.url.parse().unwrap();
    let options = options.extra_float_digits(None);
    let mut shops = Vec::new();
    for _ in 0..4 {
        shops.push(PgConnection::connect_with(&options).await.unwrap());
    }
    for round in 0..5 {
        for shop in &mut shops {
            let mut transaction = shop.begin().await.unwrap();
            let job = backroom.enqueue_untyped("work", backroom::Json::null()).tag(format!("round {round}"));
            job.within_sqlx(&mut transaction).await.unwrap();
            transaction.commit().await.unwrap();
        }
    }
    let jobs: u64 = backroom.counts().await.unwrap().iter().map(|count| count.jobs).sum();
    assert_eq!(jobs, 20);
}
