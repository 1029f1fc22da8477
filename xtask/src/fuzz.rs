//! `cargo xtask fuzz`: runs the fuzz targets in `fuzz/` for a bounded time, with cargo-fuzz.
//!
//! The rules that a target checks are code of the crates (`backroom::testing::fuzz`, `backroom_server::fuzz`), and their tests run
//! them over the seed corpora. What a run finds interesting goes to `fuzz/found`, which is not committed.

use std::path::PathBuf;
use std::process::Command;

use crate::failure::Failure;
use crate::say;
use crate::system::{self, Repository};
use crate::tools;

/// The release of cargo-fuzz that this is written for.
const CARGO_FUZZ: &str = "0.13.2";
/// How long all targets together run, unless the caller says otherwise.
const SECONDS: u64 = 180;
/// Longest input, in bytes. Longer ones find little more, and take long.
const INPUT_BYTES_MAX: u32 = 8192;
/// Longest time that one input may take, in seconds. The code is instrumented and the machine may be loaded.
const INPUT_SECONDS_MAX: u32 = 25;

const USAGE: &str =
    "write `cargo xtask fuzz [--seconds N] [target…]`; the targets are the files in fuzz/fuzz_targets";

/// What the caller asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    seconds: u64,
    /// Every target if it is empty.
    targets: Vec<String>,
}

pub(crate) fn run(args: &[&str]) -> Result<(), Failure> {
    let asked = read(args)?;
    let repository = Repository::find()?;
    let all = targets(&repository)?;
    if let Some(unknown) = asked.targets.iter().find(|name| !all.contains(name)) {
        return Err(Failure::new(
            format!("there is no fuzz target `{unknown}`"),
            format!("use one of {}", all.join(", ")),
        ));
    }
    let chosen = if asked.targets.is_empty() { all } else { asked.targets };
    let Some(cargo_fuzz) = tools::installed(&repository, "cargo-fuzz", CARGO_FUZZ)? else {
        return Err(Failure::new(
            "cargo-fuzz is not installed and the registry does not answer",
            format!("run `cargo install --locked cargo-fuzz@{CARGO_FUZZ}` where it does"),
        ));
    };
    let seconds = (asked.seconds / chosen.len() as u64).max(1);
    for name in &chosen {
        say::line(&format!("fuzz {name}: {seconds} s"));
        run_one(&repository, &cargo_fuzz, name, seconds)?;
    }
    say::line(&format!("xtask fuzz: nothing found in {seconds} s each: {}", chosen.join(", ")));
    Ok(())
}

fn run_one(repository: &Repository, cargo_fuzz: &PathBuf, name: &str, seconds: u64) -> Result<(), Failure> {
    let (found, seeds) =
        (repository.path("fuzz/found").join(name), repository.path("fuzz/corpus").join(name));
    std::fs::create_dir_all(&found).map_err(|error| {
        Failure::new(format!("{} could not be made: {error}", found.display()), "see whose folder it is")
    })?;
    let mut fuzz = Command::new(cargo_fuzz);
    // Without a sanitizer it runs on the stable toolchain. Nothing here is unsafe code that one could watch.
    fuzz.args(["fuzz", "run", "--fuzz-dir"]).arg(repository.path("fuzz")).args([
        "--sanitizer",
        "none",
        "--target-dir",
    ]);
    fuzz.arg(repository.target("fuzz")).arg(name);
    // New inputs go to the first folder.
    fuzz.arg(&found).arg(&seeds).arg("--");
    fuzz.args([
        format!("-max_total_time={seconds}"),
        format!("-max_len={INPUT_BYTES_MAX}"),
        format!("-timeout={INPUT_SECONDS_MAX}"),
        "-rss_limit_mb=2048".into(),
        "-print_final_stats=1".into(),
    ]);
    system::run(
        repository.command(fuzz),
        &format!(
            "correct what the input above breaks, and add it to fuzz/corpus/{name} under a name that says what it is"
        ),
    )
}

/// The names of the files in `fuzz/fuzz_targets`.
fn targets(repository: &Repository) -> Result<Vec<String>, Failure> {
    let folder = repository.path("fuzz/fuzz_targets");
    let unreadable = |error: std::io::Error| {
        Failure::new(
            format!("{} cannot be read: {error}", folder.display()),
            "check out the whole repository",
        )
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|end| end == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

fn read(args: &[&str]) -> Result<Asked, Failure> {
    let mut asked = Asked { seconds: SECONDS, targets: Vec::new() };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if *arg == "--seconds" {
            let number = args.next().and_then(|text| text.parse().ok()).filter(|seconds| *seconds > 0);
            asked.seconds = number.ok_or_else(|| Failure::new("--seconds needs a number above 0", USAGE))?;
        } else if arg.starts_with('-') {
            return Err(Failure::new(format!("there is no option `{arg}`"), USAGE));
        } else {
            asked.targets.push((*arg).to_owned());
        }
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_targets_are_read() {
        let asked = |args: &[&str]| read(args).ok();
        assert_eq!(asked(&[]), Some(Asked { seconds: SECONDS, targets: Vec::new() }));
        let both = Asked { seconds: 5, targets: vec!["json".into(), "url".into()] };
        assert_eq!(asked(&["json", "--seconds", "5", "url"]), Some(both));
        for wrong in [&["--seconds"][..], &["--seconds", "0"], &["--seconds", "x"], &["--fast"]] {
            assert_eq!(asked(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn every_target_is_a_program_of_the_fuzz_workspace_and_has_a_corpus() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let manifest = std::fs::read_to_string(root.join("fuzz/Cargo.toml")).expect("the manifest");
        let names = |folder: &str, is_target: fn(&std::path::Path) -> Option<String>| {
            let mut names: Vec<String> = std::fs::read_dir(root.join(folder))
                .expect("the folder")
                .filter_map(|entry| is_target(&entry.expect("an entry").path()))
                .collect();
            names.sort();
            names
        };
        let stem = |path: &std::path::Path| path.file_stem().map(|name| name.to_string_lossy().into_owned());
        let targets = names("fuzz/fuzz_targets", stem);
        assert_eq!(targets, names("fuzz/corpus", stem));
        for name in targets {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        }
    }
}
