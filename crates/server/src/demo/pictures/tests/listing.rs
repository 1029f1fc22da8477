//! Which files are tried.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::list;
use super::super::listing::is_candidate;
use super::Folder;

#[test]
fn a_listing_goes_into_folders_and_is_sorted() {
    let folder = Folder::new();
    for name in ["b.jpg", "a.txt", "c/d/e.png", "c/a", "c.jpg"] {
        folder.file(name, b"");
    }
    assert_eq!(listed(&folder, "out"), ["a.txt", "b.jpg", "c/a", "c/d/e.png", "c.jpg"]);
}

#[test]
fn hidden_files_and_folders_are_passed_by() {
    let folder = Folder::new();
    for name in [".a.jpg", ".git/a.jpg", "b/.c/a.jpg", "b/.12-0.part", "b/a.jpg"] {
        folder.file(name, b"");
    }
    assert_eq!(listed(&folder, "out"), ["b/a.jpg"]);
}

#[test]
fn the_thumbnails_folder_is_passed_by() {
    let folder = Folder::new();
    for name in ["a.jpg", "b/thumbs/a.jpg~320.jpg", "thumbs/a.jpg"] {
        folder.file(name, b"");
    }
    assert_eq!(listed(&folder, "b/../b/thumbs"), ["a.jpg", "thumbs/a.jpg"]);
    assert_eq!(listed(&folder, "not/there/yet").len(), 3);
}

#[test]
fn a_thumbnails_folder_around_the_watched_one_is_no_trouble() {
    let folder = Folder::new();
    folder.file("pictures/a.jpg", b"");
    let inner = folder.path().join("pictures");
    let found = list(&inner, folder.path()).expect("it can be listed").candidates;
    assert_eq!(found, [inner.join("a.jpg")]);
}

#[test]
fn thumbnails_in_the_watched_folder_itself_are_an_error() {
    let folder = Folder::new();
    let error = list(folder.path(), &folder.path().join(".")).expect_err("they are one folder");
    assert!(error.to_string().contains("name another folder"), "{error}");
}

#[test]
fn a_folder_that_is_not_there_is_an_error_that_names_it() {
    let folder = Folder::new();
    let missing = folder.path().join("missing");
    let error = list(&missing, &folder.path().join("out")).expect_err("it is missing");
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert!(error.to_string().contains("missing"), "{error}");
}

#[test]
fn only_visible_regular_files_are_candidates() {
    let folder = Folder::new();
    let candidate = |name: &str| is_candidate(&folder.path().join(name)).expect("it can be read");
    folder.file("a.jpg", b"");
    folder.file(".a.jpg", b"");
    folder.file("folder/a.jpg", b"");
    assert!(candidate("a.jpg"));
    assert!(!candidate(".a.jpg"));
    assert!(!candidate("folder"));
    assert!(!candidate("gone.jpg"));
    assert!(!candidate("a.jpg/inside-a-file.jpg"));
}

#[cfg(unix)]
#[test]
fn links_to_files_are_followed_and_links_to_folders_are_not() {
    use std::os::unix::fs::symlink;

    let folder = Folder::new();
    let real = folder.file("real/a.jpg", b"");
    let link = |to: &Path, name: &str| symlink(to, folder.path().join(name)).expect("a link can be made");
    link(&real, "linked.jpg");
    link(folder.path(), "real/up"); // a loop, were it followed
    link(&folder.path().join("real"), "again");
    link(&folder.path().join("nowhere"), "broken.jpg");
    link(&folder.path().join("circle"), "circle");
    assert_eq!(listed(&folder, "out"), ["linked.jpg", "real/a.jpg"]);
}

/// The candidates' paths below the folder.
fn listed(folder: &Folder, out: &str) -> Vec<String> {
    let found: Vec<PathBuf> =
        list(folder.path(), &folder.path().join(out)).expect("it can be listed").candidates;
    assert!(found.iter().all(|path| fs::metadata(path).is_ok()));
    found
        .iter()
        .map(|path| {
            let below = path.strip_prefix(folder.path()).expect("it is below");
            below.to_string_lossy().into_owned()
        })
        .collect()
}
