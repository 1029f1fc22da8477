//! One PostgreSQL server's life.

use std::{
    fs::OpenOptions,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use crate::{Failure, Place, keeper::STOP_LIMIT, place::random_word, wait_until};

/// A start takes about a second; this is for a machine that is busy compiling.
const LIMIT: Duration = Duration::from_secs(60);
/// To make or copy a database takes seconds; given up, its program leaves children behind that go on writing.
const PROGRAM_LIMIT: Duration = Duration::from_secs(300);
/// Below the ports that systems hand out by themselves: a client that calls a dead server could be given that server's
/// own port, and hold it when the server comes back.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Lines of the server's log in a failure.
const LINES_SHOWN: usize = 20;

const USER: &str = "backroom";

/// How the server lets its one user in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// By a password that cannot be guessed.
    Password,
    /// Without a password: for a server that only its own test knows.
    Trust,
}

/// A server, running or not.
#[derive(Debug)]
pub struct Server {
    place: Place,
    bin: PathBuf,
    settings: Vec<String>,
    port: u16,
    password: Option<String>,
    process: Option<Child>,
}

impl Server {
    /// A new database in `place`, not started yet, of the programs in `bin`. Settings are written as for `postgres -c`.
    pub fn make(place: Place, bin: PathBuf, settings: &[&str], login: Login) -> Result<Self, Failure> {
        let mut server = Self::empty(place, bin, settings)?;
        let mut initdb = server.command("initdb");
        // The machine's language must not decide how text sorts or what an error says.
        initdb.args(["--username", USER, "--encoding", "UTF8", "--locale", "C", "--no-sync", "--pgdata"]);
        initdb.arg(server.data());
        let password_file = server.place.folder().join("password");
        match login {
            Login::Trust => {
                initdb.args(["--auth", "trust"]);
                server.run(initdb)?;
            }
            Login::Password => {
                let password = random_word().map_err(|error| Failure::of_machine("/dev/urandom", &error))?;
                let in_file = |error| Failure::of_machine("the password file", &error);
                server.place.write(&password_file, &password).map_err(in_file)?;
                initdb.args(["--auth", "scram-sha-256", "--pwfile"]).arg(&password_file);
                server.run(initdb)?;
                std::fs::remove_file(&password_file).map_err(in_file)?;
                server.password = Some(password);
            }
        }
        Ok(server)
    }

    /// A server without a database: [`become_standby_of`](Self::become_standby_of) another next.
    pub fn empty(place: Place, bin: PathBuf, settings: &[&str]) -> Result<Self, Failure> {
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let port = free_port().map_err(|error| Failure::of_machine("a port", &error))?;
        Ok(Self { place, bin, settings, port, password: None, process: None })
    }

    /// Starts it, and returns when it takes connections.
    pub fn start(&mut self) -> Result<(), Failure> {
        assert!(self.process.is_none(), "it runs already");
        let process = self.spawn().map_err(|error| Failure::of_machine("the server", &error))?;
        let number = process.id().to_string();
        let process = self.process.insert(process);
        self.place.keeper.watch(Some(process))?;
        let pid_file = self.place.folder().join("data/postmaster.pid");
        let started = wait_until(LIMIT, || match process.try_wait() {
            Ok(Some(status)) => Some(Err(status)),
            // Failing to ask is not an answer: the file decides. Not there yet is the usual case while it starts.
            Ok(None) | Err(_) => {
                let text = std::fs::read_to_string(&pid_file).unwrap_or_default();
                says_ready(&text, &number).then_some(Ok(()))
            }
        });
        match started {
            Some(Ok(())) => Ok(()),
            Some(Err(status)) => Err(self.failed(&format!("ended at once ({status})"))),
            None => Err(self.failed(&format!("was not ready within {LIMIT:?}"))),
        }
    }

    /// `pg_ctl stop`: `immediate` as by a crash (no goodbye, recovery at the next start), `fast` in order.
    pub fn stop(&mut self, mode: &str) -> Result<(), Failure> {
        self.control(&["-m", mode, "-W", "stop"])?;
        self.over()
    }

    /// `kill -9` of the server's first process; its others notice and end by themselves.
    pub fn kill(&mut self) -> Result<(), Failure> {
        let process = self.process.as_mut().expect("it runs");
        process.kill().map_err(|error| Failure::of_machine("kill", &error))?;
        self.over()
    }

    /// `pg_ctl promote`: returns when the standby takes writes.
    pub fn promote(&self) -> Result<(), Failure> {
        self.control(&["-w", "promote"])
    }

    /// `pg_basebackup -R`: what lies here is thrown away for a copy that follows `primary`. Not started yet.
    pub fn become_standby_of(&mut self, primary: &Self) -> Result<(), Failure> {
        assert!(self.process.is_none(), "a running server cannot become another");
        let data = self.data();
        if data.exists() {
            std::fs::remove_dir_all(&data).map_err(|error| Failure::of_machine("its folder", &error))?;
        }
        let mut backup = self.command("pg_basebackup");
        backup.args(["--write-recovery-conf", "--checkpoint", "fast", "--no-sync", "--pgdata"]).arg(data);
        backup.args(["--dbname", &primary.url("postgres")]);
        self.run(backup)
    }

