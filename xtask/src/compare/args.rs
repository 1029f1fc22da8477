//! What was asked for on the command line.

use std::path::PathBuf;

use super::peers::{PEERS, Peer};
use crate::failure::Failure;

pub(crate) const HELP: &str = "\
cargo xtask compare [option…]

Installs other job libraries from crates.io, npm and PyPI below target/compare, measures them and this one side by side on
a PostgreSQL server made for it, on SQLite files and on Redis, and prints the result as Markdown. Needs cargo, npm and Python 3;
takes about half an hour. bench/compare/README.md says what is measured.

  --only <peer>…  these only: backroom backroom-sqlite graphile_worker apalis-postgres graphile-worker
                  pg-boss procrastinate effectum effectum-wal apalis-sqlite bullmq celery
  --rounds <N>    how often everything is measured; the median is reported (default 3)
  --jobs <N>      at most this many jobs per measurement, for a quick look (each peer has its own number)
  --out <file>    where the Markdown goes besides standard output (default bench/compare/RESULTS.md)
  --help          this text";

const ROUNDS_DEFAULT: u32 = 3;
const ROUNDS_MAX: u32 = 100;
/// Below this a batch of a thousand would be most of the measurement.
const JOBS_MIN: u32 = 1_000;

pub(crate) enum Wish {
    Help,
    Compare(Asked),
}

pub(crate) struct Asked {
    pub(crate) peers: Vec<&'static Peer>,
    pub(crate) rounds: u32,
    pub(crate) jobs_max: Option<u32>,
    /// Relative to where the command was typed.
    pub(crate) out: Option<PathBuf>,
}

pub(crate) fn read(args: &[&str]) -> Result<Wish, Failure> {
    let mut asked = Asked { peers: Vec::new(), rounds: ROUNDS_DEFAULT, jobs_max: None, out: None };
    let mut rest = args;
    while let [option, tail @ ..] = rest {
        rest = match (*option, tail) {
            ("--help" | "-h", _) => return Ok(Wish::Help),
            ("--only", [name, ..]) if !name.starts_with('-') => {
                let names = tail.iter().take_while(|word| !word.starts_with('-')).count();
                for name in &tail[..names] {
                    asked.peers.push(named(name)?);
                }
                &tail[names..]
            }
            ("--rounds", [text, tail @ ..]) => {
                asked.rounds = number(option, text, 1..=ROUNDS_MAX)?;
                tail
            }
            ("--jobs", [text, tail @ ..]) => {
                asked.jobs_max = Some(number(option, text, JOBS_MIN..=u32::MAX)?);
                tail
            }
            ("--out", [file, tail @ ..]) => {
                asked.out = Some(PathBuf::from(file));
                tail
            }
            ("--only" | "--rounds" | "--jobs" | "--out", _) => {
                return Err(wrong(format!("`{option}` needs a value")));
            }
            _ => return Err(wrong(format!("there is no option `{option}`"))),
        };
    }
    if asked.peers.is_empty() {
        asked.peers = PEERS.iter().collect();
    }
    Ok(Wish::Compare(asked))
}

fn named(name: &str) -> Result<&'static Peer, Failure> {
    PEERS.iter().find(|peer| peer.name == name).ok_or_else(|| wrong(format!("there is no peer `{name}`")))
}

fn number(option: &str, text: &str, range: std::ops::RangeInclusive<u32>) -> Result<u32, Failure> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        wrong(format!("`{option} {text}`: it must be a number from {} to {}", range.start(), range.end()))
    })
}

fn wrong(why: String) -> Failure {
    Failure::new(why, "see `cargo xtask compare --help`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(args: &[&str]) -> Result<Asked, String> {
        match read(args) {
            Ok(Wish::Compare(asked)) => Ok(asked),
            Ok(Wish::Help) => Err("help".to_owned()),
            Err(failure) => Err(failure.why),
        }
    }

    #[test]
    fn nothing_asked_means_everybody_three_times() {
        let asked = asked(&[]).unwrap();
        assert_eq!((asked.peers.len(), asked.rounds, asked.jobs_max), (PEERS.len(), 3, None));
    }

    #[test]
    fn only_takes_several_names_and_options_may_follow() {
        let asked = asked(&["--only", "effectum", "backroom", "--rounds", "1", "--jobs", "5000"]).unwrap();
        let names: Vec<_> = asked.peers.iter().map(|peer| peer.name).collect();
        assert_eq!(names, ["effectum", "backroom"]);
        assert_eq!((asked.rounds, asked.jobs_max), (1, Some(5000)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (args, why) in [
            (vec!["--only", "sidekiq"], "there is no peer `sidekiq`"),
            (vec!["--only"], "`--only` needs a value"),
            (vec!["--only", "--rounds", "2"], "`--only` needs a value"),
            (vec!["--rounds", "0"], "`--rounds 0`: it must be a number from 1 to 100"),
            (vec!["quickly"], "there is no option `quickly`"),
        ] {
            assert_eq!(asked(&args).err().as_deref(), Some(why));
        }
    }

    #[test]
    fn help_names_every_peer() {
        for peer in PEERS {
            assert!(HELP.split_whitespace().any(|word| word == peer.name), "{}", peer.name);
        }
    }
}
