//! What is in the watched folder, and which of it has settled.
//!
//! Start reading at [`Looks`], which decides; [`look`] is the edge that reads the disk.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use backroom::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    DemoError,
    pictures::{self, Skipped},
};

/// Most files that are watched: a bound on memory, far above what a folder of pictures holds.
const FILES_MAX: usize = 100_000;

/// Tells one content of a file from the next.
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
    /// The stamp of a file that was looked at.
    pub(crate) fn of(found: &fs::Metadata) -> io::Result<Self> {
        Ok(Self { bytes: found.len(), modified_at: moment(found.modified()?)? })
    }
}

fn moment(at: std::time::SystemTime) -> io::Result<Timestamp> {
    Timestamp::try_from(at)
        .map_err(|_| io::Error::other("its time of change is before the year -9999 or after 9999"))
}

/// What the looks so far have seen. A file has settled when two looks in a row find the same stamp: one that is
/// still being copied would be judged broken.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    last: HashMap<PathBuf, Stamp>,
    settled: HashSet<Found>,
    unsettled: Vec<PathBuf>,
    count: u64,
}

impl Looks {
    /// Takes in a look and answers what has settled since the one before, in the look's order.
    pub(crate) fn take(&mut self, found: Vec<Found>) -> Vec<Found> {
        let last: HashMap<_, _> = found.iter().map(|file| (file.photo.clone(), file.stamp)).collect();
        // Forgets what is gone: a file that comes back is asked for again, and keeps its old jobs by their key.
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

    /// Whether enough looks were taken to know what there is.
    pub(crate) fn know_all(&self) -> bool {
        self.count >= 2 && self.unsettled.is_empty()
    }

    /// The files that changed between the last two looks.
    pub(crate) fn unsettled(&self) -> &[PathBuf] {
        &self.unsettled
    }

    /// How many looks were taken.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

/// What one look found.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// The candidates, in the order of their paths.
    pub(crate) found: Vec<Found>,
    /// What could not be looked at, with paths from the folder on.
    pub(crate) skipped: Vec<Skipped>,
}

/// Every candidate in `folder`, except the thumbnails in `out` and the files of the store. A file or a folder inside that
/// cannot be looked at is skipped.
pub(crate) fn look(folder: &Path, out: &Path, store: Option<&Path>) -> Result<Look, DemoError> {
    let listing = pictures::list(folder, out).map_err(DemoError::Look)?;
    let inside = |path: PathBuf| path.strip_prefix(folder).map_or_else(|_| path.clone(), Path::to_path_buf);
    let mut look = Look { found: Vec::with_capacity(listing.candidates.len()), skipped: listing.skipped };
    for path in listing.candidates {
        if store.is_some_and(|store| is_of_store(&path, store)) {
            continue;
        }
        match fs::metadata(&path).and_then(|file| Stamp::of(&file)) {
            Ok(stamp) => look.found.push(Found { photo: inside(path), stamp }),
            // It went between the listing and now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => look.skipped.push(Skipped { path, why: error.to_string() }),
        }
    }
    for skipped in &mut look.skipped {
        skipped.path = inside(std::mem::take(&mut skipped.path));
    }
    if look.found.len() > FILES_MAX {
        let files = look.found.len();
        return Err(DemoError::TooMany { folder: folder.to_path_buf(), files, max: FILES_MAX });
    }
    Ok(look)
}

/// The store's file and those that SQLite keeps beside it (`backroom.db-wal`) change all the time when the folder
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
    fn a_file_settles_at_the_second_look_that_finds_it_unchanged() {
        let mut looks = Looks::default();
        assert!(looks.take(vec![found("a", 1)]).is_empty());
        assert!(!looks.know_all());
        assert!(looks.take(vec![found("a", 2)]).is_empty(), "it grew");
        assert!(!looks.know_all());
        assert_eq!(looks.take(vec![found("a", 2), found("b", 1)]), [found("a", 2)]);
        assert_eq!(looks.unsettled(), [PathBuf::from("b")]);
        assert_eq!(looks.take(vec![found("a", 2), found("b", 1)]), [found("b", 1)]);
        assert!(looks.know_all());
    }

    #[test]
    fn a_settled_file_is_told_once_until_it_changes_or_comes_back() {
        let mut looks = Looks::default();
        looks.take(vec![found("a", 1)]);
        assert_eq!(looks.take(vec![found("a", 1)]).len(), 1);
        assert!(looks.take(vec![found("a", 1)]).is_empty());
        looks.take(vec![found("a", 2)]);
        assert_eq!(looks.take(vec![found("a", 2)]), [found("a", 2)]);
        looks.take(vec![]);
        looks.take(vec![found("a", 2)]);
        assert_eq!(looks.take(vec![found("a", 2)]), [found("a", 2)]);
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
