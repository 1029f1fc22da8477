//! Plays many seeds: `cargo run -p backroom-sim -- --seeds 1000 --from 1`.

#![expect(clippy::print_stdout, reason = "a command's output is what it is for")]

use std::process::ExitCode;

use backroom_sim::{On, Weather, play_on};

const USAGE: &str =
    "usage: backroom-sim [--seeds N] [--from SEED] [--sqlite] [--outages] [--clocks] [--killers] [--schedules] [--ties] [--trace] [--keep-going]
  --seeds N      how many seeds to play (default 1000)
  --from SEED    the first one (default 0)
  --sqlite       play on a SQLite file instead of in memory
  --outages      let nothing happen but outages of the store
  --clocks       let nothing happen but clocks that go wrong, and deaths
  --killers      let nothing happen but jobs that take their process down
  --schedules    let schedules fire, whatever happens
  --ties         play with workflows, graphs and batches in the place of plain jobs
  --trace        print everything that happened
  --keep-going   play on after a seed that fails";

struct Asked {
    seeds: u64,
    from: u64,
    on: On,
    weather: Weather,
    trace: bool,
    keep_going: bool,
}

fn main() -> ExitCode {
    let asked = match read(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(why) => {
            println!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut failed = 0;
    for seed in asked.from..asked.from.saturating_add(asked.seeds) {
        let played = match play_on(seed, asked.on, asked.weather) {
            Ok(played) => played,
            Err(error) => {
                println!("failed to start a runtime: {error}");
                return ExitCode::FAILURE;
            }
        };
        if asked.trace {
            println!("{}", played.trace.join("\n"));
        }
        match played.report() {
            None => println!("seed {seed}: {}", played.tally),
            Some(report) => {
                println!("{report}\n");
                failed += 1;
                if !asked.keep_going {
                    break;
                }
            }
        }
    }
    println!("{failed} seeds failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(mut args: impl Iterator<Item = String>) -> Result<Asked, String> {
    let (on, weather) = (On::Memory, Weather::Any);
    let mut asked = Asked { seeds: 1000, from: 0, on, weather, trace: false, keep_going: false };
    while let Some(arg) = args.next() {
        let mut number = || {
            let text = args.next().ok_or_else(|| format!("{arg} needs a number"))?;
            text.parse().map_err(|_| format!("{arg}: {text:?} is not a number"))
        };
        match arg.as_str() {
            "--seeds" => asked.seeds = number()?,
            "--from" => asked.from = number()?,
            "--sqlite" => asked.on = On::Sqlite,
            "--outages" => asked.weather = Weather::Outages,
            "--clocks" => asked.weather = Weather::Clocks,
            "--killers" => asked.weather = Weather::Killers,
            "--schedules" => asked.weather = Weather::Schedules,
            "--ties" => asked.weather = Weather::Ties,
            "--trace" => asked.trace = true,
            "--keep-going" => asked.keep_going = true,
            _ => return Err(format!("{arg} is unknown")),
        }
    }
    Ok(asked)
}
