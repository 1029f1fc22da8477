//! The machine below the steps: where the repository is, which programs there are, running them, and installing
//! a package. It knows nothing of what the steps are for.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::say;

pub(crate) struct Repository {
    root: PathBuf,
}

impl Repository {
    /// Asks cargo's variable rather than the place this was compiled at: a repository may be moved.
    pub(crate) fn find() -> Result<Self, Failure> {
        let here = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        match here.as_deref().and_then(Path::parent) {
            Some(root) => Ok(Self { root: root.to_owned() }),
            None => {
                Err(Failure::new("cargo did not say where the repository is", "run it as `cargo xtask …`"))
            }
        }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub(crate) fn holds(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// A folder for what is fetched or built, out of the way of what is written.
    pub(crate) fn target(&self, name: &str) -> PathBuf {
        self.root.join("target").join(name)
    }

    /// The same command, to be run at the repository's root wherever one typed it.
    pub(crate) fn command(&self, mut command: Command) -> Command {
        command.current_dir(&self.root);
        command
    }
}

/// Runs a command that writes straight to the terminal; anything but success is a failure.
pub(crate) fn run(mut command: Command, remedy: &str) -> Result<(), Failure> {
    let text = spelled(&command);
    forget_ourselves(&mut command);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(format!("`{text}` ended with {status}"), remedy)),
        Err(error) => Err(Failure::new(format!("`{text}` did not start: {error}"), remedy)),
    }
}

/// Cargo tells us in variables which package we are. A cargo that we run would pass them on to build scripts that watch
/// them (ring's), and compile again what a cargo typed by hand has compiled: minutes, each time one changes between the
/// two.
pub(crate) fn forget_ourselves(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_NAME"].iter().any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
}

/// Whether the command exists and succeeds; its output is not read.
pub(crate) fn answers(mut command: Command) -> bool {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

/// What the command prints, without the surrounding blanks; `None` when it is missing or fails.
pub(crate) fn answer_of(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The program as a shell would find it, and in the administrators' folders, which an ordinary user's PATH leaves
/// out though servers live there.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/local/sbin", "/usr/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

pub(crate) fn is_root() -> bool {
    answer_of("id", &["-u"]).as_deref() == Some("0")
}

/// Whether this is Debian or one of its children and we may install on it. Elsewhere a step says what it needs
/// and stops: guessing at another system's package names would fail later and less clearly.
pub(crate) fn installs_with_apt() -> bool {
    Path::new("/etc/debian_version").exists() && find_program("apt-get").is_some() && is_root()
}

pub(crate) fn apt_get_install(packages: &[&str]) -> Result<(), Failure> {
    let list = packages.join(" ");
    let remedy = format!("run `apt-get update && apt-get install {list}` by hand and read what it says");
    say::line(&format!("  installing with apt-get: {list}"));
    // A fresh image has no package lists, so a first installation there always needs them; asking for them every
    // time would be as slow as the installation.
    if run(apt_get(&["install"], packages), &remedy).is_ok() {
        return Ok(());
    }
    say::line("  fetching the package lists and trying again");
    run(apt_get(&["update"], &[]), &remedy)?;
    run(apt_get(&["install"], packages), &remedy)
}

fn apt_get(verb: &[&str], packages: &[&str]) -> Command {
    let mut apt_get = Command::new("apt-get");
    // Another installation may hold the lock for a while; beyond two minutes it is stuck.
    apt_get.args(["-qq", "-y", "-o", "DPkg::Lock::Timeout=120"]);
    apt_get
        .args(verb)
        .args(if packages.is_empty() { &[][..] } else { &["--no-install-recommends"] })
        .args(packages);
    // No user is there to answer a package's questions.
    apt_get.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    apt_get
}

/// As one would type it: the program by its name, not by the folder it was found in.
pub(crate) fn spelled(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let words = std::iter::once(program.file_name().unwrap_or(program.as_os_str())).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
