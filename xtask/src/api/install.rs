//! Installs the tester and the validators below `target`, once.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::say;
use crate::system::{self, Repository};

/// The list of Python packages with their versions.
const REQUIREMENTS: &str = "xtask/src/api/requirements.txt";
/// Redocly's linter: one package without dependencies.
const REDOCLY: &str = "@redocly/cli@2.77.0";

/// Where the programs are.
pub(super) struct Tools {
    venv: PathBuf,
    redocly: PathBuf,
}

impl Tools {
    /// Installs what is missing, or what another version of this program has installed.
    pub(super) fn get(repository: &Repository) -> Result<Self, Failure> {
        let place = repository.target("oracles").join("api");
        let tools = Self { venv: place.join("venv"), redocly: place.join("redocly") };
        let list = repository.path(REQUIREMENTS);
        let wanted =
            std::fs::read_to_string(&list).map(|text| format!("{text}{REDOCLY}\n")).map_err(|error| {
                Failure::new(
                    format!("{} cannot be read: {error}", list.display()),
                    "check out the whole repository",
                )
            })?;
        let stamp = place.join("installed");
        let is_there = tools.schemathesis().is_file() && tools.redocly_program().is_file();
        if is_there && std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(tools);
        }
        let unwritable = |error: std::io::Error| {
            Failure::new(
                format!("{} could not be written: {error}", place.display()),
                "see whose folder it is",
            )
        };
        std::fs::create_dir_all(&tools.redocly).map_err(unwritable)?;
        tools.install_python(&list)?;
        tools.install_redocly()?;
        std::fs::write(&stamp, wanted).map_err(unwritable)?;
        Ok(tools)
    }

    fn install_python(&self, list: &Path) -> Result<(), Failure> {
        say::line("  installing schemathesis and openapi-spec-validator from PyPI, once");
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--clear"]).arg(&self.venv);
        system::run(venv, "install Python 3.10 or newer with venv (Debian: apt-get install python3-venv)")?;
        let mut pip = Command::new(self.python());
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"])
            .arg(list);
        system::run(pip, "read what pip says above")
    }

    fn install_redocly(&self) -> Result<(), Failure> {
        if system::find_program("npm").is_none() && system::installs_with_apt() {
            system::apt_get_install(&["npm"])?;
        }
        say::line("  installing Redocly's linter with npm, once");
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]);
        npm.arg(&self.redocly).arg(REDOCLY);
        system::run(npm, "install Node.js 20.19 or newer with npm (Debian: apt-get install npm)")
    }

    pub(super) fn python(&self) -> PathBuf {
        self.venv.join("bin/python")
    }

    pub(super) fn schemathesis(&self) -> PathBuf {
        self.venv.join("bin/schemathesis")
    }

    fn redocly_program(&self) -> PathBuf {
        self.redocly.join("node_modules/.bin/redocly")
    }

    /// The linter. It asks no server for newer versions, and reports nothing to its makers.
    pub(super) fn redocly(&self) -> Command {
        let mut redocly = Command::new(self.redocly_program());
        redocly.envs([("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true"), ("REDOCLY_TELEMETRY", "off")]);
        redocly
    }
}
