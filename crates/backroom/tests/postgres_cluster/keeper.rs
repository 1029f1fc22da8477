//! Ends a server and removes its folder, whatever becomes of the test.
//!
//! A test that is killed drops nothing. So a small shell waits on a pipe from us, which closes when we close it and when
//! we die; either way it stops the server it was told of last. `cargo xtask` keeps its server in the same way.

use std::{
    io::Write,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

/// An empty line says that no server runs. SIGQUIT is an immediate shutdown; after about 5 s (100 looks) it insists.
const SCRIPT: &str = r#"
cd /
trap '' INT TERM HUP
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
    kill -QUIT "$pid"
    looks=0
    while kill -0 "$pid" && [ "$looks" -lt 100 ]; do sleep 0.05; looks=$((looks + 1)); done
    kill -KILL "$pid"
fi
rm -rf "$1"
"#;

pub(super) struct Keeper {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Keeper {
    /// `shell` is a command for `sh` that runs as the server's account.
    pub(super) fn start(mut shell: Command, folder: &Path) -> Self {
        shell.args(["-c", SCRIPT, "keeper"]).arg(folder).stdin(Stdio::piped());
        let mut shell = shell.spawn().expect("the keeper starts");
        let pipe = shell.stdin.take();
        Self { shell, pipe }
    }

    /// From here on this is the server to stop, or none.
    pub(super) fn watch(&mut self, server: Option<&Child>) {
        let line = server.map(|server| server.id().to_string()).unwrap_or_default();
        let pipe = self.pipe.as_mut().expect("the end was not asked for");
        writeln!(pipe, "{line}").expect("the keeper is there");
    }

    /// Has the server stopped. The caller waits for its child next: until then the number is nobody else's.
    pub(super) fn begin_end(&mut self) {
        self.pipe = None;
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.begin_end();
        _ = self.shell.wait();
    }
}
