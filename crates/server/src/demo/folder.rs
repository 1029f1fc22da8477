//! What is in the watched folder, and which of it has settled.

use std::{collections::BTreeMap, fs, io, time::Duration};

use backroom::{Timestamp, core::bounds::span_until};
use serde::{Deserialize, Serialize};

use super::places::Places;
use crate::terminal::Problem;

/// Most pictures that are watched: a bound on memory.
const PICTURES_MAX: usize = 100_000;
/// A file that was written within so long may still be copied, and would look broken.
const SETTLES_AFTER: Duration = Duration::from_secs(1);
/// What the names of pictures end in. What is in them is for the job to judge.
const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "webp", "gif"];

/// Distinguishes one content of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Size of the file.
    pub(crate) bytes: u64,
    /// When it was last written.
    modified_at: Timestamp,
}

impl Stamp {
    pub(crate) fn of(found: &fs::Metadata) -> io::Result<Self> {
        let modified_at = Timestamp::try_from(found.modified()?)
            .map_err(|_| io::Error::other("its time of change is before the year -9999 or after 9999"))?;
        Ok(Self { bytes: found.len(), modified_at })
    }

    /// Whether the file has not been written for a while. A time of change in the future is of another clock, and no sign of a copy.
    fn is_settled(&self, now: Timestamp) -> bool {
        span_until(self.modified_at, now) >= SETTLES_AFTER || self.modified_at > now
    }
}

/// The folder at one moment. Files are named without the folder.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Pictures that are complete.
    pub(crate) settled: BTreeMap<String, Stamp>,
    /// How many may still be copied.
    pub(crate) unsettled: usize,
    /// Pictures that cannot be read, each with the reason.
    pub(crate) skipped: BTreeMap<String, String>,
}

/// The pictures in the folder; hidden files, and what lies in folders below it, are left out.
pub(crate) fn scan(places: &Places, now: Timestamp) -> Result<Scan, Problem> {
    let watch =
        |why: &dyn std::fmt::Display| Problem::new(format_args!("watch {}", places.photos_shown), why);
    let mut scan = Scan::default();
    for entry in fs::read_dir(&places.photos).map_err(|error| watch(&error))? {
        let path = entry.map_err(|error| watch(&error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if name.starts_with('.') || !EXTENSIONS.contains(&extension.to_lowercase().as_str()) {
            continue;
        }
        match fs::metadata(&path).and_then(|file| Ok((file.is_file(), Stamp::of(&file)?))) {
            // The args of a job are JSON, which holds text only.
            Ok((true, _)) if path.to_str().is_none() => {
                _ = scan.skipped.insert(name, "its name is not UTF-8".into());
            }
            Ok((true, stamp)) if stamp.is_settled(now) => _ = scan.settled.insert(name, stamp),
            Ok((true, _)) => scan.unsettled += 1,
            Ok((false, _)) => {}
            // It was removed meanwhile, or is a link that leads nowhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => _ = scan.skipped.insert(name, error.to_string()),
        }
        if scan.settled.len() + scan.unsettled + scan.skipped.len() > PICTURES_MAX {
            return Err(watch(&format_args!(
                "it holds more than the {PICTURES_MAX} pictures that the demo takes on"
            )));
        }
    }
    Ok(scan)
}
