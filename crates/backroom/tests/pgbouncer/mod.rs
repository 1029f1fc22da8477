//! A real PgBouncer in transaction mode in front of the tests' server, for the tests of the library and of the binary.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::{
    net::{TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// Looks for it to be ready, and the pause between two.
const LOOKS: u32 = 400;
const PAUSE: Duration = Duration::from_millis(25);

/// It has so few connections that clients must share them, and ends with this.
pub(crate) struct PgBouncer {
    process: Child,
    pub(crate) url: String,
    _folder: tempfile::TempDir,
}

impl PgBouncer {
    /// `program` is the bouncer's, `server` the URL of what it stands before. Returns when it takes connections.
    pub(crate) fn start(program: &str, server: &str) -> Self {
        let (base, _) = server.split_once('?').unwrap_or((server, ""));
        let (userinfo, place) = base.split_once("://").unwrap().1.rsplit_once('@').unwrap();
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let (address, database) = place.split_once('/').unwrap();
        let (host, server_port) = address.rsplit_once(':').unwrap_or((address, "5432"));
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("users"), format!("\"{user}\" \"{password}\"\n")).unwrap();
        std::fs::write(
            at("ini"),
            format!(
                "[databases]\n{database} = host={host} port={server_port} password={password}\n\
                 [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
                 auth_type = trust\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 2\n\
                 max_client_conn = 100\nlogfile = {}\n",
                at("users").display(),
                at("log").display(),
            ),
        )
        .unwrap();
        let mut command = Command::new(program);
        command.arg("-q").arg(at("ini")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        run_as_nobody_if_root(&mut command, folder.path());
        let process = command.spawn().expect("PgBouncer starts");
        let url = format!("postgres://{user}@127.0.0.1:{port}/{database}");
        let log = at("log");
        let bouncer = Self { process, url, _folder: folder };
        wait_for(port, &log);
        bouncer
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// PgBouncer does not notify when it is ready, so this polls.
fn wait_for(port: u16, log: &Path) {
    for _ in 0..LOOKS {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return;
        }
        thread::park_timeout(PAUSE);
    }
    panic!("PgBouncer is not ready; it said:\n{}", std::fs::read_to_string(log).unwrap_or_default());
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
