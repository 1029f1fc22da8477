//! One message broker's life: started from the programs on this machine, killed and started again on the same port as a test likes.

use std::{
    fs::OpenOptions,
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{Failure, Place, keeper::STOP_LIMIT, server::free_port, wait_until};

/// RabbitMQ takes up to ten seconds; this is for a machine that is busy compiling.
const LIMIT: Duration = Duration::from_secs(120);
const CONNECT: Duration = Duration::from_secs(2);
/// Lines of the broker's log in a failure.
const LINES_SHOWN: usize = 20;
/// The user that may do everything.
const USER: &str = "backroom";
/// Each broker listens to this machine only, and lives for one test.
const PASSWORD: &str = "geheim";

/// A broker's product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BrokerKind {
    /// Redis with an append-only file that is written before an answer.
    Redis,
    /// NATS with JetStream in files.
    Nats,
    /// Mosquitto, which writes its messages to a file when it is asked to stop.
    Mosquitto,
    /// RabbitMQ, one node.
    RabbitMq,
}

impl BrokerKind {
    /// Every product.
    pub const ALL: [Self; 4] = [Self::Redis, Self::Nats, Self::Mosquitto, Self::RabbitMq];

    /// The package of Debian that has it.
    pub const fn package(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Nats => "nats-server",
            Self::Mosquitto => "mosquitto",
            Self::RabbitMq => "rabbitmq-server",
        }
    }

    /// Its program, where it is installed.
    pub fn program(self) -> Option<PathBuf> {
        match self {
            // The one in PATH changes accounts, and asks systemd.
            Self::RabbitMq => {
                Some("/usr/lib/rabbitmq/bin/rabbitmq-server".into()).filter(|path: &PathBuf| path.is_file())
            }
            Self::Redis | Self::Nats | Self::Mosquitto => find(self.package()),
        }
    }

    const fn scheme(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Nats => "nats",
            Self::Mosquitto => "mqtt",
            Self::RabbitMq => "amqp",
        }
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/local/sbin", "/usr/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|program| program.is_file())
}

/// A broker, running or not. It wants a user and a password.
#[derive(Debug)]
pub struct Broker {
    kind: BrokerKind,
    program: PathBuf,
    place: Place,
    port: u16,
    /// Of RabbitMQ: for the nodes of a cluster, and for the program that lists them.
    inner_ports: (u16, u16),
    arguments: Vec<String>,
    /// The leader of a group of processes: RabbitMQ is several.
    process: Option<Child>,
}

impl Broker {
    /// Starts one, and returns when it takes connections.
    pub fn start(kind: BrokerKind) -> Result<Self, Failure> {
        Self::start_with(kind, &[])
    }

    /// The same with more arguments on its command line.
    pub fn start_with(kind: BrokerKind, arguments: &[String]) -> Result<Self, Failure> {
        let Some(program) = kind.program() else {
            return Err(Failure::new(
                format!("the program {} is not installed", kind.package()),
                "run the tests by `cargo xtask test`, which installs it, or install the package by hand",
            ));
        };
        let place = Place::make()?;
        let port = || free_port().map_err(|error| Failure::of_machine("a port", &error));
        let inner_ports = (port()?, port()?);
        let arguments = arguments.to_vec();
        let mut broker = Self { kind, program, place, port: port()?, inner_ports, arguments, process: None };
        broker.prepare()?;
        broker.start_again()?;
        Ok(broker)
    }

