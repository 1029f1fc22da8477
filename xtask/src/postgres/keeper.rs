//! Ends a server and removes its folder, whatever becomes of this program.
//!
//! A program that is killed drops nothing, and a server left behind would hold its memory and disk until somebody
//! notices. So a small shell waits on a pipe from us: the pipe closes when we close it and when we die, and
//! either way the shell stops the server we told it of. There is no second way to stop one, so this one is
//! exercised by every run.

use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use super::cluster::Account;
use crate::clock;
use crate::failure::Failure;

/// The signals of a closed terminal reach the whole group of processes; the keeper must outlive them to remove
/// the folder. It asks for a fast shutdown (SIGINT), and after about 10 s (200 looks) insists.
const SCRIPT: &str = r#"
cd /
trap '' INT TERM HUP
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
    kill -INT "$pid"
    looks=0
    while kill -0 "$pid" && [ "$looks" -lt 200 ]; do sleep 0.05; looks=$((looks + 1)); done
    kill -KILL "$pid"
fi
rm -rf "$1"
"#;

/// Above the script's own bound, so that giving up means the shell itself is gone.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(15);

pub(crate) struct Keeper {
    shell: Child,
    /// `None` once the end has been asked for.
    pipe: Option<ChildStdin>,
}

impl Keeper {
    /// Runs as the server's account: it can then signal and remove nothing that is not the server's. Fails when
    /// that account cannot enter the folder.
    pub(crate) fn of_folder(folder: &Path, account: Option<Account>) -> std::io::Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "keeper"]).arg(folder).current_dir(folder);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Account::apply(account, &mut shell);
        let mut shell = shell.spawn()?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// From here on this server is the one to stop.
    pub(crate) fn watch(&mut self, server: &Child) -> Result<(), Failure> {
        let told = self.pipe.as_mut().map(|pipe| writeln!(pipe, "{}", server.id()));
        match told {
            Some(Ok(())) => Ok(()),
            _ => Err(Failure::new(
                "the shell that watches over the PostgreSQL server has ended",
                "run it again",
            )),
        }
    }

    /// Has the server stopped. The caller waits for its child next: until then the system keeps the process number
    /// for it, and nobody else can be hit.
    pub(crate) fn begin_end(&mut self) {
        self.pipe = None;
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.begin_end();
        // Without an end to the wait, a folder that cannot be removed would hold up a finished run.
        clock::wait_until(STOP_LIMIT, || self.shell.try_wait().ok().flatten());
    }
}
