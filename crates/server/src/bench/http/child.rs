//! The server of a measurement: this program in a second process.

use std::{process::Stdio, sync::Arc, time::Duration};

use backroom::clock::{Clock as _, SystemClock};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

use crate::{remote::Remote, terminal::Problem};

/// How long the server may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that runs until it is stopped or dropped.
pub(super) struct ServerProcess {
    child: Child,
    remote: Arc<Remote>,
    /// Read until the end: a full pipe would stop the server.
    log: Lines<BufReader<ChildStderr>>,
}

impl ServerProcess {
    /// Starts a server on a free port, with a worker for the no-op jobs.
    pub(super) async fn start(store: &str, slots: u32) -> Result<Self, Problem> {
        let doing = "start a server for the measurement";
        let program = std::env::current_exe().map_err(|error| Problem::new(doing, &error))?;
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--bench-slots", &slots.to_string()])
            .env("BACKROOM_STORE", store)
            .env_remove("BACKROOM_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Problem::new(doing, &error))?;
        let stderr = child.stderr.take().expect("invariant: stderr is a pipe");
        let mut log = BufReader::new(stderr).lines();
        let clock = SystemClock::default();
        let url = tokio::select! {
            url = listening(&mut log) => url?,
            () = clock.sleep(PATIENCE) => return Err(Problem::new(doing, &"it does not listen")),
        };
        let remote = Arc::new(Remote::new(&url, None)?);
        Ok(Self { child, remote, log })
    }

    pub(super) fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// Asks it to stop and waits for its end.
    pub(super) async fn stop(mut self) -> Result<(), Problem> {
        let doing = "stop the server of the measurement";
        #[cfg(unix)]
        if let Some(pid) =
            self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
        {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
                .map_err(|error| Problem::new(doing, &error))?;
        }
        let ended = async {
            while let Ok(Some(_)) = self.log.next_line().await {}
            self.child.wait().await
        };
        let clock = SystemClock::default();
        tokio::select! {
            ended = ended => match ended {
                Ok(status) if status.success() => Ok(()),
                Ok(status) => Err(Problem::new(doing, &status)),
                Err(error) => Err(Problem::new(doing, &error)),
            },
            () = clock.sleep(PATIENCE) => Err(Problem::new(doing, &"it does not end")),
        }
    }
}

/// The URL that the server reports, after what it logs before.
async fn listening(log: &mut Lines<BufReader<ChildStderr>>) -> Result<String, Problem> {
    let mut last = String::from("it wrote nothing");
    while let Ok(Some(line)) = log.next_line().await {
        if let Some(url) = line.strip_prefix("listening on ") {
            return Ok(url.to_owned());
        }
        last = line;
    }
    Err(Problem::new("start a server for the measurement", &last))
}
