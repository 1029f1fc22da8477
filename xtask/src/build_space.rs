//! The disk space that a build takes, and the settings that make it smaller on a build server.
//!
//! A build that fills the disk fails somewhere in the middle, as an error of the linker. So the test command asks for the
//! free space first.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::system::{self, Repository};

/// What everything that `cargo xtask test` builds takes in a new `target` folder, in megabytes (1024 × 1024 bytes): lints,
/// documentation and all test executables. A build with line tables took 6,200; without them each of 95 executables is 20
/// smaller.
const ON_BUILD_SERVER_MB: u64 = 4_500;
/// The same with a developer's settings: line tables in each executable, and 7,700 of data for incremental builds.
const FOR_DEVELOPER_MB: u64 = 15_500;
/// What a run needs although everything is built: servers, stores of tests, and the executables of changed crates.
const ALWAYS_MB: u64 = 1_000;

/// Build servers set this variable.
fn is_build_server() -> bool {
    std::env::var_os("CI").is_some_and(|text| !text.is_empty() && text != "false")
}

/// On a build server nothing is built a second time, so data for incremental builds is of no use, and without line tables
/// a test executable is half as large. Panics still name file and line, and backtraces still name functions.
/// A variable that is already set is left as it is.
pub(crate) fn save_on_build_server(cargo: &mut Command) {
    if !is_build_server() {
        return;
    }
    for (name, value) in [("CARGO_INCREMENTAL", "0"), ("CARGO_PROFILE_DEV_DEBUG", "false")] {
        if std::env::var_os(name).is_none() {
            cargo.env(name, value);
        }
    }
}

/// Fails if the disk of cargo's `target` folder cannot hold what is still to be built, or that of the repository's own what a run
/// needs: tools and servers lie there, wherever cargo builds.
pub(crate) fn check(repository: &Repository) -> Result<(), Failure> {
    let of_repository = repository.path("target");
    let target = target_folder(&repository.path("."), |name| std::env::var_os(name));
    has_space(&target, used_mb(&target).unwrap_or(0))?;
    if existing(&target) == existing(&of_repository) { Ok(()) } else { has_space(&of_repository, u64::MAX) }
}

/// Where cargo builds. It reads the variables in this order.
fn target_folder(repository: &Path, variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let set = |name| variable(name).filter(|text| !text.is_empty());
    let named = set("CARGO_TARGET_DIR").or_else(|| set("CARGO_BUILD_TARGET_DIR"));
    repository.join(named.unwrap_or_else(|| "target".into()))
}

fn has_space(target: &Path, built_mb: u64) -> Result<(), Failure> {
    let whole_mb = if is_build_server() { ON_BUILD_SERVER_MB } else { FOR_DEVELOPER_MB };
    let needed_mb = needed_mb(whole_mb, built_mb);
    let free_mb = free_mb(&existing(target))?;
    if free_mb >= needed_mb {
        return Ok(());
    }
    Err(Failure::new(
        format!(
            "the disk of {} has {free_mb} MB free; what is still to be built and run takes about {needed_mb} MB",
            target.display()
        ),
        "free some space (`cargo clean` removes old builds), or name a folder on a larger disk in CARGO_TARGET_DIR",
    ))
}

fn needed_mb(whole_mb: u64, built_mb: u64) -> u64 {
    whole_mb.saturating_sub(built_mb).max(ALWAYS_MB)
}

/// The folder, or the nearest one above it that exists: before the first build there is no `target`.
fn existing(folder: &Path) -> PathBuf {
    folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn used_mb(folder: &Path) -> Option<u64> {
    system::answer_of("du", &["-sm", folder.to_str()?])?.split_whitespace().next()?.parse().ok()
}

fn free_mb(folder: &Path) -> Result<u64, Failure> {
    let text = folder.to_string_lossy();
    let answer = system::answer_of("df", &["-Pm", &text]);
    answer.as_deref().and_then(free_in).ok_or_else(|| {
        Failure::new(
            format!(
                "the free space of {text} cannot be read: `df -Pm {text}` gave no answer that is understood"
            ),
            "run it by hand and read what it says",
        )
    })
}

/// The fourth column of the last line, as POSIX says that `df -P` prints it.
fn free_in(answer: &str) -> Option<u64> {
    answer.lines().last()?.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_free_space_is_read_from_what_df_prints() {
        let answer = "Filesystem 1048576-blocks  Used Available Capacity Mounted on\n/dev/vda 257785 36026 58211 39% /";
        assert_eq!(free_in(answer), Some(58_211));
        assert_eq!(free_in("Filesystem"), None);
    }

    #[test]
    fn what_is_built_already_needs_no_space_again() {
        assert_eq!(needed_mb(4_500, 0), 4_500);
        assert_eq!(needed_mb(4_500, 1_500), 3_000);
        assert_eq!(needed_mb(4_500, 9_000), ALWAYS_MB);
    }

    #[test]
    fn the_target_folder_is_the_one_that_cargo_uses() {
        let folder = |set: &[(&str, &str)]| {
            let variable = |name: &str| {
                set.iter().find(|(other, _)| *other == name).map(|(_, text)| OsString::from(text))
            };
            target_folder(Path::new("/r"), variable)
        };
        assert_eq!(folder(&[]), Path::new("/r/target"));
        assert_eq!(folder(&[("CARGO_BUILD_TARGET_DIR", "/b")]), Path::new("/b"));
        assert_eq!(folder(&[("CARGO_BUILD_TARGET_DIR", "/b"), ("CARGO_TARGET_DIR", "t")]), Path::new("/r/t"));
        assert_eq!(folder(&[("CARGO_TARGET_DIR", ""), ("CARGO_BUILD_TARGET_DIR", "b")]), Path::new("/r/b"));
    }

    #[test]
    fn a_folder_that_does_not_exist_yet_is_on_the_disk_of_the_one_above() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(existing(&here.join("not/yet")), here);
        assert!(free_mb(&here).is_ok_and(|mb| mb > 0));
    }
}
