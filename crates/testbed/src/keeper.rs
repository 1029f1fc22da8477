//! Ends a server and removes its folder, whatever becomes of this program.
//!
//! A program that is killed drops nothing, and a server left behind would hold its memory and disk
//! for ever. So a small shell waits on a pipe from us: the pipe closes when we close it and when we die, and
//! either way the shell stops the server that it was given last. There is no second way for a server to end with its
//! program, so this one is exercised by every run.

use std::{
    io::Write,
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use crate::{Failure, wait_until};

/// The signals of a closed terminal reach the whole group of processes; the keeper must outlive them to remove
/// the folder. An empty line says that no server runs. It asks for an immediate shutdown (SIGQUIT: what the server would
/// save is thrown away with it), and after about 10 s (200 checks) kills it.
const SCRIPT: &str = r#"
cd /
trap '' INT TERM HUP
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
    kill -QUIT "$pid"
    checks=0
    while kill -0 "$pid" && [ "$checks" -lt 200 ]; do sleep 0.05; checks=$((checks + 1)); done
    kill -KILL "$pid"
fi
rm -rf "$1"
"#;

/// Above the script's own bound, so that giving up means the shell itself is gone.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(crate) struct Keeper {
    shell: Child,
    /// `None` once the end has been asked for.
    pipe: Option<ChildStdin>,
}

impl Keeper {
    /// `shell` is a command for `sh` that runs as the server's account, in the folder: it can then signal and remove nothing
    /// that is not the server's. Fails when that account cannot enter the folder.
    pub(crate) fn start(mut shell: Command, folder: &std::path::Path) -> std::io::Result<Self> {
        shell.args(["-c", SCRIPT, "keeper"]).arg(folder);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut shell = shell.spawn()?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// From here on this is the server to stop, or none.
    pub(crate) fn watch(&mut self, server: Option<&Child>) -> Result<(), Failure> {
        self.write(&server.map(|server| server.id().to_string()).unwrap_or_default())
    }

    /// The same for a server that leads a group of processes: all of them are stopped.
    pub(crate) fn watch_group(&mut self, leader: &Child) -> Result<(), Failure> {
        self.write(&format!("-{}", leader.id()))
    }

    fn write(&mut self, line: &str) -> Result<(), Failure> {
        match self.pipe.as_mut().map(|pipe| writeln!(pipe, "{line}")) {
            Some(Ok(())) => Ok(()),
            _ => Err(Failure::new("the shell that watches over the server has ended", "run it again")),
        }
    }

    /// Has the server stopped. The caller waits for its child next: until then the system keeps the process number
    /// for it, so the signal can hit no other process.
    pub(crate) fn begin_end(&mut self) {
        self.pipe = None;
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.begin_end();
        // Without an end to the wait, a folder that cannot be removed would hold up a finished run.
        wait_until(STOP_LIMIT, || self.shell.try_wait().ok().flatten());
    }
}
