//! One PostgreSQL server's life: made in a temporary folder, started on a free port, stopped and removed.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::keeper::{Keeper, STOP_LIMIT};
use super::packed;
use super::programs::{Programs, Server};
use super::{BIN_VARIABLE, PGBOUNCER_VARIABLE, URL_VARIABLE};
use crate::clock;
use crate::failure::Failure;
use crate::{say, system};

/// A start takes about a second; this is for a machine that is busy compiling.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Another program can take the port between our finding it free and the server's asking for it.
const PORTS_TRIED_MAX: u32 = 3;

const USER: &str = "backroom";

/// What differs from PostgreSQL's own defaults for tests, and why.
pub(crate) const SETTINGS_FOR_TESTS: [&str; 4] = [
    // Nobody but this machine.
    "listen_addresses=127.0.0.1",
    // Tests run side by side, each with a pool of its own.
    "max_connections=200",
    // These two protect against power loss, which a server to be thrown away need not survive: they would only
    // slow it. A killed server loses nothing by them. `synchronous_commit` stays on, as the store relies on it.
    "fsync=off",
    "full_page_writes=off",
];

pub(crate) struct Cluster {
    server: Child,
    /// Its drop, after ours, waits until the folder is gone.
    keeper: Keeper,
    port: u16,
    password: String,
    bin: PathBuf,
    pgbouncer: PathBuf,
}

impl Cluster {
    /// Returns when the server accepts connections. Settings are written as for `postgres -c`.
    pub(crate) fn start(programs: Programs, settings: &[&str]) -> Result<Self, Failure> {
        let account = Account::for_server()?;
        let folder = make_folder(account).map_err(|error| {
            Failure::new(
                format!("the PostgreSQL server's temporary folder could not be made: {error}"),
                "make room in the system's temporary folder, or set TMPDIR to another",
            )
        })?;
        // Before anything is put into the folder, so that a failure below leaves nothing behind.
        let mut keeper =
            Keeper::of_folder(&folder, account).map_err(|error| cannot_enter(&folder, &error))?;

        let bin = match programs.server {
            Server::Installed(bin) => bin,
            Server::Packed(archive) => packed::unpack(&archive, &folder, account)?,
        };
        let password = random_word().map_err(|error| broken("/dev/urandom", &error))?;
        initdb(&bin, &folder, account, &password)?;
        let (server, port) = start_on_a_free_port(&bin, settings, &folder, account, &mut keeper)?;
        Ok(Self { server, keeper, port, password, bin, pgbouncer: programs.pgbouncer })
    }

    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            (URL_VARIABLE, self.url("postgres")),
            (BIN_VARIABLE, self.bin.display().to_string()),
            (PGBOUNCER_VARIABLE, self.pgbouncer.display().to_string()),
        ]
    }

    /// Where a program finds one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// The command line client that came with the server, or else one in PATH.
    pub(crate) fn client_program(&self) -> PathBuf {
        let packaged = self.bin.join("psql");
        if packaged.is_file() { packaged } else { "psql".into() }
    }

    /// What the client needs to find the server. The password is not an argument: those are for everybody to see.
    pub(crate) fn client_variables(&self) -> [(&'static str, String); 5] {
        [
            ("PGHOST", "127.0.0.1".to_owned()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", USER.to_owned()),
            ("PGPASSWORD", self.password.clone()),
            ("PGDATABASE", "postgres".to_owned()),
        ]
    }

    /// Without the password: a build server's log has many readers.
    pub(crate) fn description(&self) -> String {
        format!("PostgreSQL {} of {} listens on 127.0.0.1:{}", self.version(), self.bin.display(), self.port)
    }

    /// As the server names it: `18.4`.
    pub(crate) fn version(&self) -> String {
        version_of(&self.bin)
    }

    /// For another server beside this one.
    pub(crate) fn pgbouncer(&self) -> &Path {
        &self.pgbouncer
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        end(&mut self.server, &mut self.keeper);
    }
}

fn end(server: &mut Child, keeper: &mut Keeper) {
    keeper.begin_end();
    if clock::wait_until(STOP_LIMIT, || server.try_wait().ok().flatten()).is_some() {
        return;
    }
    // Only when the keeper was killed under us.
    say::line(&format!("  the PostgreSQL server {} did not stop and is killed", server.id()));
    if let Err(error) = server.kill().and_then(|()| server.wait()) {
        say::line(&format!("  it could not be: {error}"));
    }
}

/// Whom the server runs as. PostgreSQL refuses to run as root, so that a hole in it is not a hole in the machine.
#[derive(Clone, Copy)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// `None`: as whoever runs us. As root: as PostgreSQL's own account, or as nobody where there is none.
    fn for_server() -> Result<Option<Self>, Failure> {
        if !system::is_root() {
            return Ok(None);
        }
        let number =
            |of: &str, name: &str| system::answer_of("id", &[of, name]).and_then(|text| text.parse().ok());
        let account = ["postgres", "nobody"].into_iter().find_map(|name| {
            let (uid, gid) = (number("-u", name)?, number("-g", name)?);
            Some(Self { uid, gid })
        });
        match account {
            Some(account) => Ok(Some(account)),
            None => Err(Failure::new(
                "PostgreSQL does not run as root, and there is no account `postgres` or `nobody` to run it as",
                "add one (`useradd --system postgres`), or run xtask as an ordinary user",
            )),
        }
    }

    /// The process is ours and its number is the server's, as no program stands between that changes accounts.
    pub(crate) fn apply(account: Option<Self>, command: &mut Command) {
        if let Some(Self { uid, gid }) = account {
            command.uid(uid).gid(gid);
        }
    }

    pub(crate) fn give(account: Option<Self>, path: &Path) -> std::io::Result<()> {
        account.map_or(Ok(()), |Self { uid, gid }| chown(path, Some(uid), Some(gid)))
    }
}

