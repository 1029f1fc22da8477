//! What is in the watched folder, and which of it has settled.
//!
//! Start reading at [`Scans`], which decides; [`scan`] is the edge that reads the disk.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use backroom::Timestamp;
use serde::{Deserialize, Serialize};

use super::pictures;
use crate::terminal::Problem;

/// Most files that are watched: a bound on memory, above what a folder of pictures holds.
const FILES_MAX: usize = 100_000;

/// Distinguishes one content of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Size of the file.
    pub(crate) bytes: u64,
    /// When it was last written.
    pub(crate) modified_at: Timestamp,
}

/// One file of the folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Found {
    /// From the folder on.
    pub(crate) photo: PathBuf,
    /// As it was.
    pub(crate) stamp: Stamp,
}

impl Stamp {
    pub(crate) fn of(found: &fs::Metadata) -> io::Result<Self> {
        Ok(Self { bytes: found.len(), modified_at: moment(found.modified()?)? })
    }
}

fn moment(at: std::time::SystemTime) -> io::Result<Timestamp> {
    Timestamp::try_from(at)
        .map_err(|_| io::Error::other("its time of change is before the year -9999 or after 9999"))
}

/// What the scans so far have found. A file has settled when two scans in a row find the same stamp: one that is
/// still being copied would be judged broken.
#[derive(Debug, Default)]
pub(crate) struct Scans {
    last: HashMap<PathBuf, Stamp>,
    settled: HashSet<Found>,
    /// The files that changed between the last two scans.
    pub(crate) unsettled: Vec<PathBuf>,
    /// How many scans were made.
    pub(crate) count: u64,
}

impl Scans {
    /// Takes in a scan and answers what has settled since the one before, in the scan's order.
    pub(crate) fn take(&mut self, found: Vec<Found>) -> Vec<Found> {
        let last: HashMap<_, _> = found.iter().map(|file| (file.photo.clone(), file.stamp)).collect();
        // Forgets what is gone: a file that comes back is asked for again, and finds its old jobs by their key.
        self.settled.retain(|file| last.get(&file.photo) == Some(&file.stamp));
        let before = std::mem::replace(&mut self.last, last);
        self.count += 1;
        self.unsettled.clear();
        let mut fresh = Vec::new();
        for file in found {
            if before.get(&file.photo) != Some(&file.stamp) {
                self.unsettled.push(file.photo);
            } else if self.settled.insert(file.clone()) {
                fresh.push(file);
            }
        }
        fresh
    }

    /// Whether enough scans were made to know what there is.
    pub(crate) fn know_all(&self) -> bool {
        self.count >= 2 && self.unsettled.is_empty()
    }
}

/// The candidates, in the order of their paths, and what was skipped, each with the reason. Paths are from the folder on.
pub(crate) type Scan = (Vec<Found>, BTreeMap<PathBuf, String>);

/// Every candidate in `folder`, except the thumbnails in `out` and the files of the store. A file or a folder inside that
/// cannot be read is skipped.
pub(crate) fn scan(folder: &Path, out: &Path, store: Option<&Path>) -> Result<Scan, Problem> {
    let listing = pictures::list(folder, out)
        .map_err(|error| Problem::Failed { message: error.to_string(), hint: None })?;
    let inside = |path: PathBuf| path.strip_prefix(folder).map_or_else(|_| path.clone(), Path::to_path_buf);
    let (mut found, mut skipped) = (Vec::new(), BTreeMap::new());
    for path in listing.candidates {
        if store.is_some_and(|store| is_of_store(&path, store)) {
            continue;
        }
        match fs::metadata(&path).and_then(|file| Stamp::of(&file)) {
            // The args of a job are JSON, which holds text only.
            Ok(_) if path.to_str().is_none() => {
                _ = skipped.insert(inside(path), "its name is not UTF-8".into())
            }
            Ok(stamp) => found.push(Found { photo: inside(path), stamp }),
            // It was removed between the listing and now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => _ = skipped.insert(inside(path), error.to_string()),
        }
    }
    skipped.extend(listing.skipped.into_iter().map(|skipped| (inside(skipped.path), skipped.why)));
    if found.len() > FILES_MAX {
        let why = format!("{} files are more than the {FILES_MAX} that the demo takes on", found.len());
        return Err(Problem::new(format_args!("watch {}", folder.display()), &why));
    }
    Ok((found, skipped))
}

/// The store's file and those that SQLite has beside it (`backroom.db-wal`) change all the time when the folder
/// holds them too.
fn is_of_store(path: &Path, store: &Path) -> bool {
    path.parent() == store.parent()
        && match (path.file_name(), store.file_name()) {
            (Some(name), Some(store)) => {
                let rest = name.as_encoded_bytes().strip_prefix(store.as_encoded_bytes());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"-"))
            }
            (None, _) | (_, None) => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(photo: &str, bytes: u64) -> Found {
        Found { photo: photo.into(), stamp: Stamp { bytes, modified_at: Timestamp::UNIX_EPOCH } }
    }

    #[test]
    fn a_file_settles_at_the_second_scan_that_finds_it_unchanged() {
        let mut scans = Scans::default();
        assert!(scans.take(vec![found("a", 1)]).is_empty());
        assert!(!scans.know_all());
        assert!(scans.take(vec![found("a", 2)]).is_empty(), "it grew");
        assert!(!scans.know_all());
        assert_eq!(scans.take(vec![found("a", 2), found("b", 1)]), [found("a", 2)]);
        assert_eq!(scans.unsettled, [PathBuf::from("b")]);
        assert_eq!(scans.take(vec![found("a", 2), found("b", 1)]), [found("b", 1)]);
        assert!(scans.know_all());
    }

    #[test]
    fn a_settled_file_is_answered_once_until_it_changes_or_comes_back() {
        let mut scans = Scans::default();
        scans.take(vec![found("a", 1)]);
        assert_eq!(scans.take(vec![found("a", 1)]).len(), 1);
        assert!(scans.take(vec![found("a", 1)]).is_empty());
        scans.take(vec![found("a", 2)]);
        assert_eq!(scans.take(vec![found("a", 2)]), [found("a", 2)]);
        scans.take(vec![]);
        scans.take(vec![found("a", 2)]);
        assert_eq!(scans.take(vec![found("a", 2)]), [found("a", 2)]);
    }

    #[test]
    fn a_file_of_the_year_10000_is_an_error_that_names_the_year() {
        let year_10_000 = std::time::UNIX_EPOCH + std::time::Duration::from_secs(253_402_300_800);
        assert!(moment(year_10_000).expect_err("too far").to_string().contains("9999"));
        assert!(moment(std::time::UNIX_EPOCH).is_ok());
    }

    #[test]
    fn the_files_of_the_store_are_no_pictures() {
        let store = Path::new("/photos/backroom.db");
        assert!(is_of_store(Path::new("/photos/backroom.db"), store));
        assert!(is_of_store(Path::new("/photos/backroom.db-wal"), store));
        assert!(!is_of_store(Path::new("/photos/backroom.dbx.jpg"), store));
        assert!(!is_of_store(Path::new("/photos/more/backroom.db"), store));
    }
}
