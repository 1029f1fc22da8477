//! A PostgreSQL server for the tests: made from the programs on this machine, thrown away after the run.
//!
//! It never touches a server that is already here: tests create, crash and drop what they like.
//! [`programs`] finds or installs what is needed; [`cluster`] is the server, whose life is in the crate
//! `backroom-testbed`; it ends even when this program is killed. [`versions`] tests on the oldest and the newest PostgreSQL as well, whose programs
//! [`packed`] fetches.

mod cluster;
mod packed;
mod programs;
pub(crate) mod versions;

use std::process::Command;

pub(crate) use cluster::Cluster;

use crate::failure::Failure;
use crate::{say, system};

/// The server's address, password included.
const URL_VARIABLE: &str = "BACKROOM_TEST_POSTGRES";
/// The folder of the server's programs, for a test that starts (and kills) a server of its own.
const BIN_VARIABLE: &str = "BACKROOM_TEST_PG_BIN";
/// The connection pooler's program, for tests through it.
const PGBOUNCER_VARIABLE: &str = "BACKROOM_TEST_PGBOUNCER";

/// A server for the tests, or none when the caller's variable already names one.
pub(crate) fn for_tests() -> Result<Option<Cluster>, Failure> {
    if std::env::var_os(URL_VARIABLE).is_some() {
        say::line(&format!(
            "  {URL_VARIABLE} is set: the tests use the server it names, and none is started"
        ));
        return Ok(None);
    }
    let cluster = Cluster::start(programs::find_or_install()?, &cluster::SETTINGS_FOR_TESTS)?;
    say::line(&format!("  {}", cluster.description()));
    Ok(Some(cluster))
}

/// A server with these settings, whatever the caller's variables say: what is compared must stand on one server, and on
/// one that is known.
pub(crate) fn for_comparison(settings: &[&str]) -> Result<Cluster, Failure> {
    Cluster::start(programs::find_or_install()?, settings)
}

/// `cargo xtask postgres <command>`: the same server beside any command, so that one need not run every test.
pub(crate) fn run_beside(program: &str, args: &[&str]) -> Result<(), Failure> {
    let cluster = for_tests()?;
    let mut command = Command::new(program);
    command.args(args).envs(cluster.iter().flat_map(Cluster::variables));
    system::run(command, "read what the command said above")
}
