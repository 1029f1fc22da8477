//! The server that steps and tests use, with the programs that belong to it.

use std::path::{Path, PathBuf};

use backroom_testbed::{Login, Place, Server};

use super::packed;
use super::programs::{self, Programs};
use super::{BIN_VARIABLE, PGBOUNCER_VARIABLE, URL_VARIABLE};
use crate::failure::Failure;
use crate::system;

/// What differs from PostgreSQL's own defaults for tests, and why.
pub(crate) const SETTINGS_FOR_TESTS: [&str; 4] = [
    // Only this machine.
    "listen_addresses=127.0.0.1",
    // Tests run side by side, each with a pool of its own.
    "max_connections=200",
    // These two protect against power loss, which a server to be thrown away need not survive: they would only
    // slow it. A killed server loses nothing by them. `synchronous_commit` stays on, as the store relies on it.
    "fsync=off",
    "full_page_writes=off",
];

/// A running server. It stops when this is dropped.
pub(crate) struct Cluster {
    server: Server,
    pgbouncer: PathBuf,
}

impl Cluster {
    /// Returns when the server accepts connections. Settings are written as for `postgres -c`.
    pub(crate) fn start(programs: Programs, settings: &[&str]) -> Result<Self, Failure> {
        let place = Place::make()?;
        let bin = match programs.server {
            programs::Server::Installed(bin) => bin,
            programs::Server::Packed(archive) => packed::unpack(&archive, &place)?,
        };
        let mut server = Server::make(place, bin, settings, Login::Password)?;
        server.start()?;
        Ok(Self { server, pgbouncer: programs.pgbouncer })
    }

    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            (URL_VARIABLE, self.url("postgres")),
            (BIN_VARIABLE, self.server.bin().display().to_string()),
            (PGBOUNCER_VARIABLE, self.pgbouncer.display().to_string()),
        ]
    }

    /// Where a program finds one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        self.server.url(database)
    }

    /// The command line client that came with the server, or else one in PATH.
    pub(crate) fn client_program(&self) -> PathBuf {
        let packaged = self.server.bin().join("psql");
        if packaged.is_file() { packaged } else { "psql".into() }
    }

    /// What the client needs to find the server.
    pub(crate) fn client_variables(&self) -> [(&'static str, String); 5] {
        self.server.client_variables()
    }

    /// Without the password: a build server's log has many readers.
    pub(crate) fn description(&self) -> String {
        let (bin, address) = (self.server.bin().display(), self.server.address());
        format!("PostgreSQL {} of {bin} listens on {address}", self.version())
    }

    /// As the server names it: `18.4`. The third word of `postgres (PostgreSQL) 18.4`.
    pub(crate) fn version(&self) -> String {
        let program = self.server.bin().join("postgres").display().to_string();
        let said = system::answer_of(&program, &["--version"]);
        let version = said.as_deref().and_then(|said| said.split_whitespace().nth(2));
        version.unwrap_or("of an unknown version").to_owned()
    }

    /// For another server beside this one.
    pub(crate) fn pgbouncer(&self) -> &Path {
        &self.pgbouncer
    }
}
