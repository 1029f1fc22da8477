//! The thumbnails' names: one for each source and width.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::super::{make, target_name};
use super::{Folder, jpeg, quarters};

#[test]
fn a_name_tells_the_source_and_the_width() {
    assert_eq!(target_name(Path::new("a.jpg"), 320), "a.jpg~320");
    assert_eq!(target_name(Path::new("holiday/Köln 1.jpg"), 64), "holiday~Köln 1.jpg~64");
}

#[test]
fn no_two_sources_share_a_name() {
    let long = "x".repeat(150);
    let sources = [
        "a.jpg",
        "a.png",
        "a",
        "a.jpg~320",
        "b/a.jpg",
        "b~a.jpg",
        "b=7Ea.jpg",
        "b=a.jpg",
        "b/c/a.jpg",
        "b~c/a.jpg",
        "b/c~a.jpg",
        "b~/a.jpg",
        "b/~a.jpg",
        "../a.jpg",
        "/a.jpg",
        "=2E./a.jpg",
        ".a.jpg",
        "a\n.jpg",
        &format!("{long}/{long}/a.jpg"),
        &format!("{long}/{long}y/a.jpg"),
        &format!("{long}y/{long}/a.jpg"),
    ];
    let mut seen = HashMap::new();
    for source in sources {
        for width in [1, 32, 320] {
            let name = target_name(Path::new(source), width);
            let before = seen.insert(name.clone(), (source, width));
            assert_eq!(before, None, "{name:?} is also that of {source:?} at {width}");
        }
    }
}

#[test]
fn the_same_file_has_the_same_name_however_it_is_reached() {
    assert_eq!(target_name(Path::new("./b/./a.jpg"), 320), target_name(Path::new("b/a.jpg"), 320));
}

#[test]
fn a_name_is_a_visible_file_in_the_folder_it_is_joined_to() {
    for source in ["../../a.jpg", "/etc/a.jpg", ".hidden", "c:\\a?.jpg", "a\0b", ""] {
        let name = target_name(Path::new(source), 320);
        let joined = Path::new("out").join(&name);
        assert_eq!(joined.parent(), Some(Path::new("out")), "{name:?}");
        assert!(!name.starts_with('.') && !name.contains(['/', '\\', '\0']), "{name:?}");
    }
}

/// As names are written down in job arguments, a release that changed them would make all thumbnails again.
#[test]
fn a_long_name_is_shortened_the_same_way_for_ever() {
    let source = format!("{}/{}.jpg", "é".repeat(100), "x".repeat(100));
    let name = target_name(Path::new(&source), 320);
    assert!(name.len() <= 200, "{} bytes", name.len());
    assert!(name.ends_with("xxx.jpg~320"), "{name}");
    // FNV-1a of "éé…~xx….jpg", worked out apart from this code.
    assert!(name.starts_with("d4374cc55fd6c95ebe9cadbd2f0a6b10=~"), "{name}");
}

#[cfg(unix)]
#[test]
fn bytes_that_are_no_text_are_told_apart() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let name = |bytes: &[u8]| target_name(&PathBuf::from(OsStr::from_bytes(bytes)), 320);
    assert_eq!(name(b"a\xff.jpg"), "a=FF.jpg~320");
    assert_ne!(name(b"a\xff.jpg"), name(b"a\xfe.jpg"));
}

#[test]
fn the_longest_name_can_be_written() {
    let folder = Folder::new();
    let source = folder.file("a.jpg", &jpeg(&quarters(16, 16)));
    for length in [199, 200, 201, 255] {
        let name = target_name(&PathBuf::from("x".repeat(length)), u32::MAX);
        let thumbnail = make(&source, &folder.path().join("out").join(name), 8);
        thumbnail.expect("the name is short enough");
    }
}