/// Closed to others: it holds the server's socket, and for a moment its password.
fn make_folder(account: Option<Account>) -> std::io::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("backroom-pg-{}", &random_word()?[..8]));
    DirBuilder::new().mode(0o700).create(&folder)?;
    Account::give(account, &folder)?;
    Ok(folder)
}

fn initdb(bin: &Path, folder: &Path, account: Option<Account>, password: &str) -> Result<(), Failure> {
    let password_file = folder.join("password");
    write_password(&password_file, account, password).map_err(|error| broken("the password file", &error))?;

    let mut initdb = Command::new(bin.join("initdb"));
    initdb.args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-sync"]);
    // The machine's language must not decide how text sorts or what an error says.
    initdb.args(["--locale", "C"]);
    initdb.arg("--pgdata").arg(folder.join("data")).arg("--pwfile").arg(&password_file);
    // The server's account may not be let into the folder one happens to stand in.
    initdb.current_dir(folder).stdin(Stdio::null());
    Account::apply(account, &mut initdb);

    let output = initdb.output().map_err(|error| broken("initdb", &error))?;
    if !output.status.success() {
        return Err(Failure::new(
            format!(
                "initdb ended with {}:\n{}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            ),
            "see whether the temporary folder (TMPDIR) has room, and whether initdb runs by hand",
        ));
    }
    std::fs::remove_file(&password_file).map_err(|error| broken("the password file", &error))
}

fn write_password(path: &Path, account: Option<Account>, password: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(password.as_bytes())?;
    Account::give(account, path)
}

fn start_on_a_free_port(
    bin: &Path,
    settings: &[&str],
    folder: &Path,
    account: Option<Account>,
    keeper: &mut Keeper,
) -> Result<(Child, u16), Failure> {
    let log = folder.join("server.log");
    for _ in 0..PORTS_TRIED_MAX {
        let port = free_port().map_err(|error| broken("a port", &error))?;
        let mut server = spawn(bin, settings, folder, account, port, &log)
            .map_err(|error| broken("the server", &error))?;
        if let Err(failure) = keeper.watch(&server) {
            end(&mut server, keeper);
            return Err(failure);
        }
        let seen = clock::wait_until(START_LIMIT, || match server.try_wait() {
            Ok(Some(_)) => Some(Start::Ended),
            // Failing to ask is not an answer: the file decides.
            Ok(None) | Err(_) => is_ready(&folder.join("data")).then_some(Start::Ready),
        });
        match seen {
            Some(Start::Ready) => return Ok((server, port)),
            // Perhaps it lost the port to somebody.
            Some(Start::Ended) => {}
            None => {
                end(&mut server, keeper);
                return Err(start_failed(format!("was not ready within {} s", START_LIMIT.as_secs()), &log));
            }
        }
    }
    Err(start_failed(format!("ended at once, {PORTS_TRIED_MAX} times"), &log))
}

enum Start {
    Ready,
    Ended,
}

fn spawn(
    bin: &Path,
    settings: &[&str],
    folder: &Path,
    account: Option<Account>,
    port: u16,
    log: &Path,
) -> std::io::Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    let mut server = Command::new(bin.join("postgres"));
    server.arg("-D").arg(folder.join("data")).args(["-p", &port.to_string()]);
    server.arg("-c").arg(format!("unix_socket_directories={}", folder.display()));
    server.args(settings.iter().flat_map(|setting| ["-c", setting]));
    server.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Account::apply(account, &mut server);
    server.spawn()
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The server's own word, in the eighth line of its `postmaster.pid`. To try a connection would prove less: on a
/// port lost to another program, that program would answer.
fn is_ready(data: &Path) -> bool {
    // Not there yet is the usual case while it starts.
    std::fs::read_to_string(data.join("postmaster.pid")).is_ok_and(|text| says_ready(&text))
}

fn says_ready(postmaster_pid: &str) -> bool {
    postmaster_pid.lines().nth(7).is_some_and(|line| line.trim() == "ready")
}

fn start_failed(what: String, log: &Path) -> Failure {
    let text =
        std::fs::read_to_string(log).unwrap_or_else(|error| format!("(its log cannot be read: {error})"));
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(20)..].join("\n");
    Failure::new(
        format!("the PostgreSQL server {what}; it said:\n{last}"),
        "correct what it complains of, or set BACKROOM_TEST_POSTGRES to a server of yours",
    )
}

