//! Installs the emulators of clouds that tests of triggers start: moto from PyPI and Azurite with npm, below `target`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::say;
use crate::system::{self, Repository};

/// The list of Python packages with their versions.
const REQUIREMENTS: &str = "crates/testbed/emulators/requirements.txt";
/// Microsoft's emulator of Azure Storage.
const AZURITE: &str = "azurite@3.37.0";

/// The folder that has them. They are installed again only when a version has changed.
pub(crate) fn folder(repository: &Repository) -> Result<PathBuf, Failure> {
    let place = repository.target("emulators");
    let list = repository.path(REQUIREMENTS);
    let wanted = std::fs::read_to_string(&list).map_err(|error| {
        Failure::new(format!("{} cannot be read: {error}", list.display()), "check out the whole repository")
    })?;
    let wanted = format!("{wanted}{AZURITE}\n");
    let stamp = place.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(place);
    }
    let unwritable = |error: std::io::Error| {
        Failure::new(format!("{} could not be written: {error}", place.display()), "see whose folder it is")
    };
    std::fs::create_dir_all(place.join("azurite")).map_err(unwritable)?;
    moto(&place, &list)?;
    azurite(&place)?;
    std::fs::write(&stamp, wanted).map_err(unwritable)?;
    Ok(place)
}

fn moto(place: &Path, list: &Path) -> Result<(), Failure> {
    say::line("  installing moto from PyPI, once");
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(place.join("venv"));
    system::run(venv, "install Python 3.10 or newer with venv (Debian: apt-get install python3-venv)")?;
    let mut pip = Command::new(place.join("venv/bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"]).arg(list);
    system::run(pip, "read what pip says above")
}

fn azurite(place: &Path) -> Result<(), Failure> {
    say::line("  installing Azurite with npm, once");
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]);
    npm.arg(place.join("azurite")).arg(AZURITE);
    system::run(npm, "install Node.js 20 or newer with npm (Debian: apt-get install nodejs npm)")
}

/// `cargo xtask emulators`.
pub(crate) fn install_and_say() -> Result<(), Failure> {
    let place = folder(&Repository::find()?)?;
    say::line(&format!("moto and Azurite: {}", place.display()));
    Ok(())
}
