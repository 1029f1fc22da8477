//! `cargo xtask compare`: installs other job libraries from their registries and measures them and ours side by side.
//!
//! One server, one workload, one run: figures from different days or machines cannot be compared. What is measured, and
//! how to add a peer, stands in `bench/compare/README.md`. This room never measures: the programs below `bench/compare/peers`
//! do, each in a process of its own. Start reading at [`run`]; [`peers`] is the list, [`install`] and [`program`] are about
//! processes, [`server`] about databases, [`figures`] decides what a run's answer is worth, [`bars`] and [`table`] say it.

mod args;
mod bars;
mod conditions;
mod figures;
mod install;
mod page;
mod peers;
mod program;
mod server;
mod table;

use std::path::{Path, PathBuf};

use args::Asked;
use figures::Figures;
use install::Installed;
use peers::Peer;
use program::{Request, Scenario};
use server::Server;

use crate::failure::Failure;
use crate::say;
use crate::system::Repository;

/// One peer and what became of it.
pub(crate) struct Row {
    pub(crate) peer: &'static Peer,
    /// As its lock file pins it.
    pub(crate) version: String,
    pub(crate) figures: Figures,
}

pub(crate) fn run(args: &[&str]) -> Result<(), Failure> {
    let asked = match args::read(args)? {
        args::Wish::Help => {
            say::line(args::HELP);
            return Ok(());
        }
        args::Wish::Compare(asked) => asked,
    };
    let repository = Repository::find()?;
    let work = repository.path("target/compare");
    // Before anything is built: it tells how quiet the machine was that the figures come from.
    let load_at_start = conditions::load_average();
    let mut rows = Vec::new();
    let mut installed = Vec::new();
    for &peer in &asked.peers {
        say::progress(&format!("install {} ({})", peer.name, peer.home.registry()));
        let version = install::pinned_version(peer, &repository);
        let mut figures = Figures::default();
        match install::install(peer, &repository, &work) {
            Ok(program) => installed.push(Some(program)),
            Err(failure) => {
                say::failure(&failure);
                figures.not_installed(&failure.why);
                installed.push(None);
            }
        }
        rows.push(Row { peer, version, figures });
    }
    let load_at_measuring = conditions::load_average();
    let server = Server::start(&work)?;
    measure(&asked, &work, &server, &mut rows, &installed)?;

    let loads = conditions::Loads { at_start: load_at_start, at_measuring: load_at_measuring };
    let conditions = conditions::of(&repository, &work, &server, &asked, &loads);
    drop(server);
    let text = page::text(&rows, &conditions);
    say::line(text.trim_end());
    let out = asked.out.unwrap_or_else(|| repository.path("bench/compare/RESULTS.md"));
    write(&out, &text)?;
    say::progress(&format!("written to {}", out.display()));
    end(&rows)
}

/// Every peer's every scenario once per round, so that whatever the machine does meanwhile meets all of them. Each round
/// begins with another peer, because what comes before a measurement is felt in it: one that left the machine idle for minutes,
/// or the installation, for which one measurement more is made and thrown away.
fn measure(
    asked: &Asked,
    work: &Path,
    server: &Server,
    rows: &mut [Row],
    installed: &[Option<Installed>],
) -> Result<(), Failure> {
    let ask = |peer: &Peer, installed: &Installed, scenario: Scenario, to: &str| {
        let request = Request::of(peer, scenario, asked.jobs_max);
        say::progress(&format!("{to}: {}, {request}", peer.name));
        let place = server.place(peer, work)?;
        let answer = program::run(installed, &request, peer, &place.store, work);
        server.remove(place)?;
        Ok::<_, Failure>((request, answer))
    };
    if let Some((row, installed)) = rows.iter().zip(installed).find_map(|(row, i)| Some((row, i.as_ref()?))) {
        // What it answers is thrown away, and a failure shows when it is measured.
        _ = ask(row.peer, installed, Scenario::Lifecycle, "to warm up")?;
    }
    for round in 0..asked.rounds {
        let to = format!("round {} of {}", round + 1, asked.rounds);
        for index in in_turn(rows.len(), round, asked.rounds) {
            let Some(installed) = &installed[index] else { continue };
            for scenario in Scenario::ALL {
                let (request, answer) = ask(rows[index].peer, installed, scenario, &to)?;
                let heard = rows[index].figures.take(&request, answer);
                say::progress(&format!("  {heard}"));
            }
        }
    }
    Ok(())
}

/// The places of so many peers in the same order, in each round from another one on.
fn in_turn(peers: usize, round: u32, rounds: u32) -> Vec<usize> {
    let mut order: Vec<usize> = (0..peers).collect();
    order.rotate_left(round as usize * peers / rounds.max(1) as usize);
    order
}

fn write(out: &PathBuf, text: &str) -> Result<(), Failure> {
    std::fs::write(out, text).map_err(|error| {
        Failure::new(
            format!("the result could not be written to {}: {error}", out.display()),
            "name a file that can be written with --out; the result itself stands above",
        )
    })
}

/// A peer that failed has its row; the run as a whole has failed, too, so that it does not pass for complete.
fn end(rows: &[Row]) -> Result<(), Failure> {
    let failed: Vec<_> =
        rows.iter().filter(|row| !row.figures.faults.is_empty()).map(|row| row.peer.name).collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        format!("not everything could be measured: {}", failed.join(", ")),
        "read what the table says of them, and their logs in target/compare/logs",
    ))
}

#[cfg(test)]
mod tests {
    use super::in_turn;

    #[test]
    fn each_round_begins_with_another_peer_and_has_all() {
        assert_eq!(in_turn(10, 0, 3), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(in_turn(10, 1, 3), [3, 4, 5, 6, 7, 8, 9, 0, 1, 2]);
        assert_eq!(in_turn(10, 2, 3), [6, 7, 8, 9, 0, 1, 2, 3, 4, 5]);
        assert_eq!(in_turn(1, 4, 5), [0]);
    }
}
