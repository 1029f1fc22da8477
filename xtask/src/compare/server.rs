//! The stores of the comparison: one PostgreSQL server for all, a fresh database, folder or Redis server for each measurement.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backroom_testbed::{Broker, BrokerKind};

use super::peers::{Peer, Store};
use crate::failure::Failure;
use crate::postgres::{self, Cluster};
use crate::{say, system};

/// What differs from PostgreSQL's own defaults. The first two are its defaults, said all the same: they are what the
/// figures stand on. The memory is that of a small server; the log has room for a run without being forced to check points.
pub(crate) const SETTINGS: [&str; 5] = [
    "fsync=on",
    "synchronous_commit=on",
    "shared_buffers=512MB",
    "max_wal_size=4GB",
    // Only this machine.
    "listen_addresses=127.0.0.1",
];

pub(crate) struct Server {
    cluster: Cluster,
    places_made: Cell<u32>,
}

/// Where one measurement takes place.
pub(crate) struct Place {
    /// As the peer's program gets it.
    pub(crate) store: String,
    kind: Kind,
}

enum Kind {
    Database(String),
    Folder(PathBuf),
    /// A server of its own: it takes a moment to start one, and its databases are not apart from each other on the disk.
    Redis(Box<Broker>),
}

impl Server {
    pub(crate) fn start(work: &Path) -> Result<Self, Failure> {
        let cluster = postgres::for_comparison(&SETTINGS)?;
        say::progress(&cluster.description());
        // What an earlier run left when it was killed.
        let folders = work.join("databases");
        if folders.exists() {
            std::fs::remove_dir_all(&folders).map_err(|error| broken(&folders, &error))?;
        }
        Ok(Self { cluster, places_made: Cell::new(0) })
    }

    /// A fresh store, on a machine that has written what others left it to write.
    pub(crate) fn place(&self, peer: &Peer, work: &Path) -> Result<Place, Failure> {
        let number = self.places_made.get() + 1;
        self.places_made.set(number);
        let place = match peer.store {
            Store::Postgres => {
                let name = format!("compare_{number}");
                self.sql(&format!("CREATE DATABASE {name}"))?;
                Place { store: self.cluster.url(&name), kind: Kind::Database(name) }
            }
            Store::Sqlite => {
                let folder = work.join("databases").join(format!("{number}-{}", peer.name));
                std::fs::create_dir_all(&folder).map_err(|error| broken(&folder, &error))?;
                Place { store: folder.display().to_string(), kind: Kind::Folder(folder) }
            }
            Store::Redis => {
                let broker = Broker::start(BrokerKind::Redis)
                    .map_err(|failure| Failure::new(failure.to_string(), "install redis-server"))?;
                Place { store: broker.url(), kind: Kind::Redis(Box::new(broker)) }
            }
        };
        // One peer's unwritten pages must not be written in another's time.
        self.sql("CHECKPOINT")?;
        system::run(Command::new("sync"), "see whether the disk answers")?;
        Ok(place)
    }

    pub(crate) fn remove(&self, place: Place) -> Result<(), Failure> {
        match place.kind {
            // A client that is still connected was killed.
            Kind::Database(name) => self.sql(&format!("DROP DATABASE {name} WITH (FORCE)")).map(drop),
            Kind::Redis(broker) => {
                drop(broker);
                Ok(())
            }
            Kind::Folder(folder) => std::fs::remove_dir_all(&folder).map_err(|error| broken(&folder, &error)),
        }
    }

    /// What the server says it is set to.
    pub(crate) fn shows(&self, setting: &str) -> String {
        self.sql(&format!("SHOW {setting}")).unwrap_or_else(|_| "unknown".to_owned())
    }

    /// Where the server's data are.
    pub(crate) fn data_folder(&self) -> PathBuf {
        PathBuf::from(self.shows("data_directory"))
    }

    /// By the server's own client, so that this program needs no driver.
    fn sql(&self, statement: &str) -> Result<String, Failure> {
        let mut psql = Command::new(self.cluster.client_program());
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--command", statement]);
        psql.envs(self.cluster.client_variables()).stdin(Stdio::null());
        let remedy = "install PostgreSQL's client (Debian: apt-get install postgresql-client)";
        let output =
            psql.output().map_err(|error| Failure::new(format!("psql did not start: {error}"), remedy))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Failure::new(format!("`{statement}` failed: {}", said.trim()), "read what the server says"))
    }
}

fn broken(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()), "make room, or see whose target/compare is")
}
