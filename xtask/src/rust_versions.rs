//! Whether each crate says the truth about the Rust that it needs: no dependency may ask for a newer one.
//!
//! A crate says it in `rust-version`. Where one of its features needs more, it says that beside it, and in its documentation:
//!
//! ```toml
//! [package.metadata.rust-version]
//! sqlx = "1.94"
//! ```
//!
//! Dependencies of tests do not count: who uses a crate does not build them.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::failure::Failure;
use crate::system::Repository;

/// As `1.90`: the part behind the second dot has never mattered here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rust(u32, u32);

impl Rust {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| part.parse().ok());
        Some(Self(parts.next()??, parts.next()??))
    }
}

impl std::fmt::Display for Rust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// A crate of ours and what it says.
#[derive(Debug, PartialEq, Eq)]
struct Declared {
    name: String,
    rust: Rust,
    features: Vec<String>,
    /// Features that need more.
    exceptions: BTreeMap<String, Rust>,
}

/// One set of features of a crate, and what it may ask for.
#[derive(Debug, PartialEq, Eq)]
struct Case {
    features: Vec<String>,
    rust: Rust,
}

/// What `cargo metadata` answers for all features.
pub(crate) fn metadata(repository: &Repository) -> Result<Value, Failure> {
    let metadata = answer(repository, &["metadata", "--format-version", "1", "--all-features"])?;
    serde_json::from_str(&metadata)
        .map_err(|error| unread(&format!("the answer of `cargo metadata` is no JSON: {error}")))
}

pub(crate) fn check(repository: &Repository) -> Result<(), Failure> {
    let metadata = metadata(repository)?;
    let asked = asked(&metadata);
    let mut wrong = Vec::new();
    for declared in declared(&metadata)? {
        for case in cases(&declared) {
            let features = case.features.join(",");
            let tree = answer(
                repository,
                &[
                    "tree",
                    "--package",
                    &declared.name,
                    "--no-default-features",
                    "--features",
                    &features,
                    "--edges",
                    "normal,build",
                    "--target",
                    "all",
                    "--prefix",
                    "none",
                    "--format",
                    "{p}",
                ],
            )?;
            wrong.extend(too_new(&tree, &asked, &declared, &case));
        }
    }
    wrong.sort();
    wrong.dedup();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        wrong.join("; "),
        "raise `rust-version` of the crate (or of its feature, under [package.metadata.rust-version]) and its documentation, \
         or take an older version of the dependency",
    ))
}

/// What each package asks for, by `name vVERSION` as `cargo tree` prints it.
fn asked(metadata: &Value) -> BTreeMap<String, Rust> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .filter_map(|package| {
            let name = format!("{} v{}", package["name"].as_str()?, package["version"].as_str()?);
            Some((name, Rust::parse(package["rust_version"].as_str()?)?))
        })
        .collect()
}

fn declared(metadata: &Value) -> Result<Vec<Declared>, Failure> {
    let members: Vec<&str> =
        metadata["workspace_members"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .filter(|package| package["id"].as_str().is_some_and(|id| members.contains(&id)))
        .map(|package| {
            let name = package["name"].as_str().unwrap_or_default();
            let rust = package["rust_version"].as_str().and_then(Rust::parse);
            let Some(rust) = rust else {
                return Err(Failure::new(
                    format!("the crate {name} does not say which Rust it needs"),
                    "add `rust-version.workspace = true` to its Cargo.toml",
                ));
            };
            let features = package["features"].as_object().into_iter().flatten();
            let exceptions = package["metadata"]["rust-version"].as_object().into_iter().flatten();
            Ok(Declared {
                name: name.into(),
                rust,
                features: features.map(|(feature, _)| feature.clone()).collect(),
                exceptions: exceptions
                    .filter_map(|(feature, rust)| Some((feature.clone(), Rust::parse(rust.as_str()?)?)))
                    .collect(),
            })
        })
        .collect()
}

/// All features but the exceptions together, and each exception alone.
fn cases(declared: &Declared) -> Vec<Case> {
    let usual = declared.features.iter().filter(|feature| !declared.exceptions.contains_key(*feature));
    let mut cases = vec![Case { features: usual.cloned().collect(), rust: declared.rust }];
    let alone = |(feature, rust): (&String, &Rust)| Case { features: vec![feature.clone()], rust: *rust };
    cases.extend(declared.exceptions.iter().map(alone));
    cases
}

/// What in a tree asks for more than the case allows.
fn too_new(tree: &str, asked: &BTreeMap<String, Rust>, declared: &Declared, case: &Case) -> Vec<String> {
    let name_of = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    tree.lines()
        .map(name_of)
        .filter_map(|name| asked.get(&name).map(|rust| (name, *rust)))
        .filter(|(_, rust)| *rust > case.rust)
        .map(|(name, rust)| {
            let features = case.features.join(", ");
            format!(
                "{name} needs Rust {rust}, but {} with the features {features} says {}",
                declared.name, case.rust
            )
        })
        .collect()
}

fn answer(repository: &Repository, args: &[&str]) -> Result<String, Failure> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(args).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = repository
        .command(cargo)
        .output()
        .map_err(|error| unread(&format!("`cargo {}` did not start: {error}", args[0])))?;
    if !output.status.success() {
        return Err(unread(&format!("`cargo {}` ended with {}", args.join(" "), output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn unread(why: &str) -> Failure {
    Failure::new(why, "read what cargo says above")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared_in(metadata: &str) -> Declared {
        let metadata = format!(
            r#"{{"workspace_members": ["ours"], "packages": [{{"id": "ours", "name": "ours", "version": "1.0.0",
                "rust_version": "1.90", "features": {{"small": [], "large": []}}, "metadata": {metadata}}},
                {{"id": "other", "name": "other", "version": "2.0.0", "rust_version": "1.94.0"}}]}}"#
        );
        declared(&serde_json::from_str(&metadata).unwrap()).ok().unwrap().remove(0)
    }

    fn asked() -> BTreeMap<String, Rust> {
        [("ours v1.0.0".to_owned(), Rust(1, 90)), ("other v2.0.0".to_owned(), Rust(1, 94))].into()
    }

    const TREE: &str = "ours v1.0.0 (/somewhere/ours)\nother v2.0.0 (*)\n";

    #[test]
    fn a_dependency_that_needs_a_newer_rust_is_found() {
        let ours = declared_in("null");
        let all = &cases(&ours)[0];
        assert_eq!(all.features, ["large", "small"]);
        let wrong = too_new(TREE, &asked(), &ours, all);
        assert_eq!(
            wrong,
            ["other v2.0.0 needs Rust 1.94, but ours with the features large, small says 1.90"]
        );
    }

    #[test]
    fn a_feature_may_say_that_it_needs_more() {
        let ours = declared_in(r#"{"rust-version": {"large": "1.94"}}"#);
        let of_ours = cases(&ours);
        assert_eq!(of_ours[0], Case { features: vec!["small".into()], rust: Rust(1, 90) });
        assert_eq!(of_ours[1], Case { features: vec!["large".into()], rust: Rust(1, 94) });
        assert!(too_new(TREE, &asked(), &ours, &of_ours[1]).is_empty());
        assert_eq!(too_new(TREE, &asked(), &ours, &of_ours[0]).len(), 1);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(Rust::parse("1.100") > Rust::parse("1.94.0"));
        assert_eq!(Rust::parse("1.90.0"), Rust::parse("1.90"));
        assert_eq!(Rust::parse("new"), None);
    }
}
