//! The servers the tests talk to, held from the step that starts them to the end of the run.

use std::path::PathBuf;

use crate::postgres::Cluster;

/// The servers that steps started for the tests. They stop when this is dropped, failed step or not.
#[derive(Default)]
pub(crate) struct Servers {
    pub(crate) postgres: Option<Cluster>,
    /// A Python with what the tests of schedules are compared with.
    pub(crate) oracles: Option<PathBuf>,
    /// A folder with emulators of clouds.
    pub(crate) emulators: Option<PathBuf>,
    /// Versions of PostgreSQL, each with what was tested on it, for the closing lines.
    pub(crate) tested_on: Vec<String>,
}

impl Servers {
    /// The variables by which the tests find the servers. A test that needs a server fails without its variable:
    /// it must not pass by not running.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let oracles = self.oracles.iter().map(|path| ("BACKROOM_TEST_ORACLES", path.display().to_string()));
        let emulators =
            self.emulators.iter().map(|path| ("BACKROOM_TEST_EMULATORS", path.display().to_string()));
        self.postgres.iter().flat_map(Cluster::variables).chain(oracles).chain(emulators).collect()
    }
}
