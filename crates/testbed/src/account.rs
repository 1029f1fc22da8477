//! The account that the server runs as. PostgreSQL refuses to run as root, so that a hole in it is not a hole in the machine.

use std::{
    os::unix::{fs::chown, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};

use crate::Failure;

/// An account of the machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// `None`: the server runs as we do. As root: as PostgreSQL's own account, or as `nobody` where there is none.
    pub(crate) fn for_server() -> Result<Option<Self>, Failure> {
        if number(&["-u"]) != Some(0) {
            return Ok(None);
        }
        let account = ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| Some(Self { uid: number(&["-u", name])?, gid: number(&["-g", name])? }));
        account.map(Some).ok_or_else(|| {
            Failure::new(
                "PostgreSQL does not run as root, and there is no account `postgres` or `nobody` to run it as",
                "add one (`useradd --system postgres`), or run this as an ordinary user",
            )
        })
    }

    /// The process is ours and its number is the server's, as no program stands between that changes accounts.
    pub(crate) fn run(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    pub(crate) fn own(self, path: &Path) -> std::io::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
    }
}

fn number(words: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(words).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
