//! One PostgreSQL server that a test may kill, copy and promote.

use std::{
    fs::{OpenOptions, Permissions},
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{ended, keeper::Keeper, until};
use crate::postgres_support::variable;

/// A start takes about a second; this is for a machine that is busy compiling.
const LIMIT: Duration = Duration::from_secs(30);
/// Below the ports that systems hand out by themselves: a client that calls a dead server could be given that server's
/// own port, and hold it when the server comes back.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// What differs from PostgreSQL's own defaults, and why.
const SETTINGS: [&str; 4] = [
    "listen_addresses=127.0.0.1",
    // They protect against the loss of the machine; a killed server loses nothing without them.
    "fsync=off",
    "full_page_writes=off",
    // A standby asks again sooner for what it missed while the primary was being made.
    "wal_retrieve_retry_interval=200ms",
];

pub(crate) struct Server {
    folder: tempfile::TempDir,
    bin: PathBuf,
    account: Option<(u32, u32)>,
    port: u16,
    process: Option<Child>,
    keeper: Keeper,
}

impl Server {
    /// A new database, not started yet.
    pub(crate) async fn make() -> Self {
        let server = Self::empty();
        let mut initdb = server.command("initdb");
        initdb.args(["--username", "backroom", "--auth", "trust", "--encoding", "UTF8", "--locale", "C"]);
        initdb.args(["--no-sync", "--pgdata"]).arg(server.data());
        server.run(initdb).await;
        server
    }

    /// A folder without a database: [`become_standby_of`](Self::become_standby_of) another next.
    pub(crate) fn empty() -> Self {
        let bin = PathBuf::from(variable("BACKROOM_TEST_PG_BIN"));
        let folder = tempfile::tempdir().unwrap();
        let account = account();
        if let Some((uid, gid)) = account {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        let keeper = Keeper::start(command("sh".into(), &folder, account), folder.path());
        Self { folder, bin, account, port: free_port(), process: None, keeper }
    }

    /// Host and port, as a part of a URL.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://backroom@{}/postgres", self.address())
    }

    /// By its socket, where TLS is not spoken: for what a test asks beside the store it tests.
    pub(crate) fn socket_url(&self) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://backroom@{folder}:{}/postgres", self.port)
    }

    /// Writes one of the files that the server reads, and answers its path. Nobody else may read it: the server insists
    /// on that for keys.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.data().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        if let Some((uid, gid)) = self.account {
            chown(&path, Some(uid), Some(gid)).unwrap();
        }
        path
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns when the server takes connections.
    pub(crate) async fn start(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let mut postgres = self.command("postgres");
        postgres.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        postgres.arg("-c").arg(format!("unix_socket_directories={}", self.folder.path().display()));
        postgres.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        postgres.stdout(log.try_clone().unwrap()).stderr(log);
        let (pid_file, log) = (self.data().join("postmaster.pid"), self.log());
        let process = self.process.insert(postgres.spawn().unwrap());
        self.keeper.watch(Some(process));
        let number = process.id().to_string();
        until("the server is ready", LIMIT, async || {
            if let Some(status) = process.try_wait().unwrap() {
                panic!("the server ended ({status}); it said:\n{}", tail(&log));
            }
            // Its own word, in the eighth line. The file of a killed one before it bears another number.
            let text = std::fs::read_to_string(&pid_file).unwrap_or_default();
            let mut lines = text.lines().map(str::trim);
            (lines.next() == Some(number.as_str()) && lines.nth(6) == Some("ready")).then_some(())
        })
        .await;
    }

    /// `pg_ctl -m immediate stop`: no goodbye, recovery at the next start.
    pub(crate) async fn stop_at_once(&mut self) {
        self.control(&["-m", "immediate", "-W", "stop"]).await;
        self.over().await;
    }

    /// `kill -9` of the server's first process; its others notice and end by themselves.
    pub(crate) async fn kill(&mut self) {
        self.process.as_mut().expect("it runs").kill().unwrap();
        self.over().await;
    }

    /// `pg_ctl promote`: returns when the standby takes writes.
    pub(crate) async fn promote(&self) {
        self.control(&["-w", "promote"]).await;
    }

    /// `pg_basebackup -R`: what lies here is thrown away for a copy that follows `primary`. Not started yet.
    pub(crate) async fn become_standby_of(&mut self, primary: &Self) {
        assert!(self.process.is_none(), "a running server cannot become another");
        if self.data().exists() {
            std::fs::remove_dir_all(self.data()).unwrap();
        }
        let mut backup = self.command("pg_basebackup");
        backup.args(["--write-recovery-conf", "--checkpoint", "fast", "--no-sync", "--pgdata"]);
        backup.arg(self.data()).args(["--dbname", &primary.url()]);
        self.run(backup).await;
    }

    async fn over(&mut self) {
        let mut process = self.process.take().expect("it runs");
        // Before it is waited for: the number may be another's after that.
        self.keeper.watch(None);
        ended("the server", &mut process, LIMIT).await;
    }

    async fn control(&self, words: &[&str]) {
        let mut control = self.command("pg_ctl");
        control.arg("-D").arg(self.data()).args(words);
        self.run(control).await;
    }

    async fn run(&self, mut command: Command) {
        let log = OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let status = ended("the server's program", &mut command.spawn().unwrap(), LIMIT).await;
        assert!(status.success(), "{command:?} ended with {status}:\n{}", tail(&self.log()));
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn command(&self, program: &str) -> Command {
        command(self.bin.join(program), &self.folder, self.account)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.keeper.begin_end();
        if let Some(mut process) = self.process.take() {
            _ = process.wait();
        }
    }
}

fn command(program: PathBuf, folder: &tempfile::TempDir, account: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some((uid, gid)) = account {
        command.uid(uid).gid(gid);
    }
    command
}

/// PostgreSQL refuses to run as root.
fn account() -> Option<(u32, u32)> {
    let number = |words: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(words).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    if number(&["-u"])? != 0 {
        return None;
    }
    ["postgres", "nobody"].into_iter().find_map(|name| Some((number(&["-u", name])?, number(&["-g", name])?)))
}

fn free_port() -> u16 {
    let entropy = backroom::ids::Ids::from_entropy().lease().0.as_u128();
    let count = u128::from(PORTS.end - PORTS.start);
    let start = u16::try_from(entropy % count).expect("below the count");
    let mut ports = (PORTS.start + start..PORTS.end).chain(PORTS);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port is free")
}

fn tail(log: &std::path::Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
