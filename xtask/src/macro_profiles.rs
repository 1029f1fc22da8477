//! Whether the list of procedural macros in the root's `Cargo.toml` is complete.
//!
//! They run at build time, for milliseconds; to optimise them and their own dependencies costs minutes of each clean build.
//! `[profile.dev.package."*"]` is stronger than `build-override`, so each needs an entry of its own.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::failure::Failure;

/// Packages that only parse and print Rust for procedural macros; they are no macros themselves.
const OF_MACROS: [&str; 5] = ["proc-macro2", "quote", "syn", "synstructure", "sqlx-macros-core"];

/// Small ones, and ones that only other targets use: optimising them costs about a second each. An entry would also change
/// how everything above them is built.
const TOO_SMALL: [&str; 7] = [
    "asn1-rs-impl",
    "displaydoc",
    "document-features",
    "jiff-static",
    "rustversion",
    "time-macros",
    "wasm-bindgen-macro",
];

/// `metadata` is the answer of `cargo metadata`, `manifest` the text of the root's `Cargo.toml`.
pub(crate) fn check(metadata: &Value, manifest: &str) -> Result<(), Failure> {
    let wanted = wanted(metadata);
    let listed = listed(manifest);
    let missing: Vec<_> = wanted.iter().filter(|package| !is_listed(package, &listed)).collect();
    let names: BTreeSet<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    let is_for_none = |entry: &&String| {
        let (name, version) = entry.split_once('@').unwrap_or((entry.as_str(), ""));
        !wanted.iter().any(|(wanted, of)| wanted == name && (version.is_empty() || version == of))
    };
    let outdated: Vec<_> = listed.iter().filter(is_for_none).cloned().collect();
    if missing.is_empty() && outdated.is_empty() {
        return Ok(());
    }
    let missing: Vec<_> = missing.iter().map(|(name, version)| format!("{name}@{version}")).collect();
    Err(Failure::new(
        format!(
            "the procedural macros in Cargo.toml differ from those of {} packages: missing [{}], no longer used [{}]",
            names.len(),
            missing.join(", "),
            outdated.join(", ")
        ),
        "add `[profile.dev.package.\"NAME\"]` with `opt-level = 0` for each missing one, and remove the others",
    ))
}

/// Name and version of each procedural macro, and of what only they use.
fn wanted(metadata: &Value) -> BTreeSet<(String, String)> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let is_wanted = |package: &&Value| {
        let targets = package["targets"].as_array().into_iter().flatten();
        let mut kinds = targets.flat_map(|target| target["kind"].as_array().into_iter().flatten());
        let name = package["name"].as_str().unwrap_or_default();
        OF_MACROS.contains(&name) || (kinds.any(|kind| kind == "proc-macro") && !TOO_SMALL.contains(&name))
    };
    let named = |package: &Value| {
        Some((package["name"].as_str()?.to_owned(), package["version"].as_str()?.to_owned()))
    };
    packages.filter(is_wanted).filter_map(named).collect()
}

/// What has an entry with `opt-level = 0`: a name, or `name@version`.
fn listed(manifest: &str) -> BTreeSet<String> {
    let lines: Vec<&str> = manifest.lines().map(str::trim).collect();
    lines
        .windows(2)
        .filter(|pair| pair[1] == "opt-level = 0")
        .filter_map(|pair| pair[0].strip_prefix("[profile.dev.package.")?.strip_suffix(']'))
        .map(|name| name.trim_matches('"').to_owned())
        .collect()
}

fn is_listed((name, version): &(String, String), listed: &BTreeSet<String>) -> bool {
    listed.contains(name) || listed.contains(&format!("{name}@{version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Value {
        serde_json::from_str(
            r#"{"packages": [
                {"name": "a-derive", "version": "1.0.0", "targets": [{"kind": ["proc-macro"]}]},
                {"name": "syn", "version": "2.0.1", "targets": [{"kind": ["lib"]}]},
                {"name": "tokio", "version": "1.0.0", "targets": [{"kind": ["lib"]}]}]}"#,
        )
        .unwrap()
    }

    const WHOLE: &str =
        "[profile.dev.package.a-derive]\nopt-level = 0\n[profile.dev.package.\"syn@2.0.1\"]\nopt-level = 0\n";

    #[test]
    fn a_complete_list_passes() {
        assert!(check(&metadata(), WHOLE).is_ok());
    }

    #[test]
    fn a_missing_macro_and_an_outdated_entry_are_named() {
        let other = WHOLE.replace("a-derive", "b-derive").replace("syn@2.0.1", "syn@2.0.0");
        let failure = check(&metadata(), &other).unwrap_err();
        for part in ["a-derive@1.0.0", "syn@2.0.1", "b-derive", "syn@2.0.0"] {
            assert!(failure.why.contains(part), "{}", failure.why);
        }
    }
}
