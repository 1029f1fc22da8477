//! `ARCHITECTURE.md` names files and functions. These tests fail when one is moved, and print the path of one job:
//! `cargo test --workspace --all-features --test architecture -- --nocapture`.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::{
    fs,
    path::{Path, PathBuf},
};

const STEPS_MAX: usize = 12;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page() -> String {
    fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap()
}

/// `[text](target)` of a line, in order.
fn links(line: &str) -> Vec<(&str, &str)> {
    let mut links = Vec::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("](") {
        let (target, tail) = after.split_once(')').expect("a link is closed");
        let text = before.rsplit_once('[').expect("a link is opened").1;
        links.push((text.trim_matches('`'), target));
        rest = tail;
    }
    links
}

/// What stands in backticks on a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// `a/{b,c}.rs` is `a/b.rs` and `a/c.rs`.
fn spread(path: &str) -> Vec<String> {
    match path.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        Some((before, (names, after))) => {
            names.split(',').map(|name| format!("{before}{name}{after}")).collect()
        }
        None => vec![path.to_owned()],
    }
}

/// The lines of the numbered list under "The path of one job", each step with what belongs to it.
fn steps(page: &str) -> Vec<String> {
    let part = page.split("\n## ").find(|part| part.starts_with("The path of one job")).unwrap();
    let mut steps: Vec<String> = Vec::new();
    for line in part.lines() {
        let is_new = line.split_once(". ").is_some_and(|(number, _)| number.parse::<usize>().is_ok());
        match steps.last_mut() {
            _ if is_new => steps.push(line.to_owned()),
            Some(step) if line.starts_with("   ") => step.push_str(line),
            Some(_) | None => {}
        }
    }
    steps
}

#[test]
fn every_path_that_the_page_names_exists() {
    let page = page();
    let linked = page.lines().flat_map(links).map(|(_, target)| target);
    // In backticks stand code and paths alike; what begins in one of our folders is a path.
    let ours = ["crates/", "docs/", "xtask/"];
    let named =
        page.lines().flat_map(quoted).filter(|word| ours.iter().any(|folder| word.starts_with(folder)));
    let paths: Vec<_> = linked.chain(named).flat_map(spread).collect();
    assert!(paths.len() > 30, "the page is read wrongly: only {} paths found", paths.len());
    let gone: Vec<_> = paths.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md names paths that do not exist: {gone:?}");
}

#[test]
fn every_step_of_the_path_of_one_job_is_where_the_page_says() {
    let page = page();
    let steps = steps(&page);
    assert!((8..=STEPS_MAX).contains(&steps.len()), "{} steps; at most {STEPS_MAX}", steps.len());
    println!("the path of one job, {} hops:", steps.len());
    for step in &steps {
        let links = links(step);
        let names: Vec<_> = links.iter().map(|(text, target)| format!("{text} ({target})")).collect();
        println!("  {}", names.join(" → "));
        assert!(!links.is_empty(), "no link to follow in {step:?}");
        for (text, target) in links {
            let source = fs::read_to_string(root().join(target)).unwrap();
            // A path as text is its own proof; a name is that of a function, or of a type.
            let found = match text.rsplit_once("::") {
                _ if text.contains(".rs") => target.ends_with(text),
                Some((_, function)) => {
                    source.contains(&format!("fn {function}(")) || source.contains(&format!("fn {function}<"))
                }
                None => source.contains(&format!("struct {text}")),
            };
            assert!(found, "{target} has no {text}, which {step:?} sends people to");
        }
    }
}
