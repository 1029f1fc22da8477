//! Installs what the tests of schedules are compared with: cronsim and dateutil, from PyPI, below `target`.

use std::path::PathBuf;
use std::process::Command;

use crate::failure::Failure;
use crate::system::{self, Repository};

/// The list of packages with their versions.
const REQUIREMENTS: &str = "crates/core/tests/agreement/requirements.txt";

/// The Python that has them. It is installed again only when the list has changed.
pub(crate) fn python(repository: &Repository) -> Result<PathBuf, Failure> {
    let place = repository.target("oracles");
    let python = place.join("venv/bin/python");
    let list = repository.path(REQUIREMENTS);
    let stamp = place.join("installed");
    let text = |path: &PathBuf| std::fs::read(path).ok();
    if python.is_file() && text(&stamp).is_some() && text(&stamp) == text(&list) {
        return Ok(python);
    }
    let unwritable = |error: std::io::Error| {
        Failure::new(format!("{} could not be written: {error}", place.display()), "see whose folder it is")
    };
    std::fs::create_dir_all(&place).map_err(unwritable)?;
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(place.join("venv"));
    system::run(venv, "install Python 3.10 or newer with venv (Debian: apt-get install python3-venv)")?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"])
        .arg(&list);
    system::run(pip, "read what pip says above")?;
    std::fs::copy(&list, &stamp).map_err(unwritable)?;
    Ok(python)
}

/// `cargo xtask oracles`.
pub(crate) fn install() -> Result<(), Failure> {
    let python = python(&Repository::find()?)?;
    crate::say::line(&format!("cronsim and dateutil: {}", python.display()));
    Ok(())
}