/// The keeper's start is the first thing done in the folder by the server's account, and so where it shows.
fn cannot_enter(folder: &Path, error: &std::io::Error) -> Failure {
    // Still empty, and no keeper to remove it.
    let removed = std::fs::remove_dir(folder);
    let left = removed.err().map(|error| format!(" (nor could it be removed: {error})")).unwrap_or_default();
    Failure::new(
        format!("the PostgreSQL server's account cannot work in {}: {error}{left}", folder.display()),
        "set TMPDIR to a folder that every account may enter, such as /tmp",
    )
}

fn broken(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(
        format!("the PostgreSQL server could not be made: {what}: {error}"),
        "see whether the machine is out of room, memory or processes",
    )
}

/// The third word of `postgres (PostgreSQL) 18.4`.
fn version_of(bin: &Path) -> String {
    let said = system::answer_of(&bin.join("postgres").display().to_string(), &["--version"]);
    let version = said.as_deref().and_then(|said| said.split_whitespace().nth(2));
    version.unwrap_or("of an unknown version").to_owned()
}

/// 32 hexadecimal digits nobody can guess.
fn random_word() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_is_ready_only_by_its_own_word() {
        let starting = "4711\n/tmp/data\n1700000000\n5432\n/tmp\n127.0.0.1\n  1234 0\nstarting\n";
        assert!(!says_ready(starting));
        assert!(says_ready(&starting.replace("starting", "ready   ")));
        assert!(!says_ready("4711\n/tmp/data\n"));
    }
}
