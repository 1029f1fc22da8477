//! Every page with Rust blocks is among those that are compiled, and every link between pages leads somewhere.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The README and the pages in `docs/`, by their path in the repository.
fn pages() -> BTreeMap<String, String> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap();
    let names = docs.map(|entry| format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()));
    let pages = names.filter(|name| name.ends_with(".md")).chain(["README.md".to_owned()]);
    pages.map(|name| (name.clone(), std::fs::read_to_string(root().join(name)).unwrap())).collect()
}

#[test]
fn every_page_with_rust_blocks_is_compiled() {
    let compiled = std::fs::read_to_string(root().join("crates/backroom/src/pages.rs")).unwrap();
    for (name, text) in pages() {
        let has_rust = text.lines().any(|line| line.starts_with("```rust"));
        let is_compiled = compiled.contains(&format!("include_str!(\"../../../{name}\")"));
        assert!(is_compiled || !has_rust, "add {name} to src/pages.rs");
    }
}

#[test]
fn no_rust_block_is_left_out() {
    for (name, text) in pages() {
        for line in text.lines().filter(|line| line.starts_with("```rust")) {
            assert!(!line.contains("ignore"), "{name}: `{line}` would not be compiled");
        }
    }
}

/// The targets of links like `[words](target)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// The headings of a page, as links name them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        words.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_')).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let pages = pages();
    for (name, text) in &pages {
        for link in links(text).filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root().join(name),
                file => root().join(name).parent().unwrap().join(file),
            };
            assert!(target.exists(), "{name}: the link {link} leads nowhere");
            if !anchor.is_empty() {
                let found = anchors(&std::fs::read_to_string(&target).unwrap());
                assert!(
                    found.iter().any(|known| known == anchor),
                    "{name}: {link} names no heading of {found:?}"
                );
            }
        }
    }
}

/// Files that the page on guarantees names as tests.
#[test]
fn every_test_that_a_guarantee_names_exists() {
    let pages = pages();
    let page = &pages["docs/guarantees.md"];
    let mut folder = PathBuf::new();
    let mut seen = 0;
    for file in page.split('`').filter(|name| name.ends_with(".rs")) {
        let path = Path::new(file);
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            folder = parent.to_owned();
        }
        let path = root().join(&folder).join(path.file_name().unwrap());
        assert!(path.exists(), "docs/guarantees.md names {}", path.display());
        seen += 1;
    }
    assert!(seen > 10, "{seen} tests are named");
}
