//! What is in the watched folder, and which of it has settled.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use backroom::{Timestamp, core::bounds::span_until};
use serde::{Deserialize, Serialize};

use super::places::Places;
use crate::terminal::Problem;

/// Most files that are watched: a bound on memory.
const FILES_MAX: usize = 100_000;

/// A file that was written within so long may still be copied, and would look broken.
const SETTLES_AFTER: Duration = Duration::from_secs(1);

/// Distinguishes one content of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Size of the file.
    pub(crate) bytes: u64,
    /// When it was last written.
    pub(crate) modified_at: Timestamp,
}

impl Stamp {
    pub(crate) fn of(found: &fs::Metadata) -> io::Result<Self> {
        let modified_at = Timestamp::try_from(found.modified()?)
            .map_err(|_| io::Error::other("its time of change is before the year -9999 or after 9999"))?;
        Ok(Self { bytes: found.len(), modified_at })
    }

    /// Whether the file has not been written for a while. A time of change in the future is of another clock, and no sign of a copy.
    pub(crate) fn is_settled(&self, now: Timestamp) -> bool {
        span_until(self.modified_at, now) >= SETTLES_AFTER || self.modified_at > now
    }
}

/// One file of the folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Found {
    /// Its path below the folder.
    pub(crate) photo: PathBuf,
    /// As it was.
    pub(crate) stamp: Stamp,
}

/// The files in the order of their paths, and what was skipped, each with the reason. Paths are below the folder.
pub(crate) type Scan = (Vec<Found>, BTreeMap<PathBuf, String>);

/// Every file in the watched folder and in the folders inside it, whatever its name: a handler discards what is no picture, with
/// the reason. Left out are hidden files and folders, the thumbnails, the files of the store, and folders that only a link leads
/// to, which may lead in a circle. What cannot be read is skipped.
pub(crate) fn scan(places: &Places) -> Result<Scan, Problem> {
    let root = &places.photos;
    let (mut found, mut skipped) = (Vec::new(), BTreeMap::new());
    let below = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_path_buf();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let mut visit = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            let path = entry.path();
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if is_hidden
                || path == places.out
                || places.store.as_deref().is_some_and(|s| is_of_store(&path, s))
            {
                return Ok(());
            }
            if entry.file_type()?.is_dir() {
                folders.push(path);
                return Ok(());
            }
            let stamp = fs::metadata(&path).and_then(|file| Ok((file.is_file(), Stamp::of(&file)?)));
            match stamp {
                Ok((true, stamp)) if path.to_str().is_some() => {
                    found.push(Found { photo: below(&path), stamp })
                }
                Ok((true, _)) => _ = skipped.insert(below(&path), "its name is not UTF-8".into()),
                Ok((false, _)) => {}
                // It was removed meanwhile, or is a link that leads nowhere.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => _ = skipped.insert(below(&path), error.to_string()),
            }
            Ok::<_, io::Error>(())
        };
        let entries = fs::read_dir(&folder);
        match entries.and_then(|entries| entries.into_iter().try_for_each(&mut visit)) {
            Ok(()) => {}
            Err(error) if folder == *root => {
                return Err(Problem::new(format_args!("watch {}", root.display()), &error));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => _ = skipped.insert(below(&folder), error.to_string()),
        }
    }
    if found.len() > FILES_MAX {
        let why = format!("{} files are more than the {FILES_MAX} that the demo takes on", found.len());
        return Err(Problem::new(format_args!("watch {}", root.display()), &why));
    }
    found.sort_by(|a, b| a.photo.cmp(&b.photo));
    Ok((found, skipped))
}

/// The store's file and those that SQLite writes beside it (`backroom.db-wal`) change all the time.
fn is_of_store(path: &Path, store: &Path) -> bool {
    let rest = path.as_os_str().as_encoded_bytes().strip_prefix(store.as_os_str().as_encoded_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_settles_a_second_after_it_was_written() {
        let stamp = Stamp { bytes: 1, modified_at: Timestamp::from_second(100).unwrap() };
        let settled_at = |secs| stamp.is_settled(Timestamp::from_second(secs).unwrap());
        assert_eq!([100, 101, 50].map(settled_at), [false, true, true]);
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