    /// Starts one that was stopped or killed, on its port and with what it had stored.
    pub fn start_again(&mut self) -> Result<(), Failure> {
        assert!(self.process.is_none(), "it runs already");
        let of_machine = |error| Failure::of_machine("the broker", &error);
        let log = OpenOptions::new().create(true).append(true).open(self.log()).map_err(of_machine)?;
        let mut command = self.command();
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(of_machine)?)
            .stderr(log);
        let process = self.process.insert(command.spawn().map_err(of_machine)?);
        self.place.keeper.watch_group(process)?;
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let started = wait_until(LIMIT, || match process.try_wait() {
            Ok(Some(status)) => Some(Err(status)),
            Ok(None) | Err(_) => TcpStream::connect_timeout(&address, CONNECT).ok().map(|_| Ok(())),
        });
        match started {
            Some(Ok(())) => Ok(()),
            Some(Err(status)) => Err(self.failed(&format!("ended at once ({status})"))),
            None => Err(self.failed(&format!("took no connections within {LIMIT:?}"))),
        }
    }

    /// `kill -9` of all its processes.
    pub fn kill(&mut self) -> Result<(), Failure> {
        self.signal("KILL")
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) -> Result<(), Failure> {
        self.signal("TERM")
    }

    /// Its port on this machine.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its product.
    pub fn kind(&self) -> BrokerKind {
        self.kind
    }

    /// Where a client finds it, with the password.
    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// The same through another port, as that of a proxy.
    pub fn url_at(&self, port: u16) -> String {
        let path = if self.kind == BrokerKind::RabbitMq { "/%2f" } else { "" };
        format!("{}://{USER}:{PASSWORD}@127.0.0.1:{port}{path}", self.kind.scheme())
    }

    /// What it has written so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log())
            .unwrap_or_else(|error| format!("(its log cannot be read: {error})"))
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.place.folder()
    }

    fn log(&self) -> PathBuf {
        self.place.folder().join("log")
    }

    fn prepare(&self) -> Result<(), Failure> {
        let folder = self.place.folder().display();
        let write = |name: &str, text: &str| {
            self.place
                .write(&self.place.folder().join(name), text)
                .map_err(|error| Failure::of_machine(name, &error))
        };
        match self.kind {
            BrokerKind::Redis => {
                write("users", &format!("user default off\nuser {USER} on >{PASSWORD} ~* &* +@all\n"))
            }
            BrokerKind::Nats => Ok(()),
            BrokerKind::Mosquitto => {
                write("passwords", &format!("{USER}:{PASSWORD}\n"))?;
                let mut hash = self.place.command(find("mosquitto_passwd").unwrap_or_default());
                let done =
                    hash.arg("-U").arg(self.place.folder().join("passwords")).stderr(Stdio::null()).status();
                done.map_err(|error| Failure::of_machine("mosquitto_passwd", &error))?;
                let port = self.port;
                write(
                    "mosquitto.conf",
                    &format!(
                        "listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {folder}/passwords\n\
                         persistence true\npersistence_location {folder}/\nmax_queued_messages 0\n"
                    ),
                )
            }
            BrokerKind::RabbitMq => {
                write("plugins", "[].\n")?;
                write(
                    "rabbitmq.conf",
                    &format!(
                        "listeners.tcp.1 = 127.0.0.1:{}\ndefault_user = {USER}\ndefault_pass = {PASSWORD}\n\
                         default_permissions.configure = .*\ndefault_permissions.read = .*\ndefault_permissions.write = .*\n\
                         log.console = true\nlog.console.level = warning\n",
                        self.port
                    ),
                )
            }
        }
    }

    fn command(&self) -> Command {
        let (folder, port) = (self.place.folder(), self.port.to_string());
        let mut command = match self.kind {
            BrokerKind::Redis => {
                let mut redis = self.place.command(&self.program);
                redis.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "yes"]);
                redis.args(["--appendfsync", "always", "--aclfile"]).arg(folder.join("users"));
                redis.arg("--dir").arg(folder);
                redis
            }
            BrokerKind::Nats => {
                let mut nats = self.place.command(&self.program);
                nats.args(["-a", "127.0.0.1", "-p", &port, "-js", "--user", USER, "--pass", PASSWORD]);
                nats.arg("-sd").arg(folder.join("jetstream"));
                nats
            }
            BrokerKind::Mosquitto => {
                let mut mosquitto = self.place.command(&self.program);
                mosquitto.arg("-c").arg(folder.join("mosquitto.conf"));
                mosquitto
            }
            BrokerKind::RabbitMq => {
                let (nodes, names) = (self.inner_ports.0.to_string(), self.inner_ports.1.to_string());
                // The program that lists the nodes (epmd) would otherwise be left behind, for every address of the machine. In one group
                // with the broker it ends with it.
                let script = r#"epmd -address 127.0.0.1 -port "$ERL_EPMD_PORT" & exec "$0" "$@""#;
                let mut rabbit = self.place.command("sh");
                rabbit.args(["-c", script]).arg(&self.program);
                rabbit.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "PATH"));
                rabbit.env("HOME", folder).env("LANG", "C.UTF-8");
                rabbit.env("RABBITMQ_CONF_ENV_FILE", "/dev/null");
                rabbit.env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"));
                rabbit.env("RABBITMQ_NODENAME", format!("backroom{port}@localhost"));
                rabbit.env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"));
                rabbit.env("RABBITMQ_LOG_BASE", folder.join("logs"));
                rabbit.env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"));
                rabbit.env("RABBITMQ_DIST_PORT", nodes);
                rabbit.env("ERL_EPMD_PORT", names).env("ERL_EPMD_ADDRESS", "127.0.0.1");
                // Only this machine, and no threads that wait by turning.
                let erlang = "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none";
                rabbit.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", erlang);
                rabbit
            }
        };
        command.args(&self.arguments);
        command
    }

    /// Signals the whole group, and waits for its end.
    fn signal(&mut self, name: &str) -> Result<(), Failure> {
        let mut process = self.process.take().expect("it runs");
        let group = format!("-{}", process.id());
        let sent = Command::new("kill").args(["-s", name, "--", &group]).status();
        let ended = wait_until(LIMIT, || process.try_wait().ok().flatten());
        // What the leader left behind holds the port.
        let group_is_gone = || {
            let alive = Command::new("kill").args(["-s", "0", "--", &group]).stderr(Stdio::null()).status();
            alive.is_ok_and(|status| !status.success()).then_some(())
        };
        let gone = wait_until(Duration::from_secs(5), group_is_gone);
        if gone.is_none() {
            // Programs that a stopped RabbitMQ leaves running.
            let _ = Command::new("kill").args(["-s", "KILL", "--", &group]).stderr(Stdio::null()).status();
            wait_until(STOP_LIMIT, group_is_gone);
        }
        sent.map_err(|error| Failure::of_machine("kill", &error))?;
        self.place.keeper.watch(None)?;
        match ended {
            Some(_) => Ok(()),
            None => Err(self.failed("did not end when it was asked to")),
        }
    }

    fn failed(&self, what: &str) -> Failure {
        let text = self.said();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n");
        Failure::new(
            format!("the broker {} {what}; it said:\n{last}", self.kind.package()),
            "correct what it complains of; see whether the temporary folder (TMPDIR) has space",
        )
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.process.is_some() {
            // A failure cannot be reported any more; the keeper ends what is left.
            let _ = self.kill();
        }
    }
}
