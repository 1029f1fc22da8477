//! A temporary folder that belongs to the server's account, and is removed with the value that made it.

use std::{
    ffi::OsStr,
    fs::{DirBuilder, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Account, Failure, keeper::Keeper};

/// Where a server lives.
#[derive(Debug)]
pub struct Place {
    folder: PathBuf,
    account: Option<Account>,
    /// Its drop waits until the folder is gone.
    pub(crate) keeper: Keeper,
}

impl Place {
    /// A new folder, empty.
    pub fn make() -> Result<Self, Failure> {
        let account = Account::for_server()?;
        let folder = make_folder(account).map_err(|error| {
            Failure::new(
                format!("the server's temporary folder could not be made: {error}"),
                "make room in the system's temporary folder, or set TMPDIR to another",
            )
        })?;
        // Before anything is put into the folder, so that a failure later leaves nothing behind.
        match Keeper::start(command("sh", &folder, account), &folder) {
            Ok(keeper) => Ok(Self { folder, account, keeper }),
            Err(error) => Err(cannot_enter(&folder, &error)),
        }
    }

    /// Its path.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A command that runs in the folder as the server's account, without input. That account may not be let into the folder
    /// one happens to stand in.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        command(program, &self.folder, self.account)
    }

    /// Makes the server's account the owner of a file or folder.
    pub fn give(&self, path: &Path) -> std::io::Result<()> {
        self.account.map_or(Ok(()), |account| account.own(path))
    }

    /// Writes a file that the server's account alone may read; what was there before is overwritten.
    pub(crate) fn write(&self, path: &Path, text: &str) -> std::io::Result<()> {
        // The mode is that of a new file.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        self.give(path)
    }
}

fn command(program: impl AsRef<OsStr>, folder: &Path, account: Option<Account>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null());
    if let Some(account) = account {
        account.run(&mut command);
    }
    command
}

/// Closed to others: it holds the server's socket, and for a moment its password.
fn make_folder(account: Option<Account>) -> std::io::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("backroom-bed-{}", &random_word()?[..8]));
    DirBuilder::new().mode(0o700).create(&folder)?;
    account.map_or(Ok(()), |account| account.own(&folder))?;
    Ok(folder)
}

/// The keeper's start is the first thing done in the folder by the server's account, and so where it shows.
fn cannot_enter(folder: &Path, error: &std::io::Error) -> Failure {
    // Still empty, and no keeper to remove it.
    let removed = std::fs::remove_dir(folder);
    let left = removed.err().map(|error| format!(" (nor could it be removed: {error})")).unwrap_or_default();
    Failure::new(
        format!("the server's account cannot work in {}: {error}{left}", folder.display()),
        "set TMPDIR to a folder that every account may enter, such as /tmp",
    )
}

/// 32 hexadecimal digits that cannot be guessed.
pub(crate) fn random_word() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
