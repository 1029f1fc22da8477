//! `cargo xtask words`: whether the prose of the repository is plain English.
//!
//! A reader whose second language is English must understand comments, messages and pages at first sight. This finds words
//! that fail there, with a remedy for each. It reads comments and string literals of Rust, and the whole of Markdown, SQL and
//! TOML. [`prose`] separates prose from code, [`banned`] finds the words.

mod banned;
mod prose;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::say;
use crate::system::Repository;
use banned::Place;

/// What is read, from the repository's root on.
const FOLDERS: [&str; 6] = ["crates", "xtask", "bench", "clients", "docs", "examples"];
/// Folders that hold nothing of ours, and databases of old versions, which must stay as they were.
const SKIPPED: [&str; 4] = ["target", "node_modules", "sqlite_schemas", ".git"];
/// The one file that must spell the banned words.
const LIST: &str = "xtask/src/words/banned.rs";

/// One word that is to be replaced.
struct Found {
    file: String,
    line: usize,
    word: String,
    remedy: &'static str,
}

pub(crate) fn check(repository: &Repository) -> Result<(), Failure> {
    let mut found = Vec::new();
    for path in files(&repository.path("."))? {
        let file = shown(&path, repository);
        if file != LIST {
            let text = fs::read_to_string(&path).map_err(|error| unread(&path, &error))?;
            found.extend(found_in(&file, &text));
        }
    }
    if found.is_empty() {
        say::line("  no banned word");
        return Ok(());
    }
    for Found { file, line, word, remedy } in &found {
        say::line(&format!("{file}:{line}: `{word}`: {remedy}"));
    }
    for (folder, count) in counts(&found) {
        say::line(&format!("{count:>6}  {folder}"));
    }
    Err(Failure::new(
        format!("{} banned words stand in comments, messages and pages", found.len()),
        "replace each as its line above says; `xtask/src/words/banned.rs` is the list",
    ))
}

fn found_in(file: &str, text: &str) -> Vec<Found> {
    let (lines, place) = match Path::new(file).extension().and_then(|extension| extension.to_str()) {
        Some("rs") => (prose::of_rust(text), Place::Source),
        Some("md") if is_for_users(file) => (prose::of_page(text), Place::UserPage),
        _ => (prose::of_page(text), Place::Source),
    };
    let finds = |(line, text): (usize, String)| {
        let words = banned::find(&text, place).into_iter();
        words.map(move |(word, remedy)| Found { file: file.to_owned(), line, word, remedy })
    };
    lines.into_iter().flat_map(finds).collect()
}

/// Pages for users, as against those for people who change the code.
fn is_for_users(file: &str) -> bool {
    file == "README.md" || (file.starts_with("docs/") && !file.starts_with("docs/decisions/"))
}

/// Counts by folder, at most four names deep.
fn counts(found: &[Found]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for one in found {
        let folder = Path::new(&one.file).parent().unwrap_or(Path::new(""));
        let folder: PathBuf = folder.components().take(4).collect();
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
        *counts.entry(folder.display().to_string()).or_default() += 1;
    }
    counts
}

fn files(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    folders.retain(|folder| folder.is_dir());
    let mut entries = entries(root)?;
    entries.retain(|path| path.is_file());
    while let Some(folder) = folders.pop() {
        entries.extend(self::entries(&folder)?);
        for path in entries.drain(..) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !SKIPPED.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if is_read(&path) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn is_read(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| ["rs", "md", "sql", "toml"].contains(&extension))
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(folder).map_err(|error| unread(folder, &error))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(|error| unread(folder, &error))).collect()
}

fn shown(path: &Path, repository: &Repository) -> String {
    path.strip_prefix(repository.path(".")).unwrap_or(path).display().to_string()
}

fn unread(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{} cannot be read: {error}", path.display()), "see whether it may be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(file: &str, text: &str) -> Vec<(usize, String)> {
        found_in(file, text).into_iter().map(|found| (found.line, found.word)).collect()
    }

    #[test]
    fn code_is_not_prose() {
        let banned = ["to", "ld"].concat();
        let text = format!("let {banned} = 1;\n// it was {banned}\nlet text = \"{banned} twice\";\n");
        assert_eq!(words("a.rs", &text), [(2, banned.clone()), (3, banned)]);
    }

    #[test]
    fn only_pages_for_users_must_not_speak_of_the_house() {
        let text = "The back room.\nThe rooms of the house.\n";
        assert_eq!(words("docs/page.md", text), [(2, "rooms".to_owned())]);
        assert!(words("docs/decisions/0001-one.md", text).is_empty());
        assert!(words("ARCHITECTURE.md", text).is_empty());
    }
}