    /// Writes one of the files that the server reads, and answers its path. No other account may read it: the server insists
    /// on that for keys.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.data().join(name);
        self.place.write(&path, text).map_err(|error| Failure::of_machine(name, &error))?;
        Ok(path)
    }

    /// Where a program finds one of its databases.
    pub fn url(&self, database: &str) -> String {
        let password = self.password.as_ref().map(|password| format!(":{password}")).unwrap_or_default();
        format!("postgres://{USER}{password}@{}/{database}", self.address())
    }

    /// By its socket, where TLS is not spoken.
    pub fn socket_url(&self, database: &str) -> String {
        let folder = self.place.folder().display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{folder}:{}/{database}", self.port)
    }

    /// Host and port, as a part of a URL.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its programs.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// What PostgreSQL's own client needs to find the server. The password is not an argument: those are visible to
    /// every account.
    pub fn client_variables(&self) -> [(&'static str, String); 5] {
        [
            ("PGHOST", "127.0.0.1".to_owned()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", USER.to_owned()),
            ("PGPASSWORD", self.password.clone().unwrap_or_default()),
            ("PGDATABASE", "postgres".to_owned()),
        ]
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let mut postgres = self.command("postgres");
        postgres.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        postgres.arg("-c").arg(format!("unix_socket_directories={}", self.place.folder().display()));
        postgres.args(self.settings.iter().flat_map(|setting| ["-c", setting]));
        self.log_of(&mut postgres)?.spawn()
    }

    /// Waits for a server that was asked to end.
    fn over(&mut self) -> Result<(), Failure> {
        let mut process = self.process.take().expect("it runs");
        // Before it is waited for: the number may be another's after that.
        let watched = self.place.keeper.watch(None);
        self.ended("the server", &mut process)?;
        watched
    }

    fn control(&self, words: &[&str]) -> Result<(), Failure> {
        let mut control = self.command("pg_ctl");
        control.arg("-D").arg(self.data()).args(words);
        self.run(control)
    }

    /// Runs one of the server's programs to its end.
    fn run(&self, mut command: Command) -> Result<(), Failure> {
        let name =
            Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut process = self
            .log_of(&mut command)
            .and_then(Command::spawn)
            .map_err(|error| Failure::of_machine(&name, &error))?;
        match self.ended(&name, &mut process)? {
            status if status.success() => Ok(()),
            status => {
                Err(self.failed(&format!("could not be made or controlled: {name} ended with {status}")))
            }
        }
    }

    fn ended(&self, what: &str, process: &mut Child) -> Result<ExitStatus, Failure> {
        match wait_until(PROGRAM_LIMIT, || process.try_wait().transpose()) {
            Some(status) => status.map_err(|error| Failure::of_machine(what, &error)),
            None => {
                // The failure to report is that it did not end.
                _ = process.kill().and_then(|()| process.wait());
                Err(self
                    .failed(&format!("did not answer in time: {what} did not end within {PROGRAM_LIMIT:?}")))
            }
        }
    }

    fn log_of<'a>(&self, command: &'a mut Command) -> std::io::Result<&'a mut Command> {
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        Ok(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log))
    }

    fn failed(&self, what: &str) -> Failure {
        let log = self.log();
        let text = std::fs::read_to_string(&log)
            .unwrap_or_else(|error| format!("(its log cannot be read: {error})"));
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n");
        Failure::new(
            format!("the PostgreSQL server {what}; it said:\n{last}"),
            "correct what it complains of; see whether the temporary folder (TMPDIR) has space",
        )
    }

    fn command(&self, program: &str) -> Command {
        self.place.command(self.bin.join(program))
    }

    fn data(&self) -> PathBuf {
        self.place.folder().join("data")
    }

    fn log(&self) -> PathBuf {
        self.place.folder().join("log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.place.keeper.begin_end();
        let Some(process) = &mut self.process else { return };
        if wait_until(STOP_LIMIT, || process.try_wait().ok().flatten()).is_none() {
            // Only when the keeper was killed under us. A failure cannot be reported any more.
            _ = process.kill().and_then(|()| process.wait());
        }
    }
}

/// The server's own answer, in the eighth line of its `postmaster.pid`. To try a connection would prove less: on a
/// port lost to another program, that program would answer. The file of a killed server before it bears another number.
fn says_ready(postmaster_pid: &str, number: &str) -> bool {
    let mut lines = postmaster_pid.lines().map(str::trim);
    lines.next() == Some(number) && lines.nth(6) == Some("ready")
}

pub(crate) fn free_port() -> std::io::Result<u16> {
    let chance = u16::from_str_radix(&random_word()?[..4], 16).unwrap_or_default();
    let start = PORTS.start + chance % (PORTS.end - PORTS.start);
    let mut ports = (start..PORTS.end).chain(PORTS);
    let free = ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.ok_or_else(|| std::io::Error::other("none is free"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_is_ready_only_by_its_own_answer() {
        let starting = "4711\n/tmp/data\n1700000000\n5432\n/tmp\n127.0.0.1\n  1234 0\nstarting\n";
        let ready = starting.replace("starting", "ready   ");
        assert!(!says_ready(starting, "4711"));
        assert!(says_ready(&ready, "4711"));
        assert!(!says_ready(&ready, "4712"), "that of a server before it");
        assert!(!says_ready("4711\n/tmp/data\n", "4711"));
    }
}
